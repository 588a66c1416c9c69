//! Servers that do not answer, and servers that take their time.

use std::time::{Duration, Instant};

use rolecall_engine::{Class, Engine as _, Reason, plan};
use rolecall_postgres::{Config, Postgres as Engine};
use rolecall_testbed::{PgVersion, Postgres, rows};

use crate::common::{Bench, enabled, ended, unique};

#[tokio::test]
async fn a_server_that_hangs_is_reported_within_ten_seconds_though_its_connection_worked() {
    let pg: &Postgres = Box::leak(Box::new(Postgres::start(PgVersion::V17).await.unwrap()));
    let bench = Bench::on(pg, "createrole").await;
    let user = unique("alice");
    bench.reach(&enabled(&user, &[])).await;
    pg.pause().await;
    let begun = Instant::now();
    let error = bench.engine.observe(&enabled(&user, &[]).query()).await.unwrap_err();
    let took = begun.elapsed();
    pg.unpause().await;
    assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::DatabaseUnreachable), "{error}");
    assert!(error.detail.contains("has not answered within"), "{error}");
    assert!((7..20).contains(&took.as_secs()), "{took:?}");
    bench.observe(&enabled(&user, &[])).await;
}

#[tokio::test]
async fn what_a_server_that_hung_was_left_with_does_not_come_after_the_end() {
    let pg: &Postgres = Box::leak(Box::new(Postgres::start(PgVersion::V17).await.unwrap()));
    let bench = Bench::on(pg, "createrole").await;
    let user = unique("alice");
    bench.engine.preflight(&Default::default()).await.unwrap();
    let starting = enabled(&user, &[]);
    let plan = plan::plan(&starting, &bench.observe(&starting).await).unwrap();
    // It waits for a lock within the statement, and is given up.
    let holder = pg.superuser("postgres").await.unwrap();
    rows(&holder, "begin; lock table pg_catalog.pg_auth_members in share mode").await.unwrap();
    let waits = "select count(*) from pg_locks where not granted";
    tokio::select! {
        _ = bench.engine.apply(&plan) => panic!("it does not wait"),
        () = async { while bench.value(waits).await == "0" {} } => {}
    }
    let ending = ended(&user, false);
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        rows(&holder, "rollback").await.unwrap();
    };
    let (observed, ()) = tokio::join!(bench.observe(&ending), release);
    assert!(observed.account.is_none(), "{observed:?}");
    let ours = format!(
        "select count(*) from pg_stat_activity where usename = '{}' and state <> 'idle'",
        bench.admin
    );
    assert_eq!(bench.value(&ours).await, "0");
    assert_eq!(bench.value(&format!("select count(*) from pg_roles where rolname = '{user}'")).await, "0");
}

#[tokio::test]
async fn a_statement_that_takes_long_is_waited_for_while_the_server_answers() {
    let pg: &Postgres = Box::leak(Box::new(Postgres::start(PgVersion::V17).await.unwrap()));
    let bench = Bench::on(pg, "createrole").await;
    let config = Config { lock_timeout: Duration::from_secs(25), ..bench.config() };
    let engine = Engine::new(config).unwrap();
    let query = enabled(&unique("alice"), &[]).query();
    engine.observe(&query).await.unwrap();
    let holder = pg.superuser("postgres").await.unwrap();
    rows(&holder, "begin; lock table pg_catalog.pg_auth_members in access exclusive mode").await.unwrap();
    let release = async {
        tokio::time::sleep(Duration::from_secs(11)).await;
        rows(&holder, "rollback").await.unwrap();
    };
    let (observed, ()) = tokio::join!(engine.observe(&query), release);
    observed.unwrap();
}
