//! Suspended users and suspended databases.

use std::time::Duration;

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, EndReason, SessionPhase};
use rolecall_testbed::rows;
use rolecall_tests::World;
use rolecall_tests::objects::{is_ready, phase, reason_of};
use serde_json::{Value, json};

fn suspend(value: bool) -> Value {
    json!({"spec": {"suspend": value}})
}

#[tokio::test]
async fn suspending_a_user_ends_its_sessions_and_keeps_others_from_starting() -> Result<()> {
    let world = World::start().await?;
    world.session("timed", json!({"ttl": "1h"})).await?;
    world.session("standing", json!({})).await?;
    world.active("timed").await?;
    world.active("standing").await?;
    let client = world.login("timed").await?;

    world.patch::<DatabaseUser>("alice", suspend(true)).await?;
    world.ended("timed", EndReason::UserSuspended).await?;
    world.pending("standing", "UserSuspended").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    assert!(client.query_one("select 1", &[]).await.is_err());
    world.session("new", json!({"ttl": "1h", "startDeadline": "1s"})).await?;
    world.rejected("new", "UserSuspended").await?;

    world.patch::<DatabaseUser>("alice", suspend(false)).await?;
    world.active("standing").await?;
    assert_eq!(phase(&world.get("timed").await?), SessionPhase::Ended);
    Ok(())
}

#[tokio::test]
async fn nothing_starts_on_a_suspended_database() -> Result<()> {
    let world = World::start().await?;
    world.patch::<DatabaseAdmin>("orders", suspend(true)).await?;
    world.session("standing", json!({})).await?;
    world.session("timed", json!({"ttl": "1h", "startDeadline": "1s"})).await?;
    world.pending("standing", "DatabaseSuspended").await?;
    world.rejected("timed", "DatabaseSuspended").await?;
    assert!(world.account().await?.is_none());
    world.patch::<DatabaseAdmin>("orders", suspend(false)).await?;
    world.active("standing").await?;
    Ok(())
}

#[tokio::test]
async fn endings_wait_while_the_database_is_suspended() -> Result<()> {
    let world = World::start().await?;
    world.session("deleted", json!({})).await?;
    world.session("expires", json!({"ttl": "3s"})).await?;
    world.session("stays", json!({})).await?;
    for name in ["deleted", "expires", "stays"] {
        world.active(name).await?;
    }
    let client = world.login("stays").await?;
    let before = world.account().await?;

    world.patch::<DatabaseAdmin>("orders", suspend(true)).await?;
    let suspended = |admin: &DatabaseAdmin| reason_of(admin) == "DatabaseSuspended";
    world.until("orders", "suspended", suspended).await?;
    world.delete::<DatabaseSession>("deleted").await?;
    world.phase("deleted", SessionPhase::Ending, "DatabaseSuspended").await?;
    world.phase("expires", SessionPhase::Ending, "DatabaseSuspended").await?;
    assert_eq!(phase(&world.get("stays").await?), SessionPhase::Active);
    assert_eq!(world.account().await?, before, "nothing on the server is touched");
    rows(&client, "select 1").await.context("access is as it was")?;

    world.patch::<DatabaseAdmin>("orders", suspend(false)).await?;
    world.gone::<DatabaseSession>("deleted").await?;
    world.ended("expires", EndReason::Expired).await?;
    let ready = |session: &DatabaseSession| phase(session) == SessionPhase::Active && is_ready(session);
    world.until("stays", "Active and Ready", ready).await?;
    rows(&client, "select 1").await.context("the session that stays is not disturbed")?;
    Ok(())
}

#[tokio::test]
async fn a_suspended_user_on_a_suspended_database_loses_access_when_the_database_goes_on() -> Result<()> {
    let world = World::start().await?;
    world.session("standing", json!({})).await?;
    world.active("standing").await?;
    world.patch::<DatabaseAdmin>("orders", suspend(true)).await?;
    world
        .until("orders", "suspended", |admin: &DatabaseAdmin| reason_of(admin) == "DatabaseSuspended")
        .await?;
    world.patch::<DatabaseUser>("alice", suspend(true)).await?;
    world.phase("standing", SessionPhase::Ending, "DatabaseSuspended").await?;
    assert!(world.account().await?.is_some_and(|account| account.login));
    world.patch::<DatabaseAdmin>("orders", suspend(false)).await?;
    world.pending("standing", "UserSuspended").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    let stays =
        world.until_within(Duration::from_secs(1), "standing", "anything else", |s: &DatabaseSession| {
            reason_of(s) != "UserSuspended"
        });
    assert!(stays.await.is_err());
    Ok(())
}
