//! Secrets that are deleted before the accesses that need them have ended: by hand, with a release, with the namespace.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason};
use rolecall_operator::servers::teardown_secret::{SECRET_TYPE, secret_name as kept};
use rolecall_tests::objects::reason_of;
use rolecall_tests::{Account, Credentials, TestEnv};
use serde_json::json;

use crate::checks::{admin_ready, trigger_reconcile};
use crate::deletion_admin::delete_secrets;
use crate::deletion_namespace::{begin_deletion, is_deleted};

/// A test environment with a session that lives. The operator is down.
async fn down(env: TestEnv) -> Result<TestEnv> {
    let mut env = env;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    env.crash_operator().await;
    Ok(env)
}

async fn is_disabled(env: &TestEnv) -> Result<()> {
    let account = env.account().await?;
    anyhow::ensure!(account.as_ref().is_some_and(Account::is_disabled), "{account:?}\n{}", env.log());
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_was_deleted_while_the_operator_was_down_takes_its_accesses_with_it() -> Result<()> {
    // The deadline is over when it starts again: what can be ended is ended nevertheless.
    let env = TestEnv::builder().flag("--teardown-deadline=1s").start().await?;
    let mut env = down(env).await?;
    begin_deletion(&env).await?;
    for name in ["orders-admin-cert", "orders-ca", "orders-client-ca"] {
        env.gone::<Secret>(name).await?;
    }
    env.start_operator().await?;
    is_deleted(&env).await?;
    assert!(!env.log().contains("abandoned"), "{}", env.log());
    is_disabled(&env).await
}

#[tokio::test]
async fn secrets_that_went_first_keep_no_teardown_from_its_end() -> Result<()> {
    for credentials in [Credentials::X509, Credentials::Password] {
        let mut env = down(TestEnv::builder().credentials(credentials).start().await?).await?;
        delete_secrets(&env).await?;
        env.delete::<DatabaseAdmin>("orders").await?;
        // It can be marked, and still be read.
        env.delete::<Secret>(&kept("orders")).await?;
        env.start_operator().await?;
        env.gone::<DatabaseAdmin>("orders").await?;
        env.ended("alice-orders", EndReason::DatabaseRemoved).await?;
        is_disabled(&env).await?;
        env.gone::<Secret>(&kept("orders")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_session_ends_though_an_operator_that_has_just_started_finds_no_secrets() -> Result<()> {
    let mut env = down(TestEnv::start().await?).await?;
    delete_secrets(&env).await?;
    env.start_operator().await?;
    let reported = |admin: &DatabaseAdmin| reason_of(admin) == "SecretNotFound";
    env.until("orders", "missing its Secrets", reported).await?;
    env.session("second", json!({})).await?;
    env.pending("second", "SecretNotFound").await?;
    let secret = env.secret("alice-orders").await?;
    env.login_with(&secret).await.context("live sessions are left alone")?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_disabled(&env).await?;
    assert!(env.login_with(&secret).await.is_err());
    Ok(())
}

#[tokio::test]
async fn credentials_that_were_spoilt_while_it_was_down_keep_no_access_from_ending() -> Result<()> {
    let mut env = down(TestEnv::start().await?).await?;
    let broken = env.pg.client_cert("somebody-else")?;
    env.tls_secret("orders-admin-cert", &broken.cert_pem, &broken.key_pem).await?;
    env.start_operator().await?;
    let reported = |admin: &DatabaseAdmin| reason_of(admin) == "LoginFailed";
    env.until("orders", "refused", reported).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_disabled(&env).await
}

#[tokio::test]
async fn secrets_can_be_deleted_and_recreated_at_any_time() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    env.delete_and_wait::<Secret>("orders-admin-cert").await?;
    trigger_reconcile(&env).await?;
    let reported = |admin: &DatabaseAdmin| reason_of(admin) == "SecretNotFound";
    env.until("orders", "missing a Secret", reported).await?;
    let renewed = env.pg.client_cert(rolecall_tests::test_env::ADMIN_USER)?;
    env.tls_secret("orders-admin-cert", &renewed.cert_pem, &renewed.key_pem).await?;
    admin_ready(&env).await?;
    let key = format!("{}..tls.crt", "orders-admin-cert");
    let follows = |secret: &Secret| {
        let data = secret.data.as_ref().and_then(|data| data.get(&key));
        data.is_some_and(|value| value.0 == renewed.cert_pem.as_bytes())
    };
    env.until(&kept("orders"), "kept", follows).await.map(drop)
}

#[tokio::test]
async fn what_is_kept_goes_when_nothing_has_to_be_torn_down_any_more() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    let secret: Secret = env.get(&kept("orders")).await?;
    assert_eq!(secret.type_.as_deref(), Some(SECRET_TYPE));
    let data = secret.data.unwrap_or_default();
    assert!(!data.keys().any(|key| key.contains("client-ca")), "who signs for users is not needed");

    env.admin(json!({"spec": {"deletion": "Retain"}})).await?;
    env.gone::<Secret>(&kept("orders")).await?;
    env.admin(json!({"spec": {"deletion": "Revoke"}})).await?;
    env.until(&kept("orders"), "kept again", |_: &Secret| true).await?;

    // By force, past the teardown.
    env.lose::<DatabaseAdmin>().await?;
    env.gone::<Secret>(&kept("orders")).await
}

#[tokio::test]
async fn what_was_kept_for_one_that_was_removed_while_it_was_down_is_given_up() -> Result<()> {
    let mut env = down(TestEnv::start().await?).await?;
    env.lose::<DatabaseAdmin>().await?;
    env.start_operator().await?;
    env.gone::<Secret>(&kept("orders")).await?;
    env.ended("alice-orders", EndReason::Abandoned).await.map(drop)
}

#[tokio::test]
async fn what_was_kept_for_a_removed_admin_does_not_block_a_new_one() -> Result<()> {
    let mut env = down(TestEnv::start().await?).await?;
    env.lose_objects().await?;
    env.make_objects().await?;
    env.start_operator().await?;
    let admin: DatabaseAdmin = admin_ready(&env).await?;
    let of_this_one = |secret: &Secret| {
        let mut owners = secret.metadata.owner_references.iter().flatten();
        owners.any(|owner| Some(&owner.uid) == admin.metadata.uid.as_ref())
    };
    trigger_reconcile(&env).await?;
    env.until(&kept("orders"), "kept for this one", of_this_one).await?;
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    env.gone::<Secret>(&kept("orders")).await
}

#[tokio::test]
async fn a_secret_of_that_name_that_somebody_else_made_is_left_alone() -> Result<()> {
    let env = TestEnv::builder().without_objects().start().await?;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": kept("orders")}, "stringData": {"a": "b"},
    });
    env.apply(theirs).await?;
    env.make_objects().await?;
    admin_ready(&env).await?;
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert_eq!(env.secret(&kept("orders")).await?, [("a".to_owned(), "b".to_owned())].into());
    Ok(())
}
