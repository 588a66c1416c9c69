//! Suspended users and suspended databases.

use std::time::Duration;

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, EndReason, SessionPhase};
use rolecall_testbed::rows;
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{is_ready, phase, reason_of};
use serde_json::{Value, json};

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
