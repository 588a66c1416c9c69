//! The API server goes and comes back while accesses start and end.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason, SessionPhase};
use rolecall_tests::objects::phase;
use rolecall_tests::{Account, Network, World};
use serde_json::json;

use crate::checks::{admin_ready, reading};

/// A world whose operator reaches the API server through a network that can fail.
async fn world() -> Result<(World, Network)> {
    world_with(&[]).await
}

async fn world_with(flags: &[&str]) -> Result<(World, Network)> {
    let mut world = World::builder().without_operator().start().await?;
    let network = Network::to_api_server().await?;
    let operator = world.operator_by(network.operator_config().await?, flags)?;
    operator.ready().await?;
    world.operator = Some(operator);
    Ok((world, network))
}

#[tokio::test]
async fn a_ttl_that_runs_out_while_the_api_server_is_silent_counts() -> Result<()> {
    let (world, network) = world().await?;
    world.session("alice-orders", json!({"ttl": "5s"})).await?;
    world.active("alice-orders").await?;
    network.silence();
    world.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    network.restore();
    world.ended("alice-orders", EndReason::Expired).await?;
    world.gone::<Secret>("alice-orders").await
}

#[tokio::test]
async fn the_audit_log_tells_of_an_end_before_the_object_does() -> Result<()> {
    let (mut world, network) = world().await?;
    world.session("alice-orders", json!({"ttl": "5s"})).await?;
    world.active("alice-orders").await?;
    network.silence();
    world.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    let log = world.operator.as_ref().context("an operator")?.log().clone();
    log.wait_for("access=\"ending\"").await?;
    // Here it could be killed: the line would never be written if the object's status said it already.
    world.crash_operator().await;
    assert_eq!(phase(&world.get("alice-orders").await?), SessionPhase::Active);
    network.restore();
    world.start_operator().await?;
    world.ended("alice-orders", EndReason::Expired).await?;
    let ended = world.log().matches("access=\"ended\"").count();
    assert_eq!(ended, 1, "{}", world.log());
    Ok(())
}

#[tokio::test]
async fn no_access_starts_that_the_api_server_has_not_heard_of() -> Result<()> {
    let (world, network) = world().await?;
    admin_ready(&world).await?;
    let mut blocker = world.pg.superuser("postgres").await?;
    let reading = reading(&world, "alice-orders", &mut blocker).await?;
    // What waits for the lock may be another login of the admin user.
    let operator = world.operator.as_ref().context("an operator")?;
    let line = "rolecall_sessions{phase=\"Pending\"} 1";
    let seen = async || Ok(operator.get("/metrics").await?.lines().any(|found| found == line));
    world.eventually("the operator has seen the session", seen).await?;
    network.silence();
    reading.rollback().await?;
    let log = world.operator.as_ref().context("an operator")?.log();
    log.wait_for("a session could not be marked").await?;
    assert!(!world.account().await?.is_some_and(|account| account.login));
    network.restore();
    world.active("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    Ok(())
}

#[tokio::test]
async fn what_was_changed_while_the_api_server_was_away_is_done_when_it_is_back() -> Result<()> {
    let (world, network) = world().await?;
    world.session("before", json!({})).await?;
    world.active("before").await?;
    network.cut();
    world.delete::<DatabaseSession>("before").await?;
    world.user("bob", json!({})).await?;
    world.session("meanwhile", json!({"user": "bob"})).await?;
    network.restore();
    world.gone::<DatabaseSession>("before").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    world.active("meanwhile").await?;
    Ok(())
}

#[tokio::test]
async fn an_access_ends_though_its_database_admin_was_removed_by_force() -> Result<()> {
    let (world, network) = world().await?;
    world.session("standing", json!({})).await?;
    world.session("timed", json!({"ttl": "1h", "databaseName": "app2"})).await?;
    world.active("standing").await?;
    world.active("timed").await?;
    remove_by_force(&world, &network).await?;
    world.ended("timed", EndReason::DatabaseRemoved).await?;
    world.pending("standing", "DatabaseNotFound").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_access_on_a_server_that_is_down_is_given_up_when_its_database_admin_was_removed_by_force()
-> Result<()> {
    let (world, network) = world_with(&["--teardown-deadline=10s"]).await?;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    world.pg.stop().await;
    remove_by_force(&world, &network).await?;
    world.phase("alice-orders", SessionPhase::Ending, "DatabaseUnreachable").await?;
    world.ended("alice-orders", EndReason::Abandoned).await?;
    let note = world.event("alice-orders", "Abandoned").await?;
    assert!(note.contains("alice@example.com"), "{note}");
    Ok(())
}

#[tokio::test]
async fn an_account_that_is_to_be_retained_stays_though_its_database_admin_was_removed_by_force() -> Result<()>
{
    let (world, network) = world().await?;
    world.admin(json!({"spec": {"deletion": "Retain"}})).await?;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    let is_seen = |admin: &DatabaseAdmin| {
        admin.status.as_ref().is_some_and(|status| status.observed_generation == admin.metadata.generation)
    };
    world.until("orders", "processed", is_seen).await?;
    remove_by_force(&world, &network).await?;
    world.ended("alice-orders", EndReason::Abandoned).await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    Ok(())
}

/// As somebody does who takes the finalizer off: the operator sees nothing of it but that the object is gone.
async fn remove_by_force(world: &World, network: &Network) -> Result<()> {
    network.cut();
    world.patch::<DatabaseAdmin>("orders", json!({"metadata": {"finalizers": null}})).await?;
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    network.restore();
    Ok(())
}
