//! Blue/green deployments.

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, EndReason, SessionPhase};
use rolecall_testbed::PgVersion;
use rolecall_tests::TestEnv;
use rolecall_tests::objects::reason_of;
use rolecall_tests::rds::RdsEnv;
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use serde_json::json;

use crate::suspend::NEEDED_TO_LIST;

/// What no statement but the one that lists all accounts contains.
const LISTING: &str = "ON u.oid = k.member";

async fn suspend(env: &TestEnv) -> Result<()> {
    env.patch::<DatabaseAdmin>("orders", json!({"spec": {"suspend": true}})).await?;
    let suspended = |admin: &DatabaseAdmin| reason_of(admin) == "DatabaseSuspended";
    env.until("orders", "suspended", suspended).await.map(drop)
}

async fn resume(env: &TestEnv) -> Result<()> {
    env.patch::<DatabaseAdmin>("orders", json!({"spec": {"suspend": false}})).await.map(drop)
}

/// The roles of a green server are those of the moment when it was made: an access that ended is there again.
async fn bring_back(env: &TestEnv, user: &str) -> Result<()> {
    let again = format!("set role \"{ADMIN_USER}\"; alter role \"{user}\" login; grant reader to \"{user}\"");
    env.pg.sql("postgres", &again).await.map(drop).context("the switchover")
}

#[tokio::test]
async fn after_a_suspension_what_came_back_is_ended() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("over", json!({"ttl": "1h"})).await?;
    env.active("over").await?;
    env.delete_and_wait::<DatabaseSession>("over").await?;
    suspend(&env).await?;
    bring_back(&env, ALICE).await?;
    resume(&env).await?;
    env.account_until("disabled again", |account| {
        account.is_some_and(|account| account.is_disabled() && account.memberships.is_empty())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn after_a_suspension_all_accounts_are_read_before_any_is_touched() -> Result<()> {
    let env = TestEnv::builder().setting("log_statement", "all").start().await?;
    for user in ["bob", "carol"] {
        env.user(user, json!({"username": user})).await?;
    }
    env.session("over", json!({"user": "bob", "ttl": "1h"})).await?;
    env.active("over").await?;
    env.delete_and_wait::<DatabaseSession>("over").await?;
    env.session("ends", json!({"ttl": "1h"})).await?;
    env.active("ends").await?;

    suspend(&env).await?;
    env.patch::<DatabaseUser>("alice", json!({"spec": {"suspend": true}})).await?;
    env.phase("ends", SessionPhase::Ending, "DatabaseSuspended").await?;
    env.session("waits", json!({"user": "carol"})).await?;
    env.pending("waits", "DatabaseSuspended").await?;
    bring_back(&env, "bob").await?;
    let before = env.pg.log().len();
    resume(&env).await?;
    env.ended("ends", EndReason::UserSuspended).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()), "it is so");
    env.active("waits").await?;
    env.eventually("bob has no access again", async || {
        Ok(env.account_of("bob").await?.is_some_and(|account| account.is_disabled()))
    })
    .await?;

    let log = env.pg.log();
    let after = &log[before..];
    let first = |text: &str| after.find(text).with_context(|| format!("nobody sent {text}"));
    let listed = first(LISTING)?;
    let of_alice = format!("ALTER ROLE \"{ALICE}\"");
    for change in [of_alice.as_str(), "ALTER ROLE \"bob\"", "CREATE ROLE \"carol\""] {
        assert!(listed < first(change)?, "{change} came before all accounts were read:\n{after}");
    }
    Ok(())
}

#[tokio::test]
async fn accounts_that_could_not_be_read_after_a_suspension_are_read_again() -> Result<()> {
    let env = TestEnv::builder().flag("--resync-interval=1h").start().await?;
    env.session("over", json!({"ttl": "1h"})).await?;
    env.active("over").await?;
    env.delete_and_wait::<DatabaseSession>("over").await?;
    env.session("waits", json!({"user": "bob"})).await?;
    suspend(&env).await?;
    bring_back(&env, ALICE).await?;
    env.user("bob", json!({"username": "bob"})).await?;
    env.pg.sql("postgres", &format!("revoke {NEEDED_TO_LIST} from public")).await?;
    resume(&env).await?;
    let log = env.operator.as_ref().context("an operator")?.log();
    log.wait_for("the accounts could not be listed").await?;
    env.pending("waits", "Pending").await?;
    assert!(env.account().await?.is_some_and(|account| account.login), "nothing is touched before");
    env.pg.sql("postgres", &format!("grant {NEEDED_TO_LIST} to public")).await?;
    env.active("waits").await?;
    env.account_until("disabled again", |account| account.is_some_and(|account| account.is_disabled()))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_host_that_changes_its_name_at_the_switchover_is_warned_of() -> Result<()> {
    let env = RdsEnv::start(PgVersion::V18, None).await?;
    let host = "orders-green-abc123.abc123.eu-west-1.rds.amazonaws.com";
    let named = json!({"spec": {"auth": {"awsIam": {"endpoint": host}}}});
    env.patch::<DatabaseAdmin>("orders", named).await?;
    let note = env.event("orders", "BlueGreenHost").await?;
    assert!(note.contains(host), "{note}");
    Ok(())
}
