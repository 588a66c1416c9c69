//! Deleting a DatabaseAdmin: its accounts go first, and nothing wedges whatever is gone already.

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason, SessionPhase};
use rolecall_operator::servers::teardown_secret::secret_name as kept;
use rolecall_tests::objects::{message_of, phase};
use rolecall_tests::world::ALICE;
use rolecall_tests::{Operator, World};
use serde_json::json;

use crate::checks::nothing_secret_is_shown;

#[tokio::test]
async fn a_timed_session_ends_with_its_database() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;

    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert!(client.query_one("select 1", &[]).await.is_err(), "the connection is ended");
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    world.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(world.find::<Secret>("alice-orders").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_standing_session_waits_for_its_database_to_come_back() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;

    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    world.pending("alice-orders", "DatabaseNotFound").await?;

    world.admin(json!({})).await?;
    world.active("alice-orders").await?;
    world.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn a_standing_session_that_waits_can_be_deleted_without_its_database() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    world.pending("alice-orders", "DatabaseNotFound").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await
}

#[tokio::test]
async fn retain_leaves_the_accounts_as_they_are() -> Result<()> {
    let world = World::start().await?;
    world.admin(json!({"spec": {"deletion": "Retain"}})).await?;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    let before = world.account().await?;

    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert_eq!(world.account().await?, before);
    let session = world.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(message_of(&session).contains("stays as it is"), "{}", message_of(&session));
    assert!(world.event("alice-orders", "DatabaseRemoved").await?.contains(ALICE));
    Ok(())
}

#[tokio::test]
async fn retain_waits_for_no_server() -> Result<()> {
    let world = World::start().await?;
    world.admin(json!({"spec": {"deletion": "Retain"}})).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.pg.stop().await;
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    world.pending("alice-orders", "DatabaseNotFound").await.map(drop)
}

#[tokio::test]
async fn an_admin_that_never_reached_its_server_goes_at_once() -> Result<()> {
    let world = World::start().await?;
    let mut wrong = world.admin_manifest();
    wrong["metadata"]["name"] = json!("wrong");
    wrong["spec"]["uri"] = json!("localhost:1");
    world.apply(wrong).await?;
    let tried = |admin: &DatabaseAdmin| rolecall_tests::objects::reason_of(admin) == "DatabaseUnreachable";
    world.until("wrong", "tried", tried).await?;
    world.delete_and_wait::<DatabaseAdmin>("wrong").await
}

#[tokio::test]
async fn after_the_teardown_deadline_sessions_are_abandoned_with_an_event_that_names_the_account()
-> Result<()> {
    let world = World::builder().flag("--teardown-deadline=2s").start().await?;
    world.session("timed", json!({"ttl": "1h"})).await?;
    world.session("standing", json!({})).await?;
    world.active("timed").await?;
    world.active("standing").await?;
    world.pg.stop().await;

    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    let session = world.ended("timed", EndReason::Abandoned).await?;
    assert!(message_of(&session).contains("could not be taken away"), "{}", message_of(&session));
    assert!(world.event("timed", "Abandoned").await?.contains(ALICE));
    world.pending("standing", "DatabaseNotFound").await?;
    assert!(world.find::<Secret>("timed").await?.is_none(), "credentials that may still work are taken back");
    nothing_secret_is_shown(&world).await
}

#[tokio::test]
async fn a_suspended_admin_can_be_deleted() -> Result<()> {
    let world = World::builder().flag("--teardown-deadline=1s").start().await?;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    world.admin(json!({"spec": {"suspend": true}})).await?;
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    world.ended("alice-orders", EndReason::Abandoned).await?;
    assert!(world.account().await?.is_some_and(|account| account.login), "nothing on its server is touched");
    Ok(())
}

#[tokio::test]
async fn an_admin_without_its_secrets_is_torn_down_with_the_credentials_that_worked_last() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    delete_secrets(&world).await?;
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    world.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_operator_that_starts_with_nothing_to_log_in_with_abandons_after_the_deadline() -> Result<()> {
    let mut world = World::builder().flag("--teardown-deadline=1s").start().await?;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    world.crash_operator().await;
    delete_secrets(&world).await?;
    // What the operator keeps goes by force only.
    world.patch::<Secret>(&kept("orders"), json!({"metadata": {"finalizers": null}})).await?;
    world.delete_and_wait::<Secret>(&kept("orders")).await?;
    world.delete::<DatabaseAdmin>("orders").await?;
    world.start_operator().await?;
    world.gone::<DatabaseAdmin>("orders").await?;
    world.ended("alice-orders", EndReason::Abandoned).await?;
    assert!(world.event("alice-orders", "Abandoned").await?.contains("there is no Secret"));
    Ok(())
}

#[tokio::test]
async fn a_session_whose_admin_was_removed_by_force_can_be_deleted() -> Result<()> {
    let mut world = World::start().await?;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    world.crash_operator().await;
    world.delete::<DatabaseAdmin>("orders").await?;
    world.patch::<DatabaseAdmin>("orders", json!({"metadata": {"finalizers": null}})).await?;
    world.gone::<DatabaseAdmin>("orders").await?;
    world.start_operator().await?;
    world.ended("alice-orders", EndReason::Abandoned).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_teardown_loses_nothing() -> Result<()> {
    let mut world = World::start().await?;
    for name in ["one", "two", "three"] {
        world.user(name, json!({})).await?;
        world.session(name, json!({"user": name, "ttl": "1h"})).await?;
    }
    for name in ["one", "two", "three"] {
        world.active(name).await?;
    }
    world.delete::<DatabaseAdmin>("orders").await?;
    world
        .until("one", "processed", |session: &DatabaseSession| phase(session) != SessionPhase::Active)
        .await?;
    if let Some(operator) = world.operator.take() {
        Operator::crash(operator).await;
    }
    world.start_operator().await?;
    world.gone::<DatabaseAdmin>("orders").await?;
    for name in ["one", "two", "three"] {
        world.ended(name, EndReason::DatabaseRemoved).await?;
        assert!(world.account_of(name).await?.is_some_and(|account| account.is_disabled()), "{name}");
    }
    Ok(())
}

/// Deletes the Secrets that the DatabaseAdmin names.
pub(crate) async fn delete_secrets(world: &World) -> Result<()> {
    for name in ["orders-admin-cert", "orders-ca", "orders-client-ca"] {
        world.delete_and_wait::<Secret>(name).await?;
    }
    Ok(())
}
