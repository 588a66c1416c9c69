//! The API server goes and comes back while accesses start and end.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason, SessionPhase};
use rolecall_tests::objects::phase;
use rolecall_tests::{Account, Network, TestEnv};
use serde_json::json;

use crate::checks::{admin_ready, reading};

/// A test environment whose operator reaches the API server through a network that can fail.
async fn env() -> Result<(TestEnv, Network)> {
    env_with(&[]).await
}

async fn env_with(flags: &[&str]) -> Result<(TestEnv, Network)> {
    let mut env = TestEnv::builder().without_operator().start().await?;
    let network = Network::to_api_server().await?;
    let operator = env.operator_by(network.operator_config().await?, flags)?;
    operator.ready().await?;
    env.operator = Some(operator);
    Ok((env, network))
}

#[tokio::test]
async fn a_ttl_that_runs_out_while_the_api_server_is_silent_counts() -> Result<()> {
    let (env, network) = env().await?;
    env.session("alice-orders", json!({"ttl": "5s"})).await?;
    env.active("alice-orders").await?;
    network.silence();
    env.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    network.restore();
    env.ended("alice-orders", EndReason::Expired).await?;
    env.gone::<Secret>("alice-orders").await
}

#[tokio::test]
async fn the_audit_log_reports_an_end_before_the_object_does() -> Result<()> {
    let (mut env, network) = env().await?;
    env.session("alice-orders", json!({"ttl": "5s"})).await?;
    env.active("alice-orders").await?;
    network.silence();
    env.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    let before = env.operator.as_ref().context("an operator")?.audit().clone();
    before.wait_for(r#""event":"ending""#).await?;
    // Here it could be killed: the line would never be written if the object's status said it already.
    env.crash_operator().await;
    assert_eq!(phase(&env.get("alice-orders").await?), SessionPhase::Active);
    network.restore();
    env.start_operator().await?;
    env.ended("alice-orders", EndReason::Expired).await?;
    let after = env.operator.as_ref().context("an operator")?.audit();
    assert_eq!(after.text().matches(r#""event":"ended""#).count(), 1, "{}", after.text());
    Ok(())
}

#[tokio::test]
async fn no_access_starts_that_the_api_server_has_not_heard_of() -> Result<()> {
    let (env, network) = env().await?;
    admin_ready(&env).await?;
    let mut blocker = env.pg.superuser("postgres").await?;
    let reading = reading(&env, "alice-orders", &mut blocker).await?;
    // What waits for the lock may be another login of the admin user.
    let operator = env.operator.as_ref().context("an operator")?;
    let line = "rolecall_sessions{phase=\"Pending\"} 1";
    let seen = async || Ok(operator.get("/metrics").await?.lines().any(|found| found == line));
    env.eventually("the operator has seen the session", seen).await?;
    network.silence();
    reading.rollback().await?;
    let log = env.operator.as_ref().context("an operator")?.log();
    log.wait_for("a session could not be marked").await?;
    assert!(!env.account().await?.is_some_and(|account| account.login));
    network.restore();
    env.active("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    Ok(())
}

#[tokio::test]
async fn what_was_changed_while_the_api_server_was_away_is_done_when_it_is_back() -> Result<()> {
    let (env, network) = env().await?;
    env.session("before", json!({})).await?;
    env.active("before").await?;
    network.cut();
    env.delete::<DatabaseSession>("before").await?;
    env.user("bob", json!({})).await?;
    env.session("meanwhile", json!({"user": "bob"})).await?;
    network.restore();
    env.gone::<DatabaseSession>("before").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    env.active("meanwhile").await?;
    Ok(())
}

#[tokio::test]
async fn an_access_ends_though_its_database_admin_was_removed_by_force() -> Result<()> {
    let (env, network) = env().await?;
    env.session("standing", json!({})).await?;
    env.session("timed", json!({"ttl": "1h", "databaseName": "app2"})).await?;
    env.active("standing").await?;
    env.active("timed").await?;
    remove_by_force(&env, &network).await?;
    env.ended("timed", EndReason::DatabaseRemoved).await?;
    env.pending("standing", "DatabaseNotFound").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_access_on_a_server_that_is_down_is_given_up_when_its_database_admin_was_removed_by_force()
-> Result<()> {
    let (env, network) = env_with(&["--teardown-deadline=10s"]).await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    env.pg.stop().await;
    remove_by_force(&env, &network).await?;
    env.phase("alice-orders", SessionPhase::Ending, "DatabaseUnreachable").await?;
    env.ended("alice-orders", EndReason::Abandoned).await?;
    let note = env.event("alice-orders", "Abandoned").await?;
    assert!(note.contains("alice@example.com"), "{note}");
    Ok(())
}

#[tokio::test]
async fn an_account_that_is_to_be_retained_stays_though_its_database_admin_was_removed_by_force() -> Result<()>
{
    let (env, network) = env().await?;
    env.admin(json!({"spec": {"deletion": "Retain"}})).await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    let is_seen = |admin: &DatabaseAdmin| {
        admin.status.as_ref().is_some_and(|status| status.observed_generation == admin.metadata.generation)
    };
    env.until("orders", "processed", is_seen).await?;
    remove_by_force(&env, &network).await?;
    env.ended("alice-orders", EndReason::Abandoned).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    Ok(())
}

/// Like somebody who removes the finalizer: the operator sees only that the object is gone.
async fn remove_by_force(env: &TestEnv, network: &Network) -> Result<()> {
    network.cut();
    env.patch::<DatabaseAdmin>("orders", json!({"metadata": {"finalizers": null}})).await?;
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    network.restore();
    Ok(())
}
