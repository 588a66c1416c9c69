//! Policy that changes while sessions live.

use anyhow::Result;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, EndReason, SessionPhase};
use rolecall_tests::MongoWorld;
use rolecall_tests::objects::phase;
use serde_json::json;

use super::is_over;

#[tokio::test]
async fn a_role_that_policy_adds_or_takes_is_in_force_for_open_connections() -> Result<()> {
    let world = MongoWorld::start().await?;
    let (reader, writer) = (world.role_name("reader"), world.role_name("writer"));
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    assert!(world.write(&client).await.is_err());

    world.role("reader", json!({"allow": {"dbRoles": [reader, writer]}})).await?;
    world.eventually("writing is allowed", async || Ok(world.write(&client).await.is_ok())).await?;
    world.role("reader", json!({"allow": {"dbRoles": [reader]}})).await?;
    world.eventually("writing is refused", async || Ok(world.write(&client).await.is_err())).await?;
    let client = world.login("alice-orders").await?;
    assert!(world.read(&client).await?.is_some(), "the session goes on");
    Ok(())
}

#[tokio::test]
async fn access_that_policy_takes_away_ends_the_session() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.session("timed", json!({"ttl": "1h"})).await?;
    world.session("standing", json!({})).await?;
    world.active("timed").await?;
    world.active("standing").await?;
    let client = world.login("timed").await?;
    world.role("reader", json!({"allow": {"dbLabels": {"*": null, "env": ["staging"]}}})).await?;
    world.ended("timed", EndReason::AccessRevoked).await?;
    world.pending("standing", "AccessDenied").await?;
    is_over(&world, &client).await?;

    world.role("reader", json!({})).await?;
    world.active("standing").await?;
    world.login("standing").await.map(drop)
}

#[tokio::test]
async fn a_suspended_user_loses_its_access_and_a_suspended_database_is_not_touched() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.session("standing", json!({})).await?;
    world.session("deleted", json!({})).await?;
    world.active("standing").await?;
    world.active("deleted").await?;
    let client = world.login("standing").await?;

    world.patch::<DatabaseAdmin>("orders", json!({"spec": {"suspend": true}})).await?;
    world.delete::<DatabaseSession>("deleted").await?;
    world.phase("deleted", SessionPhase::Ending, "DatabaseSuspended").await?;
    world.patch::<DatabaseUser>("alice", json!({"spec": {"suspend": true}})).await?;
    world.phase("standing", SessionPhase::Ending, "DatabaseSuspended").await?;
    assert!(world.read(&client).await?.is_some(), "nothing is touched");

    world.patch::<DatabaseAdmin>("orders", json!({"spec": {"suspend": false}})).await?;
    world.gone::<DatabaseSession>("deleted").await?;
    world.pending("standing", "UserSuspended").await?;
    is_over(&world, &client).await?;
    world.patch::<DatabaseUser>("alice", json!({"spec": {"suspend": false}})).await?;
    assert_eq!(phase(&world.active("standing").await?), SessionPhase::Active);
    Ok(())
}
