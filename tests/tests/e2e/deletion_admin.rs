//! Deleting a DatabaseAdmin: its accounts go first, and nothing wedges whatever is gone already.

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason, SessionPhase};
use rolecall_operator::servers::teardown_secret::secret_name as kept;
use rolecall_tests::objects::{message_of, phase};
use rolecall_tests::test_env::ALICE;
use rolecall_tests::{Operator, TestEnv};
use serde_json::json;

use crate::checks::nothing_secret_is_shown;

#[tokio::test]
async fn a_timed_session_ends_with_its_database() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;

    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert!(client.query_one("select 1", &[]).await.is_err(), "the connection is ended");
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    env.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(env.find::<Secret>("alice-orders").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_standing_session_waits_for_its_database_to_come_back() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;

    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    env.pending("alice-orders", "DatabaseNotFound").await?;

    env.admin(json!({})).await?;
    env.active("alice-orders").await?;
    env.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn a_standing_session_that_waits_can_be_deleted_without_its_database() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    env.pending("alice-orders", "DatabaseNotFound").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await
}

#[tokio::test]
async fn retain_leaves_the_accounts_as_they_are() -> Result<()> {
    let env = TestEnv::start().await?;
    env.admin(json!({"spec": {"deletion": "Retain"}})).await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    let before = env.account().await?;

    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert_eq!(env.account().await?, before);
    let session = env.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(message_of(&session).contains("stays as it is"), "{}", message_of(&session));
    assert!(env.event("alice-orders", "DatabaseRemoved").await?.contains(ALICE));
    Ok(())
}

#[tokio::test]
async fn retain_waits_for_no_server() -> Result<()> {
    let env = TestEnv::start().await?;
    env.admin(json!({"spec": {"deletion": "Retain"}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.pg.stop().await;
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    env.pending("alice-orders", "DatabaseNotFound").await.map(drop)
}

#[tokio::test]
async fn an_admin_that_never_reached_its_server_goes_at_once() -> Result<()> {
    let env = TestEnv::start().await?;
    let mut wrong = env.admin_manifest();
    wrong["metadata"]["name"] = json!("wrong");
    wrong["spec"]["uri"] = json!("localhost:1");
    env.apply(wrong).await?;
    let tried = |admin: &DatabaseAdmin| rolecall_tests::objects::reason_of(admin) == "DatabaseUnreachable";
    env.until("wrong", "tried", tried).await?;
    env.delete_and_wait::<DatabaseAdmin>("wrong").await
}

#[tokio::test]
async fn after_the_teardown_deadline_sessions_are_abandoned_with_an_event_that_names_the_account()
-> Result<()> {
    let env = TestEnv::builder().flag("--teardown-deadline=2s").start().await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.session("standing", json!({})).await?;
    env.active("timed").await?;
    env.active("standing").await?;
    env.pg.stop().await;

    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    let session = env.ended("timed", EndReason::Abandoned).await?;
    assert!(message_of(&session).contains("could not be taken away"), "{}", message_of(&session));
    assert!(env.event("timed", "Abandoned").await?.contains(ALICE));
    env.pending("standing", "DatabaseNotFound").await?;
    assert!(env.find::<Secret>("timed").await?.is_none(), "credentials that may still work are taken back");
    nothing_secret_is_shown(&env).await
}

#[tokio::test]
async fn a_suspended_admin_can_be_deleted() -> Result<()> {
    let env = TestEnv::builder().flag("--teardown-deadline=1s").start().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    env.admin(json!({"spec": {"suspend": true}})).await?;
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    env.ended("alice-orders", EndReason::Abandoned).await?;
    assert!(env.account().await?.is_some_and(|account| account.login), "nothing on its server is touched");
    Ok(())
}

#[tokio::test]
async fn an_admin_without_its_secrets_is_torn_down_with_the_credentials_that_worked_last() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    delete_secrets(&env).await?;
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    env.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_operator_that_starts_with_nothing_to_log_in_with_abandons_after_the_deadline() -> Result<()> {
    let mut env = TestEnv::builder().flag("--teardown-deadline=1s").start().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    env.crash_operator().await;
    delete_secrets(&env).await?;
    // What the operator keeps goes by force only.
    env.patch::<Secret>(&kept("orders"), json!({"metadata": {"finalizers": null}})).await?;
    env.delete_and_wait::<Secret>(&kept("orders")).await?;
    env.delete::<DatabaseAdmin>("orders").await?;
    env.start_operator().await?;
    env.gone::<DatabaseAdmin>("orders").await?;
    env.ended("alice-orders", EndReason::Abandoned).await?;
    assert!(env.event("alice-orders", "Abandoned").await?.contains("there is no Secret"));
    Ok(())
}

#[tokio::test]
async fn a_session_whose_admin_was_removed_by_force_can_be_deleted() -> Result<()> {
    let mut env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    env.crash_operator().await;
    env.delete::<DatabaseAdmin>("orders").await?;
    env.patch::<DatabaseAdmin>("orders", json!({"metadata": {"finalizers": null}})).await?;
    env.gone::<DatabaseAdmin>("orders").await?;
    env.start_operator().await?;
    env.ended("alice-orders", EndReason::Abandoned).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_teardown_loses_nothing() -> Result<()> {
    let mut env = TestEnv::start().await?;
    for name in ["one", "two", "three"] {
        env.user(name, json!({})).await?;
        env.session(name, json!({"user": name, "ttl": "1h"})).await?;
    }
    for name in ["one", "two", "three"] {
        env.active(name).await?;
    }
    env.delete::<DatabaseAdmin>("orders").await?;
    env.until("one", "processed", |session: &DatabaseSession| phase(session) != SessionPhase::Active).await?;
    if let Some(operator) = env.operator.take() {
        Operator::crash(operator).await;
    }
    env.start_operator().await?;
    env.gone::<DatabaseAdmin>("orders").await?;
    for name in ["one", "two", "three"] {
        env.ended(name, EndReason::DatabaseRemoved).await?;
        assert!(env.account_of(name).await?.is_some_and(|account| account.is_disabled()), "{name}");
    }
    Ok(())
}

/// Deletes the Secrets that the DatabaseAdmin names.
pub(crate) async fn delete_secrets(env: &TestEnv) -> Result<()> {
    for name in ["orders-admin-cert", "orders-ca", "orders-client-ca"] {
        env.delete_and_wait::<Secret>(name).await?;
    }
    Ok(())
}
