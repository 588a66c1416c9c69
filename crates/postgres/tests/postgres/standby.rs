//! A synchronous standby that is lost: commits wait for it for ever.

use std::time::{Duration, Instant};

use rolecall_engine::{Desired, Engine as _, Error, Plan, Reason, plan};
use rolecall_testbed::{PgVersion, Postgres, rows};

use crate::common::{Bench, Failure, enabled, ended, unique};

/// Long for a machine that has much to do, and far below what a commit that waits for a standby takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn bench(version: PgVersion) -> Bench {
    let pg: &Postgres = Box::leak(Box::new(Postgres::start(version).await.unwrap()));
    Bench::on(pg, "createrole").await
}

/// From now on commits wait for a standby that is not there.
async fn lose_standby(bench: &Bench) {
    set_standbys(bench, "'lost'").await;
    // The server acts on it a moment later.
    let client = bench.pg.superuser("postgres").await.unwrap();
    until("commits wait", async || {
        let count = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
        tokio::select! {
            _ = rows(&client, "alter role postgres connection limit -1") => false,
            () = until("it waits", async || bench.value(count).await != "0") => true,
        }
    })
    .await;
    let cancel = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";
    bench.value(cancel).await;
}

/// The person in charge decides that nobody waits for it any more.
async fn give_standby_up(bench: &Bench) {
    set_standbys(bench, "''").await;
}

async fn set_standbys(bench: &Bench, names: &str) {
    let client = bench.pg.superuser("postgres").await.unwrap();
    rows(&client, &format!("alter system set synchronous_standby_names = {names}")).await.unwrap();
    rows(&client, "select pg_reload_conf()").await.unwrap();
    until("the standbys are set", async || {
        let shown = rows(&client, "show synchronous_standby_names").await.unwrap();
        shown[0][0].as_deref() == Some(names.trim_matches('\''))
    })
    .await;
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not after {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn end(bench: &Bench, ending: &Desired) -> Error {
    match bench.apply(ending).await {
        Err(Failure::Error(error)) => error,
        other => panic!("it ended: {other:?}"),
    }
}

/// How many of the admin user's changes wait for the standby.
async fn waiting(bench: &Bench) -> String {
    let count = format!(
        "select count(*) from pg_stat_activity where usename = '{}' and wait_event = 'SyncRep'",
        bench.admin
    );
    bench.value(&count).await
}

#[tokio::test]
async fn an_end_closes_what_it_can_at_once_and_waits_for_the_standby() {
    for version in PgVersion::ALL {
        let bench = bench(version).await;
        let (user, role) = (unique("alice"), bench.role("reader").await);
        bench.reach(&enabled(&user, &[&role])).await;
        let inside = bench.login(&user).await.unwrap();
        lose_standby(&bench).await;

        let (ending, begun) = (ended(&user, true), Instant::now());
        let error = end(&bench, &ending).await;
        assert!(begun.elapsed() < PATIENCE, "{version}: {:?}", begun.elapsed());
        assert_eq!(error.reason, Reason::WaitingForStandby, "{version}: {error}");
        assert!(error.to_string().contains("waits for the standby"), "{error}");
        assert!(error.remedy.contains("synchronous_standby_names"), "{error}");
        assert!(rows(&inside, "select 1").await.is_err(), "{version}: somebody is inside");
        assert!(bench.login(&user).await.is_err(), "{version}: it can log in");
        assert_eq!(waiting(&bench).await, "0", "{version}");

        // It has not ended in a later read either, nor for an operator that was started since.
        for engine in [&bench.engine, &bench.another()] {
            let observed = engine.observe(&ending.query()).await.unwrap();
            let plan = plan::plan(&ending, &observed).unwrap();
            assert!(matches!(plan, Plan::End(_)), "{version}: {plan}");
        }
        assert_eq!(end(&bench, &ending).await.reason, Reason::WaitingForStandby, "{version}");

        give_standby_up(&bench).await;
        assert!(bench.reach(&ending).await.dropped, "{version}");
    }
}

#[tokio::test]
async fn a_wait_that_somebody_else_ends_proves_nothing() {
    let bench = bench(PgVersion::V17).await;
    let user = unique("alice");
    bench.reach(&enabled(&user, &[])).await;
    lose_standby(&bench).await;
    let superuser = bench.pg.superuser("postgres").await.unwrap();
    let cancelling = async {
        loop {
            let cancel = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";
            rows(&superuser, cancel).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ending = ended(&user, false);
    let error = tokio::select! {
        error = end(&bench, &ending) => error,
        () = cancelling => unreachable!(),
    };
    assert_eq!(error.reason, Reason::WaitingForStandby, "{error}");
    give_standby_up(&bench).await;
    bench.reach(&ending).await;
}

#[tokio::test]
async fn a_start_does_not_wait_for_a_standby_for_ever() {
    let bench = bench(PgVersion::V17).await;
    let user = unique("alice");
    bench.engine.preflight(&Default::default()).await.unwrap();
    lose_standby(&bench).await;
    let begun = Instant::now();
    bench.reach(&enabled(&user, &[])).await;
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert!(bench.login(&user).await.is_ok());
    give_standby_up(&bench).await;
}

#[tokio::test]
async fn what_is_abandoned_is_cancelled() {
    let bench = bench(PgVersion::V17).await;
    let user = unique("alice");
    bench.engine.preflight(&Default::default()).await.unwrap();
    lose_standby(&bench).await;
    let starting = enabled(&user, &[]);
    let observed = bench.observe(&starting).await;
    let plan = plan::plan(&starting, &observed).unwrap();
    tokio::select! {
        _ = bench.engine.apply(&plan) => panic!("it does not wait"),
        () = until("it waits", async || waiting(&bench).await != "0") => {}
    }
    until("nothing waits any more", async || waiting(&bench).await == "0").await;
    give_standby_up(&bench).await;
}

#[tokio::test]
async fn what_an_earlier_operator_left_behind_delays_no_end() {
    for version in [PgVersion::V15, PgVersion::V17] {
        let bench = bench(version).await;
        let user = unique("alice");
        bench.reach(&enabled(&user, &[])).await;
        lose_standby(&bench).await;
        // Killed: the server goes on with what it had begun.
        let left = bench.pg.connect("postgres", &bench.certificate).await.unwrap();
        rows(&left, "set application_name = 'rolecall'").await.unwrap();
        let change = format!("alter role {user} connection limit -1");
        tokio::select! {
            _ = rows(&left, &change) => panic!("it does not wait"),
            () = until("it waits", async || waiting(&bench).await != "0") => {}
        }
        drop(left);
        assert_eq!(waiting(&bench).await, "1");

        let ending = ended(&user, false);
        let mut error = end(&bench, &ending).await;
        let begun = Instant::now();
        while error.reason != Reason::WaitingForStandby && begun.elapsed() < PATIENCE {
            error = end(&bench, &ending).await;
        }
        assert_eq!(error.reason, Reason::WaitingForStandby, "{version}: {error}");
        assert!(bench.login(&user).await.is_err(), "{version}");
        give_standby_up(&bench).await;
        bench.reach(&ending).await;
    }
}
