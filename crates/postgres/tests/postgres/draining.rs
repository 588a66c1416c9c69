//! Ends while somebody is connected, or logging in, or keeps logins hanging.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rolecall_engine::{Class, Engine as _, Plan, plan};
use rolecall_testbed::{PgVersion, rows};

use crate::common::{Bench, Client, enabled, ended, live, quote, unique};

async fn ok(client: &Client, statements: &str) {
    rows(client, statements).await.unwrap_or_else(|error| panic!("{statements}: {error}"));
}

/// Keeps everybody out of a new logical database, after they were let in by their role.
async fn block_logins(bench: &Bench) -> (String, Client) {
    let database = unique("locked");
    bench.sql(&format!("create database {database}")).await;
    let holder = bench.pg.superuser("postgres").await.unwrap();
    ok(&holder, &format!("begin; alter database {database} rename to {database}_renamed")).await;
    (database, holder)
}

/// Begins a login that does not finish, and waits until it is under way.
async fn begin_login(
    bench: &Bench,
    user: &str,
    database: &str,
) -> tokio::task::JoinHandle<rolecall_testbed::Result<Client>> {
    let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.objid where l.locktype = 'object' and not l.granted";
    let before: u32 = bench.value(waiting).await.parse().unwrap();
    let certificate = bench.pg.client_cert(user).unwrap();
    let (pg, database) = (bench.pg, database.to_owned());
    let login = tokio::spawn(async move { pg.connect(&database, &certificate).await });
    let deadline = Instant::now() + Duration::from_secs(10);
    while bench.value(waiting).await.parse::<u32>().unwrap() <= before {
        assert!(Instant::now() < deadline && !login.is_finished(), "the login is not on its way");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    login
}

#[tokio::test]
async fn a_login_on_its_way_is_waited_for_and_ended() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let user = unique("late");
        bench.reach(&enabled(&user, &[])).await;
        let (database, holder) = block_logins(&bench).await;
        let login = begin_login(&bench, &user, &database).await;

        let ending = ended(&user, true);
        let release = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            ok(&holder, "rollback").await;
        };
        let (applied, ()) = tokio::join!(bench.reach(&ending), release);
        assert!(applied.dropped, "{version}");
        // It was let in, for a moment.
        if let Ok(client) = login.await.unwrap() {
            assert!(rows(&client, "select 1").await.is_err(), "{version}: it is inside");
        }
        let ghosts = "select count(*) from pg_stat_activity a where usesysid is not null and not exists (select from pg_roles r where r.oid = a.usesysid)";
        assert_eq!(bench.value(ghosts).await, "0", "{version}");
    }
}

#[tokio::test]
async fn an_end_does_not_succeed_while_a_login_is_on_its_way_and_newcomers_do_not_count() {
    let bench = Bench::new(PgVersion::V17).await;
    let user = unique("late");
    bench.reach(&enabled(&user, &[])).await;
    let (database, holder) = block_logins(&bench).await;
    let login = begin_login(&bench, &user, &database).await;

    let ending = ended(&user, false);
    let observed = bench.observe(&ending).await;
    let plan = plan::plan(&ending, &observed).unwrap();
    let error = bench.engine.apply(&plan).await.unwrap_err();
    assert_eq!(error.class, Class::Transient, "{error}");
    assert!(error.detail.contains("1 logins under way"), "{error}");
    assert!(!bench.observe(&ending).await.account.unwrap().enabled, "it may not log in meanwhile");
    // It is not over in a later read either, nor for an operator that was started since.
    for engine in [&bench.engine, &bench.another()] {
        let observed = engine.observe(&ending.query()).await.unwrap();
        let plan = plan::plan(&ending, &observed).unwrap();
        assert!(matches!(plan, Plan::End(_)), "{plan}");
    }

    // The first login is through; another user's, begun later, stays under way.
    let (other_database, other_holder) = block_logins(&bench).await;
    let other = unique("other");
    bench.reach(&enabled(&other, &[])).await;
    let other_login = begin_login(&bench, &other, &other_database).await;
    ok(&holder, "rollback").await;
    drop(login.await.unwrap());
    let started = Instant::now();
    bench.reach(&ending).await;
    assert!(started.elapsed() < Duration::from_secs(20));
    ok(&other_holder, "rollback").await;
    drop(other_login.await.unwrap());
}

