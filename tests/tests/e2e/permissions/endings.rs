//! Whatever a user does to keep its object permissions, they are gone when the session has ended.

use anyhow::Result;
use rolecall_api::{CreateDbUserMode, DatabaseAdmin, EndReason};
use rolecall_testbed::PgVersion;
use rolecall_tests::test_env::ALICE;
use serde_json::json;

use super::*;

/// Ending the session ends a connection on which `statements` were run, and nothing can be done with it or a new one.
async fn ends(version: PgVersion, statements: &str) -> Result<()> {
    let env = env_of(TestEnv::builder().version(version)).await?;
    allow(&env, json!([{"match": {"schema": ["hr"]}, "permissions": ["SELECT", "UPDATE", "CREATE"]}]))
        .await?;
    let alice = alice(&env).await?;
    let set = sets(&env).await?.pop().context("a set")?;
    rows(&alice, &statements.replace("SET", &set)).await?;
    let secret = env.secret("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(alice.simple_query("select * from hr.employees").await.is_err());
    assert!(env.login_with(&secret).await.is_err());
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    let name = env.pg.value("app", "select name from hr.employees where id = 1").await?;
    assert_eq!(name.as_deref(), Some("Ada"));
    Ok(())
}

#[tokio::test]
async fn a_user_who_took_on_the_role_of_the_set_loses_it() -> Result<()> {
    // From 16 on no user can.
    ends(PgVersion::V15, r#"set role "SET"; select * from hr.employees"#).await
}

#[tokio::test]
async fn from_16_on_nobody_can_take_on_the_role_of_a_set() -> Result<()> {
    let env = env_of(TestEnv::builder().version(PgVersion::V16)).await?;
    allow(&env, select_in("hr")).await?;
    let alice = alice(&env).await?;
    let set = sets(&env).await?.pop().context("a set")?;
    may_not(&alice, &[&format!(r#"set role "{set}""#)]).await
}

#[tokio::test]
async fn an_open_transaction_a_prepared_statement_and_a_cursor_end() -> Result<()> {
    let statements = "prepare mine as select * from hr.employees;
        begin; update hr.employees set name = 'Eve' where id = 1; declare c cursor for select * from hr.employees";
    ends(PgVersion::V17, statements).await
}

#[tokio::test]
async fn the_tables_that_a_user_made_stay_and_the_user_is_disabled_where_it_would_have_been_dropped()
-> Result<()> {
    let env = env().await?;
    let spec = json!({
        "options": {"createDbUserMode": "BestEffortDrop"},
        "allow": {"dbRoles": [], "dbPermissions": [{"match": {"schema": ["hr"]}, "permissions": ["SELECT", "CREATE", "USAGE"]}]},
    });
    env.role("reader", spec).await?;
    let connection = alice(&env).await?;
    let session: DatabaseSession = env.get("alice-orders").await?;
    assert_eq!(session.status.and_then(|status| status.mode), Some(CreateDbUserMode::BestEffortDrop));
    may(&connection, &["create table hr.mine (id int)"]).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    let note = env.event("alice-orders", "AccountKept").await?;
    assert!(note.contains(r#"owns 1 object in the database "app" (table hr.mine)"#), "{note}");
    assert!(connection.simple_query("select * from hr.mine").await.is_err());

    env.pg.sql("app", "drop table hr.mine").await?;
    alice(&env).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_eq!(env.account().await?, None, "nothing keeps it any more");
    Ok(())
}

#[tokio::test]
async fn one_of_two_sessions_that_ends_leaves_the_other_what_it_has() -> Result<()> {
    let env = env().await?;
    allow(&env, select_in("hr")).await?;
    env.session("timed", json!({"ttl": "2s"})).await?;
    let alice = alice(&env).await?;
    env.ended("timed", EndReason::Expired).await?;
    may(&alice, &["select * from hr.employees"]).await?;
    assert_eq!(sets_of(&env, ALICE).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn sets_that_nobody_uses_are_dropped_after_a_while() -> Result<()> {
    let env = env_of(TestEnv::builder().flag("--keep-unused-sets=1s")).await?;
    allow(&env, select_in("hr")).await?;
    alice(&env).await?;
    env.user("bob", json!({})).await?;
    env.session("bob-orders", json!({"user": "bob"})).await?;
    complete(&env, "bob-orders").await?;
    assert_eq!(sets(&env).await?.len(), 1);
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    may(&env.login("bob-orders").await?, &["select * from hr.employees"]).await?;
    env.delete_and_wait::<DatabaseSession>("bob-orders").await?;
    no_sets(&env).await?;
    // The next session finds its set recreated.
    may(&alice(&env).await?, &["select * from hr.employees"]).await
}

#[tokio::test]
async fn sets_that_nobody_uses_since_before_a_restart_are_dropped_too() -> Result<()> {
    let mut env = env_of(TestEnv::builder().flag("--keep-unused-sets=1s")).await?;
    allow(&env, select_in("hr")).await?;
    alice(&env).await?;
    env.crash_operator().await;
    allow(&env, select_in("sales")).await?;
    env.start_operator().await?;
    counting(&env, "alice-orders", &[("SELECT", 1)]).await?;
    env.eventually("one set is left", async || Ok(sets(&env).await?.len() == 1)).await?;
    may(&env.login("alice-orders").await?, &["select * from sales.deals"]).await
}

#[tokio::test]
async fn a_database_that_is_deleted_leaves_no_sets_behind() -> Result<()> {
    let env = env().await?;
    allow(&env, select_in("hr")).await?;
    alice(&env).await?;
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    assert_eq!(sets(&env).await?, [""; 0]);
    let query = "select count(*) from pg_class where relacl::text like '%rolecall:%'";
    assert_eq!(env.pg.value("app", query).await?.as_deref(), Some("0"));
    Ok(())
}

async fn no_sets(env: &TestEnv) -> Result<()> {
    env.eventually("the sets are dropped", async || Ok(sets(env).await?.is_empty())).await
}
