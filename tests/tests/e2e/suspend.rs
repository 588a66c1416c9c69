//! Suspended users and suspended databases.

use std::time::Duration;

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, EndReason, SessionPhase};
use rolecall_testbed::rows;
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{is_ready, phase, reason_of};
use serde_json::{Value, json};

use crate::admin_secrets::{elsewhere, to};
use crate::checks::admin_reports;
use crate::deletion_admin::delete_secrets;

/// What only the statement that lists all accounts needs.
pub(crate) const NEEDED_TO_LIST: &str = "execute on function pg_catalog.bool_and(boolean)";

fn suspend(value: bool) -> Value {
    json!({"spec": {"suspend": value}})
}

#[tokio::test]
async fn suspending_a_user_ends_its_sessions_and_keeps_others_from_starting() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.session("standing", json!({})).await?;
    env.active("timed").await?;
    env.active("standing").await?;
    let client = env.login("timed").await?;

    env.patch::<DatabaseUser>("alice", suspend(true)).await?;
    env.ended("timed", EndReason::UserSuspended).await?;
    env.pending("standing", "UserSuspended").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    assert!(client.query_one("select 1", &[]).await.is_err());
    env.session("new", json!({"ttl": "1h", "startDeadline": "1s"})).await?;
    env.rejected("new", "UserSuspended").await?;

    env.patch::<DatabaseUser>("alice", suspend(false)).await?;
    env.active("standing").await?;
    assert_eq!(phase(&env.get("timed").await?), SessionPhase::Ended);
    Ok(())
}

#[tokio::test]
async fn nothing_starts_on_a_suspended_database() -> Result<()> {
    let env = TestEnv::start().await?;
    env.patch::<DatabaseAdmin>("orders", suspend(true)).await?;
    env.session("standing", json!({})).await?;
    env.session("timed", json!({"ttl": "1h", "startDeadline": "1s"})).await?;
    env.pending("standing", "DatabaseSuspended").await?;
    env.rejected("timed", "DatabaseSuspended").await?;
    assert!(env.account().await?.is_none());
    env.patch::<DatabaseAdmin>("orders", suspend(false)).await?;
    env.active("standing").await?;
    Ok(())
}

#[tokio::test]
async fn endings_wait_while_the_database_is_suspended() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("deleted", json!({})).await?;
    env.session("expires", json!({"ttl": "3s"})).await?;
    env.session("stays", json!({})).await?;
    for name in ["deleted", "expires", "stays"] {
        env.active(name).await?;
    }
    let client = env.login("stays").await?;
    let before = env.account().await?;

    env.patch::<DatabaseAdmin>("orders", suspend(true)).await?;
    let suspended = |admin: &DatabaseAdmin| reason_of(admin) == "DatabaseSuspended";
    env.until("orders", "suspended", suspended).await?;
    env.delete::<DatabaseSession>("deleted").await?;
    env.phase("deleted", SessionPhase::Ending, "DatabaseSuspended").await?;
    env.phase("expires", SessionPhase::Ending, "DatabaseSuspended").await?;
    assert_eq!(phase(&env.get("stays").await?), SessionPhase::Active);
    assert_eq!(env.account().await?, before, "nothing on the server is touched");
    rows(&client, "select 1").await.context("access is unchanged")?;

    env.patch::<DatabaseAdmin>("orders", suspend(false)).await?;
    env.gone::<DatabaseSession>("deleted").await?;
    env.ended("expires", EndReason::Expired).await?;
    let ready = |session: &DatabaseSession| phase(session) == SessionPhase::Active && is_ready(session);
    env.until("stays", "Active and Ready", ready).await?;
    rows(&client, "select 1").await.context("the session that stays is not disturbed")?;
    Ok(())
}

