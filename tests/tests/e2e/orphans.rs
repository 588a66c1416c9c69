//! What is reported about accounts that can be used without a session.

use anyhow::{Context, Result};
use rolecall_api::{AccountPhase, AccountStatus, DatabaseAdmin, DatabaseSession, DatabaseUser, conditions};
use rolecall_tests::test_env::ALICE;
use rolecall_tests::{Account, TestEnv};
use serde_json::json;

use crate::checks::{condition, nothing_secret_is_shown};

/// A test environment with an account that is enabled, and an operator that has never heard of its session.
async fn forgotten(admin: serde_json::Value, mode: &str) -> Result<TestEnv> {
    let mut env = TestEnv::builder().flag("--resync-interval=1s").start().await?;
    env.admin(admin).await?;
    env.role("reader", json!({"options": {"createDbUserMode": mode}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let enabled =
        |user: &DatabaseUser| account(user).is_some_and(|account| account.phase == AccountPhase::Enabled);
    env.until("alice", "reported as enabled", enabled).await?;
    env.crash_operator().await;
    env.lose::<DatabaseSession>().await?;
    env.start_operator().await?;
    Ok(env)
}

fn account(user: &DatabaseUser) -> Option<&AccountStatus> {
    user.status.iter().flat_map(|status| &status.accounts).next()
}

async fn reported_as(env: &TestEnv, phase: AccountPhase) -> Result<AccountStatus> {
    let is_so = |user: &DatabaseUser| account(user).is_some_and(|account| account.phase == phase);
    let user = env.until("alice", &format!("reported as {phase:?}"), is_so).await?;
    account(&user).cloned().context("an account")
}

#[tokio::test]
async fn an_orphan_that_was_ended_is_reported_as_disabled() -> Result<()> {
    let env = forgotten(json!({}), "Keep").await?;
    let account = reported_as(&env, AccountPhase::Disabled).await?;
    assert_eq!((account.sessions, account.db_roles.len()), (0, 0));
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_orphan_goes_as_its_mode_says() -> Result<()> {
    let env = forgotten(json!({}), "BestEffortDrop").await?;
    reported_as(&env, AccountPhase::Dropped).await?;
    assert!(env.account().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn an_orphan_that_is_only_reported_is_named_everywhere_with_what_closes_it() -> Result<()> {
    let env = forgotten(json!({"spec": {"orphans": "Report"}}), "Keep").await?;
    let statement = format!("run ALTER ROLE \"{ALICE}\" NOLOGIN");
    let account = reported_as(&env, AccountPhase::Orphaned).await?;
    assert_eq!(account.db_roles, ["reader"]);
    let message = account.message.context("a message")?;
    assert!(message.contains(&statement), "{message}");
    assert!(env.event("orders", "Orphaned").await?.contains(&statement));
    let named = |admin: &DatabaseAdmin| {
        condition(admin, conditions::ORPHANED_ACCOUNTS).is_ok_and(|named| named.message.contains(&statement))
    };
    env.until("orders", "naming it", named).await?;
    nothing_secret_is_shown(&env).await?;

    let (_, sql) = message.split_once("run ").context("a statement")?;
    env.pg.sql("postgres", sql).await?;
    reported_as(&env, AccountPhase::Disabled).await?;
    let calm = |admin: &DatabaseAdmin| condition(admin, conditions::ORPHANED_ACCOUNTS).is_err();
    env.until("orders", "naming no account", calm).await.map(drop)
}

#[tokio::test]
async fn an_orphan_that_was_reported_is_ended_when_that_is_said() -> Result<()> {
    let env = forgotten(json!({"spec": {"orphans": "Report"}}), "Keep").await?;
    reported_as(&env, AccountPhase::Orphaned).await?;
    env.admin(json!({})).await?;
    reported_as(&env, AccountPhase::Disabled).await?;
    env.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await.map(drop)
}

#[tokio::test]
async fn an_orphan_that_cannot_be_ended_is_named_with_what_the_server_said() -> Result<()> {
    let mut env = TestEnv::builder().flag("--resync-interval=1s").start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.crash_operator().await;
    env.lose::<DatabaseSession>().await?;
    // As after an upgrade from a server where this took no grant.
    env.pg.sql("postgres", &format!("revoke \"{ALICE}\" from \"teleport-admin\" cascade")).await?;
    env.start_operator().await?;
    let named = |admin: &DatabaseAdmin| {
        condition(admin, conditions::ORPHANED_ACCOUNTS).is_ok_and(|named| named.message.contains("42501"))
    };
    env.until("orders", "naming it", named).await?;
    assert_eq!(reported_as(&env, AccountPhase::Orphaned).await?.username, ALICE);
    env.pg.sql("postgres", &format!("grant \"{ALICE}\" to \"teleport-admin\" with admin option")).await?;
    reported_as(&env, AccountPhase::Disabled).await.map(drop)
}

#[tokio::test]
async fn an_account_that_somebody_dropped_meanwhile_is_reported_as_dropped() -> Result<()> {
    let mut env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let enabled =
        |user: &DatabaseUser| account(user).is_some_and(|account| account.phase == AccountPhase::Enabled);
    env.until("alice", "reported as enabled", enabled).await?;
    env.crash_operator().await;
    env.lose::<DatabaseSession>().await?;
    env.pg.sql("postgres", &format!("drop role \"{ALICE}\"")).await?;
    env.start_operator().await?;
    reported_as(&env, AccountPhase::Dropped).await.map(drop)
}
