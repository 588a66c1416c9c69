//! Objects that were lost without a teardown and recreated from the same manifests.

use anyhow::Result;
use rolecall_api::{AccountPhase, DatabaseAdmin, DatabaseUser, conditions};
use rolecall_tests::MongoTestEnv;
use rolecall_tests::mongo::MongoAccount;
use serde_json::json;

use crate::checks::condition;

/// A test environment whose objects are gone, with an account that is enabled. The operator is down.
async fn lost() -> Result<MongoTestEnv> {
    let mut env = MongoTestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.crash_operator().await;
    env.lose_objects().await?;
    Ok(env)
}

#[tokio::test]
async fn what_was_left_is_ended_and_taken_over() -> Result<()> {
    let mut env = lost().await?;
    env.make_objects().await?;
    env.start_operator().await?;
    env.account_until("disabled", |account| account.is_some_and(MongoAccount::is_disabled)).await?;
    let reported = |user: &DatabaseUser| {
        let mut accounts = user.status.iter().flat_map(|status| &status.accounts);
        accounts.any(|account| account.phase == AccountPhase::Disabled)
    };
    env.until("alice", "reported as disabled", reported).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn the_same_session_starts_again() -> Result<()> {
    let mut env = lost().await?;
    env.make_objects().await?;
    env.session("alice-orders", json!({})).await?;
    env.start_operator().await?;
    env.active("alice-orders").await?;
    let reader = env.role_name("reader");
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&[&reader])));
    env.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn an_orphan_that_is_only_reported_is_named_with_what_closes_it() -> Result<()> {
    let mut env = lost().await?;
    env.make_objects().await?;
    env.admin(json!({"spec": {"orphans": "Report"}})).await?;
    env.start_operator().await?;
    let named = |admin: &DatabaseAdmin| {
        condition(admin, conditions::ORPHANED_ACCOUNTS)
            .is_ok_and(|named| named.message.contains("db.getSiblingDB(\"$external\").updateUser("))
    };
    env.until("orders", "naming it", named).await?;
    let reported = |user: &DatabaseUser| {
        let mut accounts = user.status.iter().flat_map(|status| &status.accounts);
        accounts.any(|account| account.phase == AccountPhase::Orphaned)
    };
    env.until("alice", "reported as orphaned", reported).await.map(drop)
}
