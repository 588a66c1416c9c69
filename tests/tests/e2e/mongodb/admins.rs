//! DatabaseAdmins: what is reported about them, what they lack, where they lead, and their end.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{Condition, DatabaseAdmin, DatabaseSession, EndReason, conditions};
use rolecall_testbed::MongoAdmin;
use rolecall_tests::MongoWorld;
use rolecall_tests::objects::{is_ready, message_of, reason_of};
use serde_json::{Value, json};

use super::is_over;

fn condition(admin: &DatabaseAdmin, type_: &str) -> Condition {
    let conditions = admin.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions::find(conditions, type_).cloned().unwrap_or_else(|| {
        conditions::new(type_, false, "Absent", "", None, rolecall_api::Time(jiff::Timestamp::UNIX_EPOCH))
    })
}

#[tokio::test]
async fn the_status_tells_version_identity_and_that_nothing_is_missing() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let counted = |admin: &DatabaseAdmin| {
        is_ready(admin)
            && admin
                .status
                .as_ref()
                .and_then(|status| status.accounts)
                .is_some_and(|counts| counts.enabled == 1)
    };
    let admin = world.until::<DatabaseAdmin>("orders", "Ready with one account", counted).await?;
    for type_ in [conditions::REACHABLE, conditions::CAPABLE] {
        let found = condition(&admin, type_);
        assert_eq!((found.status.as_str(), found.reason.as_str()), ("True", "Succeeded"), "{found:?}");
    }
    let status = admin.status.context("a status")?;
    assert!(status.version.is_some_and(|version| version.starts_with("6.0.")));
    assert!(status.server_identity.is_some_and(|identity| !identity.is_empty()));
    let endpoint = status.endpoint.context("an endpoint")?;
    assert_eq!((endpoint.uri, endpoint.admin_user), (world.mongo().uri(), world.admin_user.clone()));
    Ok(())
}

#[tokio::test]
async fn privileges_that_are_missing_are_named_each_with_its_command() -> Result<()> {
    let lacking = MongoAdmin::nothing().database("$external", &["viewUser", "createUser", "updateUser"]);
    let world = MongoWorld::builder().privileges(lacking).start().await?;
    world.session("alice-orders", json!({})).await?;
    let incapable = |admin: &DatabaseAdmin| {
        let capable = condition(admin, conditions::CAPABLE);
        capable.reason == "MissingMongoPrivileges" && capable.message.contains("grantRole")
    };
    let admin = world.until::<DatabaseAdmin>("orders", "incapable", incapable).await?;
    let message = condition(&admin, conditions::CAPABLE).message;
    for part in
        ["dropUser", "setAuthenticationRestriction", "changeCustomData", "inprog", "revokeRole", "runCommand"]
    {
        assert!(message.contains(part), "{part} in {message}");
    }
    world.pending("alice-orders", "MissingMongoPrivileges").await?;

    world.mongo().set_admin(&world.admin_user, &MongoAdmin::documented()).await?;
    world.active("alice-orders").await?;
    world
        .until::<DatabaseAdmin>("orders", "Capable", |admin| {
            condition(admin, conditions::CAPABLE).status == conditions::TRUE
        })
        .await
        .map(drop)
}

#[tokio::test]
async fn services_without_users_of_their_own_are_unsupported() -> Result<()> {
    let world = MongoWorld::start().await?;
    for (name, change, expected) in [
        ("atlas", json!({"uri": "mongodb+srv://cluster0.ab1cd.mongodb.net"}), "Atlas"),
        ("documentdb", json!({"uri": "docs.cluster-ab1.eu-west-1.docdb.amazonaws.com:27017"}), "DocumentDB"),
    ] {
        another(&world, name, change).await?;
        world.session(name, json!({"database": name})).await?;
        let session = world.rejected(name, "Unsupported").await?;
        assert!(message_of(&session).contains(expected), "{}", message_of(&session));
        let admin = world
            .until::<DatabaseAdmin>(name, "Unsupported", |admin| reason_of(admin) == "Unsupported")
            .await?;
        assert!(message_of(&admin).contains(expected), "{}", message_of(&admin));
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_there_and_an_admin_user_that_is_not_let_in_are_reported() -> Result<()> {
    let world = MongoWorld::start().await?;
    another(&world, "nowhere", json!({"uri": "localhost:1"})).await?;
    let nobody = world.mongo().client_cert("nobody")?;
    world.tls_secret("nobody", &nobody.cert_pem, &nobody.key_pem).await?;
    let auth = json!({"x509": {"secretRef": {"name": "nobody"}}});
    another(&world, "nobody", json!({"adminUser": {"name": "nobody"}, "auth": auth})).await?;
    for (name, reason) in [("nowhere", "DatabaseUnreachable"), ("nobody", "LoginFailed")] {
        world.session(name, json!({"database": name})).await?;
        world.pending(name, reason).await?;
        let admin = world.until::<DatabaseAdmin>(name, reason, |admin| reason_of(admin) == reason).await?;
        assert_eq!(condition(&admin, conditions::REACHABLE).status, conditions::FALSE);
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_database_admin_takes_its_accounts_along() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.session("timed", json!({"ttl": "1h"})).await?;
    world.session("standing", json!({})).await?;
    world.active("timed").await?;
    world.active("standing").await?;
    let client = world.login("timed").await?;
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    is_over(&world, &client).await?;
    world.ended("timed", EndReason::DatabaseRemoved).await?;
    world.pending("standing", "DatabaseNotFound").await?;
    assert!(world.find::<Secret>("timed").await?.is_none());

    world.admin(json!({})).await?;
    world.active("standing").await?;
    world.login("standing").await.map(drop)
}

#[tokio::test]
async fn retain_leaves_the_accounts_as_they_are() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.admin(json!({"spec": {"deletion": "Retain"}})).await?;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    let (before, client) = (world.account().await?, world.login("alice-orders").await?);
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert_eq!(world.account().await?, before);
    assert!(before.is_some() && world.read(&client).await?.is_some());
    let session = world.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(message_of(&session).contains("stays as it is"), "{}", message_of(&session));
    assert!(world.event("alice-orders", "DatabaseRemoved").await?.contains(&world.alice));
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_the_admin_user_that_was_replaced_is_used() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    let expired = world.mongo().expired_client_cert(&world.admin_user)?;
    world.tls_secret("orders-admin-cert", &expired.cert_pem, &expired.key_pem).await?;
    let refused = |admin: &DatabaseAdmin| !is_ready(admin) && message_of(admin).contains("expired");
    world.until::<DatabaseAdmin>("orders", "refused", refused).await?;
    assert!(world.read(&client).await?.is_some(), "who is in stays in");

    let renewed = world.mongo().client_cert(&world.admin_user)?;
    world.tls_secret("orders-admin-cert", &renewed.cert_pem, &renewed.key_pem).await?;
    world.until::<DatabaseAdmin>("orders", "Ready", is_ready).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_over(&world, &client).await
}

/// Another DatabaseAdmin for the same server, changed.
async fn another(world: &MongoWorld, name: &str, spec: Value) -> Result<()> {
    world.admin(json!({"metadata": {"name": name}, "spec": spec})).await
}