#[tokio::test]
async fn a_suspended_user_on_a_suspended_database_loses_access_when_the_database_goes_on() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("standing", json!({})).await?;
    env.active("standing").await?;
    env.patch::<DatabaseAdmin>("orders", suspend(true)).await?;
    env.until("orders", "suspended", |admin: &DatabaseAdmin| reason_of(admin) == "DatabaseSuspended").await?;
    env.patch::<DatabaseUser>("alice", suspend(true)).await?;
    env.phase("standing", SessionPhase::Ending, "DatabaseSuspended").await?;
    assert!(env.account().await?.is_some_and(|account| account.login));
    env.patch::<DatabaseAdmin>("orders", suspend(false)).await?;
    env.pending("standing", "UserSuspended").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    let stays =
        env.until_within(Duration::from_secs(1), "standing", "anything else", |s: &DatabaseSession| {
            reason_of(s) != "UserSuspended"
        });
    assert!(stays.await.is_err());
    Ok(())
}

async fn suspended(env: &TestEnv) -> Result<()> {
    env.patch::<DatabaseAdmin>("orders", suspend(true)).await?;
    let suspended = |admin: &DatabaseAdmin| reason_of(admin) == "DatabaseSuspended";
    env.until("orders", "suspended", suspended).await.map(drop)
}

async fn resume(env: &TestEnv) -> Result<()> {
    env.patch::<DatabaseAdmin>("orders", suspend(false)).await.map(drop)
}

#[tokio::test]
async fn an_access_ends_although_the_address_changed_during_a_suspension() -> Result<()> {
    let env = TestEnv::start().await?;
    let other = elsewhere(&env).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    suspended(&env).await?;
    env.admin(to(&other)).await?;
    resume(&env).await?;
    admin_reports(&env, "LiveAccounts", "end the sessions").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_access_expires_although_the_secrets_went_during_a_suspension() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("expires", json!({"ttl": "3s"})).await?;
    env.active("expires").await?;
    suspended(&env).await?;
    delete_secrets(&env).await?;
    env.phase("expires", SessionPhase::Ending, "DatabaseSuspended").await?;
    resume(&env).await?;
    env.ended("expires", EndReason::Expired).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_access_ends_with_the_kept_credentials_after_a_suspension() -> Result<()> {
    let mut env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    suspended(&env).await?;
    let broken = env.pg.client_cert("somebody-else")?;
    env.tls_secret("orders-admin-cert", &broken.cert_pem, &broken.key_pem).await?;
    // The next one has used no other credentials.
    env.crash_operator().await;
    env.start_operator().await?;
    resume(&env).await?;
    admin_reports(&env, "LoginFailed", "common name").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_access_ends_after_a_suspension_though_the_server_refuses_a_check() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    suspended(&env).await?;
    // Only the check of what the server is and lacks calls it.
    let check = "execute on function pg_catalog.pg_postmaster_start_time() from public";
    env.pg.sql("postgres", &format!("revoke {check}")).await?;
    resume(&env).await?;
    admin_reports(&env, "MissingAdminOption", "pg_postmaster_start_time").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_database_without_its_secrets_is_torn_down_after_a_suspension() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    suspended(&env).await?;
    delete_secrets(&env).await?;
    resume(&env).await?;
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    env.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_access_ends_though_its_database_went_by_force_after_a_suspension() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    suspended(&env).await?;
    env.pg.sql("postgres", &format!("revoke {NEEDED_TO_LIST} from public")).await?;
    resume(&env).await?;
    let log = env.operator.as_ref().context("an operator")?.log();
    log.wait_for("the accounts could not be listed").await?;
    env.delete::<DatabaseAdmin>("orders").await?;
    env.patch::<DatabaseAdmin>("orders", json!({"metadata": {"finalizers": null}})).await?;
    env.gone::<DatabaseAdmin>("orders").await?;
    log.wait_for("its accounts were not torn down").await?;
    env.pg.sql("postgres", &format!("grant {NEEDED_TO_LIST} to public")).await?;
    env.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}
