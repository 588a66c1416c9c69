//! Policy that changes while sessions live.

use anyhow::Result;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, EndReason, SessionPhase};
use rolecall_tests::MongoTestEnv;
use rolecall_tests::objects::{phase, reason_of};
use serde_json::json;

use super::is_over;

#[tokio::test]
async fn a_role_that_policy_adds_or_takes_is_in_force_for_open_connections() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    let (reader, writer) = (env.role_name("reader"), env.role_name("writer"));
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    assert!(env.write(&client).await.is_err());

    env.role("reader", json!({"allow": {"dbRoles": [reader, writer]}})).await?;
    env.eventually("writing is allowed", async || Ok(env.write(&client).await.is_ok())).await?;
    env.role("reader", json!({"allow": {"dbRoles": [reader]}})).await?;
    env.eventually("writing is refused", async || Ok(env.write(&client).await.is_err())).await?;
    let client = env.login("alice-orders").await?;
    assert!(env.read(&client).await?.is_some(), "the session goes on");
    Ok(())
}

#[tokio::test]
async fn access_that_policy_takes_away_ends_the_session() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.session("standing", json!({})).await?;
    env.active("timed").await?;
    env.active("standing").await?;
    let client = env.login("timed").await?;
    env.role("reader", json!({"allow": {"dbLabels": {"*": null, "env": ["staging"]}}})).await?;
    env.ended("timed", EndReason::AccessRevoked).await?;
    env.pending("standing", "AccessDenied").await?;
    is_over(&env, &client).await?;

    env.role("reader", json!({})).await?;
    env.active("standing").await?;
    env.login("standing").await.map(drop)
}

#[tokio::test]
async fn a_suspended_user_loses_its_access_and_a_suspended_database_is_not_touched() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.session("standing", json!({})).await?;
    env.session("deleted", json!({})).await?;
    env.active("standing").await?;
    env.active("deleted").await?;
    let client = env.login("standing").await?;

    env.patch::<DatabaseAdmin>("orders", json!({"spec": {"suspend": true}})).await?;
    // Else the deletion may reach the operator first.
    env.until("orders", "suspended", |admin: &DatabaseAdmin| reason_of(admin) == "DatabaseSuspended").await?;
    env.delete::<DatabaseSession>("deleted").await?;
    env.phase("deleted", SessionPhase::Ending, "DatabaseSuspended").await?;
    env.patch::<DatabaseUser>("alice", json!({"spec": {"suspend": true}})).await?;
    env.phase("standing", SessionPhase::Ending, "DatabaseSuspended").await?;
    assert!(env.read(&client).await?.is_some(), "nothing is touched");

    env.patch::<DatabaseAdmin>("orders", json!({"spec": {"suspend": false}})).await?;
    env.gone::<DatabaseSession>("deleted").await?;
    env.pending("standing", "UserSuspended").await?;
    is_over(&env, &client).await?;
    env.patch::<DatabaseUser>("alice", json!({"spec": {"suspend": false}})).await?;
    assert_eq!(phase(&env.active("standing").await?), SessionPhase::Active);
    Ok(())
}
