//! The owner of a logical database, or a role that may alter the admin user, does not decide whether an access ends.

use anyhow::Result;
use rolecall_api::{DatabaseAdmin, DatabaseSession};
use rolecall_testbed::{PgVersion, rows};
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{is_ready, message_of};
use rolecall_tests::test_env::ADMIN_USER;
use serde_json::json;

use crate::checks::{admin_reports, trigger_reconcile};

/// A live session whose role owns its logical database, on a server where the admin user has no database of its own.
async fn owning(version: PgVersion) -> Result<(TestEnv, tokio_postgres::Client)> {
    let env = TestEnv::builder().version(version).without_operator().start().await?;
    let mut env = env;
    env.admin(json!({"spec": {"adminUser": {"name": ADMIN_USER, "defaultDatabase": null}}})).await?;
    env.pg.sql("postgres", "alter database app owner to reader").await?;
    env.start_operator().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    Ok((env, client))
}

/// Connections of the operator, which were made before.
async fn cut(env: &TestEnv) -> Result<()> {
    let all =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ADMIN_USER}'");
    env.pg.sql("postgres", &all).await.map(drop).map_err(Into::into)
}

#[tokio::test]
async fn what_the_owner_sets_for_its_database_delays_no_end() -> Result<()> {
    for version in [PgVersion::V15, PgVersion::V17] {
        let (env, client) = owning(version).await?;
        for setting in [
            "set role = 'reader'",
            "set local_preload_libraries = 'nothing'",
            "set idle_session_timeout = 1",
            "set statement_timeout = 1",
            "connection limit 0",
        ] {
            rows(&client, &format!("set role reader; alter database app {setting}")).await?;
        }
        cut(&env).await?;
        env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
        assert!(client.simple_query("select 1").await.is_err(), "{version}");
        assert!(env.account().await?.is_some_and(|account| account.is_disabled()), "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn an_admin_database_that_lets_nobody_in_delays_no_end() -> Result<()> {
    let (env, client) = owning(PgVersion::V17).await?;
    env.admin(json!({"spec": {"adminUser": {"name": ADMIN_USER, "defaultDatabase": "app"}}})).await?;
    rows(&client, "set role reader; alter database app connection limit 0").await?;
    cut(&env).await?;
    trigger_reconcile(&env).await?;
    admin_reports(&env, "DatabaseUnreachable", "ALTER DATABASE \"app\" CONNECTION LIMIT -1").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(client.simple_query("select 1").await.is_err());
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_role_that_is_set_for_the_admin_user_is_given_no_rights_and_blocks_nothing() -> Result<()> {
    let (env, client) = owning(PgVersion::V17).await?;
    let set = format!(
        "create role app_owner; grant app_owner to \"{ADMIN_USER}\"; alter role \"{ADMIN_USER}\" set role = 'app_owner'"
    );
    env.pg.sql("postgres", &set).await?;
    cut(&env).await?;
    trigger_reconcile(&env).await?;
    let admin: DatabaseAdmin = env.until("orders", "Ready", is_ready).await?;
    assert!(!format!("{:?}", admin.status).contains("app_owner"), "{}", message_of(&admin));
    env.session("alice-again", json!({})).await?;
    env.active("alice-again").await?;
    for session in ["alice-again", "alice-orders"] {
        env.delete_and_wait::<DatabaseSession>(session).await?;
    }
    assert!(client.simple_query("select 1").await.is_err());
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}
