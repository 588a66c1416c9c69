//! Objects that were lost without a teardown and recreated from the same manifests.

use anyhow::Result;
use rolecall_api::{AccountPhase, DatabaseAdmin, DatabaseUser, conditions};
use rolecall_tests::MongoWorld;
use rolecall_tests::mongo::MongoAccount;
use serde_json::json;

use crate::checks::condition;

/// A world whose objects are gone, with an account that is enabled. The operator is down.
async fn lost() -> Result<MongoWorld> {
    let mut world = MongoWorld::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.crash_operator().await;
    world.lose_objects().await?;
    Ok(world)
}

#[tokio::test]
async fn what_was_left_is_ended_and_taken_over() -> Result<()> {
    let mut world = lost().await?;
    world.make_objects().await?;
    world.start_operator().await?;
    world.account_until("disabled", |account| account.is_some_and(MongoAccount::is_disabled)).await?;
    let reported = |user: &DatabaseUser| {
        let mut accounts = user.status.iter().flat_map(|status| &status.accounts);
        accounts.any(|account| account.phase == AccountPhase::Disabled)
    };
    world.until("alice", "reported as disabled", reported).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn the_same_session_starts_anew() -> Result<()> {
    let mut world = lost().await?;
    world.make_objects().await?;
    world.session("alice-orders", json!({})).await?;
    world.start_operator().await?;
    world.active("alice-orders").await?;
    let reader = world.role_name("reader");
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&[&reader])));
    world.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn an_orphan_that_is_only_reported_is_named_with_what_closes_it() -> Result<()> {
    let mut world = lost().await?;
    world.make_objects().await?;
    world.admin(json!({"spec": {"orphans": "Report"}})).await?;
    world.start_operator().await?;
    let named = |admin: &DatabaseAdmin| {
        condition(admin, conditions::ORPHANED_ACCOUNTS)
            .is_ok_and(|named| named.message.contains("db.getSiblingDB(\"$external\").updateUser("))
    };
    world.until("orders", "naming it", named).await?;
    let reported = |user: &DatabaseUser| {
        let mut accounts = user.status.iter().flat_map(|status| &status.accounts);
        accounts.any(|account| account.phase == AccountPhase::Orphaned)
    };
    world.until("alice", "reported as orphaned", reported).await.map(drop)
}
