//! A database that announces changes of its objects: they reach live sessions long before `objectSync`.

use anyhow::Result;
use rolecall_tests::test_env::ADMIN_USER;
use serde_json::json;
use tokio::time::Instant;

use super::*;

/// What a platform engineer runs.
const INSTALL: &str = include_str!("../../../../deploy/postgresql/announce_objects.sql");

/// A test environment in which objects are read again after an hour, `alice` has a session, and changes are announced.
async fn announcing() -> Result<(TestEnv, Client)> {
    let env = env().await?;
    env.admin(json!({"spec": {"objectSync": "1h"}})).await?;
    env.pg.sql("app", INSTALL).await?;
    allow(&env, select_in("hr")).await?;
    let alice = alice(&env).await?;
    databases(&env, "announced", 1).await?;
    Ok((env, alice))
}

/// Waits until the metrics count this many logical databases whose changes are noticed so.
async fn databases(env: &TestEnv, how: &str, expected: u32) -> Result<()> {
    let line = format!(
        "rolecall_object_databases{{database_admin=\"{}/orders\",changes=\"{how}\"}} {expected}",
        env.namespace
    );
    env.eventually(&line, async || Ok(metrics(env).await?.lines().any(|found| found == line))).await
}

async fn metrics(env: &TestEnv) -> Result<String> {
    env.operator.as_ref().context("an operator")?.get("/metrics").await
}

/// How often objects were read.
async fn reads(env: &TestEnv) -> Result<u64> {
    let metrics = metrics(env).await?;
    let name = "rolecall_reconcile_total{kind=\"permission_sets\",result=\"success\"} ";
    Ok(metrics.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap_or(0))
}

#[tokio::test]
async fn a_new_table_can_be_read_within_two_seconds() -> Result<()> {
    let (env, alice) = announcing().await?;
    let mut fastest = Duration::MAX;
    for table in ["hr.one", "hr.two", "hr.three"] {
        env.pg.sql("app", &format!("create table {table} (id int)")).await?;
        let created = Instant::now();
        may_soon(&env, &alice, &format!("select * from {table}")).await?;
        fastest = fastest.min(created.elapsed());
    }
    assert!(fastest < Duration::from_secs(2), "{fastest:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_renamed_moved_dropped_or_granted_by_hand_is_put_right_at_once() -> Result<()> {
    let (env, alice) = announcing().await?;
    let set = sets(&env).await?.pop().context("a set")?;
    env.pg.sql("app", "alter table hr.scratchpad set schema sales").await?;
    may_not_soon(&env, &alice, "select * from sales.scratchpad").await?;
    counting(&env, "alice-orders", &[("SELECT", 1)]).await?;
    let by_hand = format!(r#"set role "{ADMIN_USER}"; revoke select on hr.employees from "{set}""#);
    env.pg.sql("app", &by_hand).await?;
    may_soon(&env, &alice, "select * from hr.employees").await?;
    env.pg.sql("app", "drop table hr.employees").await?;
    counting(&env, "alice-orders", &[]).await?;
    Ok(())
}

#[tokio::test]
async fn many_changes_cause_few_reads() -> Result<()> {
    let (env, alice) = announcing().await?;
    let before = reads(&env).await?;
    let begun = Instant::now();
    let client = env.pg.superuser("app").await?;
    for table in 0..150 {
        client.batch_execute(&format!("create table hr.burst{table} (id int)")).await?;
        // Every user who may connect can also notify.
        alice.batch_execute("notify rolecall_objects, 'in vain'").await?;
    }
    may_soon(&env, &alice, "select * from hr.burst149").await?;
    counting(&env, "alice-orders", &[("SELECT", 152)]).await?;
    let most = begun.elapsed().as_secs() + 2;
    let after = reads(&env).await?;
    assert!(after - before <= most, "{} reads in {:?}", after - before, begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_misses_nothing() -> Result<()> {
    let (env, alice) = announcing().await?;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%LISTEN%' and pid <> pg_backend_pid()";
    env.pg.sql("app", &format!("{end}; create table hr.later (id int)")).await?;
    may_soon(&env, &alice, "select * from hr.later").await?;
    databases(&env, "announced", 1).await
}

#[tokio::test]
async fn without_triggers_a_database_is_polled() -> Result<()> {
    let env = env_with_frequent_object_sync().await?;
    allow(&env, select_in("hr")).await?;
    let alice = alice(&env).await?;
    databases(&env, "polled", 1).await?;
    env.pg.sql("app", INSTALL).await?;
    databases(&env, "announced", 1).await?;
    databases(&env, "polled", 0).await?;
    env.pg.sql("app", "drop event trigger rolecall_objects_dropped").await?;
    databases(&env, "polled", 1).await?;
    env.pg.sql("app", "create table hr.later (id int)").await?;
    may_soon(&env, &alice, "select * from hr.later").await
}

#[tokio::test]
async fn a_database_can_be_dropped_once_its_last_session_has_ended() -> Result<()> {
    let (env, alice) = announcing().await?;
    drop(alice);
    env.session("second", json!({})).await?;
    env.active("second").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    databases(&env, "announced", 1).await?;
    env.delete_and_wait::<DatabaseSession>("second").await?;
    // The server itself waits five seconds for connections that are about to end.
    env.pg.sql("postgres", "drop database app").await?;
    Ok(())
}