#[tokio::test]
async fn a_user_whose_logins_hang_is_disconnected() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let user = unique("holder");
        bench.reach(&enabled(&user, &[])).await;
        let client = bench.login(&user).await.unwrap();
        ok(&client, &format!("begin; alter role {user} password 'mine'")).await;
        let started = Instant::now();
        bench.reach(&ended(&user, true)).await;
        assert!(started.elapsed() < Duration::from_secs(20), "{version}: {:?}", started.elapsed());
        assert!(rows(&client, "select 1").await.is_err());
    }
}

#[tokio::test]
async fn a_user_who_keeps_starting_hanging_logins_is_disconnected() {
    let bench = Bench::new(PgVersion::V17).await;
    let user = unique("stubborn");
    bench.reach(&enabled(&user, &[])).await;
    let trouble = (0..4).map(async |_| {
        let mut times = 0;
        // Until the login is taken.
        while let Ok(client) = bench.login(&user).await {
            let _ = rows(&client, &format!("begin; alter role {user} password 'mine'; select pg_sleep(60)"))
                .await;
            times += 1;
        }
        times
    });
    let ending = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bench.reach(&ended(&user, true)).await
    };
    let (times, applied) = tokio::join!(join_all(trouble), ending);
    assert!(applied.dropped, "{applied:?}, {times:?}");
}

#[tokio::test]
async fn a_user_cannot_keep_a_role_by_locking_its_own_row() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let (user, role) = (unique("holder"), bench.role("lost").await);
        bench.reach(&enabled(&user, &[&role])).await;
        let client = bench.login(&user).await.unwrap();
        ok(&client, &format!("begin; alter role {user} password 'mine'; set role {role}")).await;
        bench.reach(&live(enabled(&user, &[]))).await;
        assert!(rows(&client, "select 1").await.is_err(), "{version}");
        assert!(bench.login(&user).await.is_ok(), "{version}: the account goes on");
    }
}

#[tokio::test]
async fn nobody_is_inside_after_an_end_under_a_storm_of_logins() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        for round in 0..6 {
            let user = unique("storm");
            bench.reach(&enabled(&user, &[])).await;
            let (stop, stopped) = tokio::sync::watch::channel(false);
            let certificate = bench.pg.client_cert(&user).unwrap();
            let storm: Vec<_> = (0..4)
                .map(|_| {
                    let (pg, certificate, stopped) = (bench.pg, certificate.clone(), stopped.clone());
                    tokio::spawn(async move {
                        let mut inside = Vec::new();
                        while !*stopped.borrow() {
                            inside.extend(pg.connect("postgres", &certificate).await.ok());
                        }
                        inside
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(60)).await;
            let drop = round % 2 == 0;
            let applied = bench.reach(&ended(&user, drop)).await;
            assert_eq!(applied.dropped, drop);
            let count = format!(
                "select count(*) from pg_stat_activity a where a.usename = '{user}' or (a.usesysid is not null and not exists (select from pg_roles r where r.oid = a.usesysid))"
            );
            assert_eq!(bench.value(&count).await, "0", "{version}");
            stop.send(true).unwrap();
            for inside in join_all(storm).await {
                for client in inside.unwrap() {
                    assert!(rows(&client, "select 1").await.is_err(), "{version}: somebody is inside");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_session_that_has_become_a_lost_role_is_ended() {
    let bench = Bench::new(PgVersion::V17).await;
    let (user, role) = (unique("alice"), bench.role("lost").await);
    bench.reach(&enabled(&user, &[&role])).await;
    let client = bench.login(&user).await.unwrap();
    ok(&client, &format!("set role {}", quote(&role))).await;
    bench.reach(&live(enabled(&user, &[]))).await;
    assert!(rows(&client, "select 1").await.is_err());
}
