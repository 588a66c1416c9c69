//! A few connections, whatever happens.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rolecall_engine::{Class, Engine as _, Needs, Reason, plan};
use rolecall_postgres::{Config, Postgres as Engine};
use rolecall_testbed::{PgVersion, Postgres};

use crate::common::{Bench, apply, enabled, ended, unique};

async fn connections(bench: &Bench) -> u64 {
    let query = format!("select count(*) from pg_stat_activity where usename = '{}'", bench.admin);
    bench.value(&query).await.parse().unwrap()
}

#[tokio::test]
async fn there_are_never_more_connections_than_allowed() {
    let bench = Bench::new(PgVersion::V17).await;
    let databases = [unique("one"), unique("two"), unique("three"), unique("four")];
    for database in &databases {
        bench.sql(&format!("create database {database}")).await;
    }
    for most in [1, 2, 5] {
        let engine = Engine::new(Config { max_connections: most, ..bench.config() }).unwrap();
        let users: Vec<String> = (0..24).map(|_| unique("crowd")).collect();
        let work = users.iter().enumerate().map(async |(i, user)| {
            let place = Some(databases[i % 4].clone());
            let mut desired = enabled(user, &[]);
            desired.session_database = place.clone();
            apply(&engine, &desired).await.unwrap();
            let mut desired = ended(user, true);
            desired.session_database = place;
            apply(&engine, &desired).await.unwrap();
        });
        let watch = async {
            for _ in 0..20 {
                assert!(engine.stats().connections_open <= most as u64, "at most {most}");
                // A backend is gone a moment after its connection.
                let seen = connections(&bench).await;
                assert!(seen <= 2 * most as u64, "{seen} of at most {most}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::join!(join_all(work), watch);
        let stats = engine.stats();
        assert!(stats.connections_open <= most as u64, "{stats:?}");
        engine.close().await;
        while connections(&bench).await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(engine.stats().connections_open, 0);
    }
}

#[tokio::test]
async fn one_connection_serves_one_database() {
    let bench = Bench::new(PgVersion::V17).await;
    for _ in 0..10 {
        bench.reach(&enabled(&unique("alice"), &[])).await;
    }
    assert_eq!(bench.engine.stats().connections_opened, 1);
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    let bench = Bench::new(PgVersion::V17).await;
    let engine = Engine::new(Config { idle_timeout: Duration::from_millis(200), ..bench.config() }).unwrap();
    apply(&engine, &enabled(&unique("alice"), &[])).await.unwrap();
    assert_eq!(engine.stats().connections_open, 1);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(engine.stats().connections_open, 0);
    apply(&engine, &enabled(&unique("alice"), &[])).await.unwrap();
    assert_eq!(engine.stats().connections_opened, 2);
}

#[tokio::test]
async fn an_access_ends_though_the_server_takes_no_more_connections() {
    let bench = Bench::new(PgVersion::V17).await;
    let engine = Engine::new(Config { idle_timeout: Duration::from_millis(200), ..bench.config() }).unwrap();
    let user = unique("hog");
    apply(&engine, &enabled(&user, &[])).await.unwrap();
    // The connection that did the work stays when it turns out which server this is, and when nobody uses it for long.
    let _history_watch = engine.watch_history().await.unwrap();
    assert_eq!(engine.stats().connections_open, 2);
    bench.sql(&format!("alter role \"{}\" connection limit 2", bench.admin)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    apply(&engine, &ended(&user, false)).await.unwrap();
    assert_eq!(engine.stats().connections_opened, 2);
}

#[tokio::test]
async fn a_connection_that_was_cut_is_replaced() {
    let bench = Bench::new(PgVersion::V17).await;
    let user = unique("alice");
    bench.reach(&enabled(&user, &[])).await;
    let cut =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{}'", bench.admin);
    bench.sql(&cut).await;
    bench.reach(&ended(&user, true)).await;
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    let pg: &Postgres = Box::leak(Box::new(Postgres::start(PgVersion::V17).await.unwrap()));
    let bench = Bench::on(pg, "createrole").await;
    let user = unique("alice");
    bench.reach(&enabled(&user, &[])).await;
    pg.stop().await;
    let error = bench.engine.preflight(&Needs::default()).await.unwrap_err();
    assert_eq!(error.class, Class::Unreachable, "{error}");
    pg.start_again().await.unwrap();
    bench.reach(&ended(&user, true)).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_costs_no_connection() {
    let pg: &Postgres = Box::leak(Box::new(Postgres::start(PgVersion::V17).await.unwrap()));
    let bench = Bench::on(pg, "createrole").await;
    let config = Config {
        max_connections: 2,
        statement_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(500),
        ..bench.config()
    };
    let engine = Engine::new(config).unwrap();
    let user = unique("alice");
    apply(&engine, &enabled(&user, &[])).await.unwrap();
    pg.pause().await;
    let query = enabled(&user, &[]).query();
    // Callers that time out leave nothing behind that others wait for.
    for _ in 0..6 {
        let timeout = Duration::from_millis(200);
        assert!(tokio::time::timeout(timeout, engine.observe(&query)).await.is_err());
    }
    pg.unpause().await;
    apply(&engine, &ended(&user, true)).await.unwrap();
    assert!(engine.stats().connections_open <= 2);
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_leaves_the_account_whole() {
    let bench = Bench::new(PgVersion::V17).await;
    let role = bench.role("reader").await;
    for micros in (0..3000).step_by(150) {
        let user = unique("dropped");
        let desired = enabled(&user, &[&role]);
        let observed = bench.engine.observe(&desired.query()).await.unwrap();
        let plan = plan::plan(&desired, &observed).unwrap();
        let _ = tokio::time::timeout(Duration::from_micros(micros), bench.engine.apply(&plan)).await;
        // What was sent comes to its own end. Either nothing is there, or everything.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let account = bench.observe(&desired).await.account;
        if let Some(account) = account {
            assert!(account.enabled && account.managed && account.memberships.len() == 1, "{account:?}");
        }
        // On a machine under load what was sent may still be under way, and in the way.
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(failure) = bench.apply(&desired).await {
            assert!(Instant::now() < deadline, "{failure:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bench.reach(&desired).await;
    }
}

#[tokio::test]
async fn many_who_read_at_once_share_a_round_trip() {
    let bench = Bench::new(PgVersion::V17).await;
    bench.engine.preflight(&Needs::default()).await.unwrap();
    let queries: Vec<_> = (0..200).map(|_| enabled(&unique("reader"), &[]).query()).collect();
    let before = bench.engine.stats();
    let reads = join_all(queries.iter().map(|query| bench.engine.observe(query))).await;
    assert!(reads.iter().all(Result::is_ok));
    let after = bench.engine.stats();
    assert!(after.round_trips - before.round_trips <= 3, "{before:?} {after:?}");
}

#[tokio::test]
async fn a_reader_who_leaves_does_not_take_others_along() {
    let bench = Bench::new(PgVersion::V17).await;
    bench.engine.preflight(&Needs::default()).await.unwrap();
    for micros in (0..1500).step_by(100) {
        let queries: Vec<_> = (0..20).map(|_| enabled(&unique("reader"), &[]).query()).collect();
        let (impatient, patient) = queries.split_first().unwrap();
        let leader = tokio::time::timeout(Duration::from_micros(micros), bench.engine.observe(impatient));
        let others = join_all(patient.iter().map(|query| bench.engine.observe(query)));
        let (_, others) = tokio::join!(leader, others);
        assert!(others.iter().all(Result::is_ok));
    }
}

#[tokio::test]
async fn waiting_too_long_for_a_connection_is_an_error() {
    let pg: &Postgres = Box::leak(Box::new(Postgres::start(PgVersion::V17).await.unwrap()));
    let bench = Bench::on(pg, "createrole").await;
    let config = Config {
        max_connections: 1,
        acquire_timeout: Duration::from_millis(300),
        lock_timeout: Duration::from_secs(20),
        ..bench.config()
    };
    let engine = Engine::new(config).unwrap();
    engine.preflight(&Needs::default()).await.unwrap();
    // Whoever reads an account waits for this, with the connection in hand.
    let blocker = pg.superuser("postgres").await.unwrap();
    blocker
        .batch_execute("begin; lock table pg_catalog.pg_auth_members in access exclusive mode")
        .await
        .unwrap();
    let query = enabled(&unique("alice"), &[]).query();
    let slow = engine.observe(&query);
    let others = async {
        let waits =
            "select count(*) from pg_locks where not granted and relation = 'pg_auth_members'::regclass";
        while blocker.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let error = engine.list_sets().await.unwrap_err();
        assert_eq!((error.class, error.reason), (Class::Transient, Reason::ConnectionsBusy), "{error}");
        blocker.batch_execute("rollback").await.unwrap();
    };
    let (read, ()) = tokio::join!(slow, others);
    read.unwrap();
    engine.list_sets().await.unwrap();
}
