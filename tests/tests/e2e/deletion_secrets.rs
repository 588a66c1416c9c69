//! Secrets that are gone before the accesses that need them to end: by hand, with a release, with the namespace.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason};
use rolecall_operator::servers::teardown_secret::{SECRET_TYPE, secret_name as kept};
use rolecall_tests::objects::reason_of;
use rolecall_tests::{Account, Credentials, World};
use serde_json::json;

use crate::checks::{admin_ready, look_again};
use crate::deletion_admin::delete_secrets;
use crate::deletion_namespace::{begin_deletion, is_deleted};

/// A world with a session that lives. The operator is down.
async fn down(world: World) -> Result<World> {
    let mut world = world;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    world.crash_operator().await;
    Ok(world)
}

async fn is_disabled(world: &World) -> Result<()> {
    let account = world.account().await?;
    anyhow::ensure!(account.as_ref().is_some_and(Account::is_disabled), "{account:?}\n{}", world.log());
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_was_deleted_while_the_operator_was_down_takes_its_accesses_with_it() -> Result<()> {
    // The deadline is over when it starts again: what can be ended is ended all the same.
    let world = World::builder().flag("--teardown-deadline=1s").start().await?;
    let mut world = down(world).await?;
    begin_deletion(&world).await?;
    for name in ["orders-admin-cert", "orders-ca", "orders-client-ca"] {
        world.gone::<Secret>(name).await?;
    }
    world.start_operator().await?;
    is_deleted(&world).await?;
    assert!(!world.log().contains("abandoned"), "{}", world.log());
    is_disabled(&world).await
}

#[tokio::test]
async fn secrets_that_went_first_keep_no_teardown_from_its_end() -> Result<()> {
    for credentials in [Credentials::X509, Credentials::Password] {
        let mut world = down(World::builder().credentials(credentials).start().await?).await?;
        delete_secrets(&world).await?;
        world.delete::<DatabaseAdmin>("orders").await?;
        // It can be marked, and still be read.
        world.delete::<Secret>(&kept("orders")).await?;
        world.start_operator().await?;
        world.gone::<DatabaseAdmin>("orders").await?;
        world.ended("alice-orders", EndReason::DatabaseRemoved).await?;
        is_disabled(&world).await?;
        world.gone::<Secret>(&kept("orders")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_session_ends_though_an_operator_that_has_just_started_finds_no_secrets() -> Result<()> {
    let mut world = down(World::start().await?).await?;
    delete_secrets(&world).await?;
    world.start_operator().await?;
    let told = |admin: &DatabaseAdmin| reason_of(admin) == "SecretNotFound";
    world.until("orders", "missing its Secrets", told).await?;
    world.session("second", json!({})).await?;
    world.pending("second", "SecretNotFound").await?;
    let secret = world.secret("alice-orders").await?;
    world.login_with(&secret).await.context("whoever lives is left alone")?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_disabled(&world).await?;
    assert!(world.login_with(&secret).await.is_err());
    Ok(())
}

#[tokio::test]
async fn credentials_that_were_spoilt_while_it_was_down_keep_no_access_from_ending() -> Result<()> {
    let mut world = down(World::start().await?).await?;
    let broken = world.pg.client_cert("somebody-else")?;
    world.tls_secret("orders-admin-cert", &broken.cert_pem, &broken.key_pem).await?;
    world.start_operator().await?;
    let told = |admin: &DatabaseAdmin| reason_of(admin) == "LoginFailed";
    world.until("orders", "refused", told).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_disabled(&world).await
}

#[tokio::test]
async fn secrets_can_be_deleted_and_made_anew_at_any_time() -> Result<()> {
    let world = World::start().await?;
    admin_ready(&world).await?;
    world.delete_and_wait::<Secret>("orders-admin-cert").await?;
    look_again(&world).await?;
    let told = |admin: &DatabaseAdmin| reason_of(admin) == "SecretNotFound";
    world.until("orders", "missing a Secret", told).await?;
    let renewed = world.pg.client_cert(rolecall_tests::world::ADMIN_USER)?;
    world.tls_secret("orders-admin-cert", &renewed.cert_pem, &renewed.key_pem).await?;
    admin_ready(&world).await?;
    let key = format!("{}..tls.crt", "orders-admin-cert");
    let follows = |secret: &Secret| {
        let data = secret.data.as_ref().and_then(|data| data.get(&key));
        data.is_some_and(|value| value.0 == renewed.cert_pem.as_bytes())
    };
    world.until(&kept("orders"), "kept", follows).await.map(drop)
}

#[tokio::test]
async fn what_is_kept_goes_when_nothing_has_to_be_torn_down_any_more() -> Result<()> {
    let world = World::start().await?;
    admin_ready(&world).await?;
    let secret: Secret = world.get(&kept("orders")).await?;
    assert_eq!(secret.type_.as_deref(), Some(SECRET_TYPE));
    let data = secret.data.unwrap_or_default();
    assert!(!data.keys().any(|key| key.contains("client-ca")), "who signs for users is not needed");

    world.admin(json!({"spec": {"deletion": "Retain"}})).await?;
    world.gone::<Secret>(&kept("orders")).await?;
    world.admin(json!({"spec": {"deletion": "Revoke"}})).await?;
    world.until(&kept("orders"), "kept again", |_: &Secret| true).await?;

    // By force, past the teardown.
    world.lose::<DatabaseAdmin>().await?;
    world.gone::<Secret>(&kept("orders")).await
}

#[tokio::test]
async fn what_was_kept_for_one_that_was_removed_while_it_was_down_is_given_up() -> Result<()> {
    let mut world = down(World::start().await?).await?;
    world.lose::<DatabaseAdmin>().await?;
    world.start_operator().await?;
    world.gone::<Secret>(&kept("orders")).await?;
    world.ended("alice-orders", EndReason::Abandoned).await.map(drop)
}

#[tokio::test]
async fn what_was_kept_for_one_that_is_no_more_holds_nobody_up() -> Result<()> {
    let mut world = down(World::start().await?).await?;
    world.lose_objects().await?;
    world.make_objects().await?;
    world.start_operator().await?;
    let admin: DatabaseAdmin = admin_ready(&world).await?;
    let of_this_one = |secret: &Secret| {
        let mut owners = secret.metadata.owner_references.iter().flatten();
        owners.any(|owner| Some(&owner.uid) == admin.metadata.uid.as_ref())
    };
    look_again(&world).await?;
    world.until(&kept("orders"), "kept for this one", of_this_one).await?;
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    world.gone::<Secret>(&kept("orders")).await
}

#[tokio::test]
async fn a_secret_of_that_name_that_somebody_else_made_is_left_alone() -> Result<()> {
    let world = World::builder().without_objects().start().await?;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": kept("orders")}, "stringData": {"a": "b"},
    });
    world.apply(theirs).await?;
    world.make_objects().await?;
    admin_ready(&world).await?;
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert_eq!(world.secret(&kept("orders")).await?, [("a".to_owned(), "b".to_owned())].into());
    Ok(())
}
