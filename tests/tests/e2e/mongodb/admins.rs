//! DatabaseAdmins: what is reported about them, what they lack, where they lead, and their end.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{Condition, DatabaseAdmin, DatabaseSession, EndReason, conditions};
use rolecall_testbed::MongoAdmin;
use rolecall_tests::MongoTestEnv;
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
async fn the_status_shows_version_identity_and_that_nothing_is_missing() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let counted = |admin: &DatabaseAdmin| {
        is_ready(admin)
            && admin
                .status
                .as_ref()
                .and_then(|status| status.accounts)
                .is_some_and(|counts| counts.enabled == 1)
    };
    let admin = env.until::<DatabaseAdmin>("orders", "Ready with one account", counted).await?;
    for type_ in [conditions::REACHABLE, conditions::CAPABLE] {
        let found = condition(&admin, type_);
        assert_eq!((found.status.as_str(), found.reason.as_str()), ("True", "Succeeded"), "{found:?}");
    }
    let status = admin.status.context("a status")?;
    assert!(status.version.is_some_and(|version| version.starts_with("6.0.")));
    assert!(status.server_identity.is_some_and(|identity| !identity.is_empty()));
    let endpoint = status.endpoint.context("an endpoint")?;
    assert_eq!((endpoint.uri, endpoint.admin_user), (env.mongo().uri(), env.admin_user.clone()));
    Ok(())
}

#[tokio::test]
async fn privileges_that_are_missing_are_named_each_with_its_command() -> Result<()> {
    let lacking = MongoAdmin::nothing().database("$external", &["viewUser", "createUser", "updateUser"]);
    let env = MongoTestEnv::builder().privileges(lacking).start().await?;
    env.session("alice-orders", json!({})).await?;
    let incapable = |admin: &DatabaseAdmin| {
        let capable = condition(admin, conditions::CAPABLE);
        capable.reason == "MissingMongoPrivileges" && capable.message.contains("grantRole")
    };
    let admin = env.until::<DatabaseAdmin>("orders", "incapable", incapable).await?;
    let message = condition(&admin, conditions::CAPABLE).message;
    for part in
        ["dropUser", "setAuthenticationRestriction", "changeCustomData", "inprog", "revokeRole", "runCommand"]
    {
        assert!(message.contains(part), "{part} in {message}");
    }
    env.pending("alice-orders", "MissingMongoPrivileges").await?;

    env.mongo().set_admin(&env.admin_user, &MongoAdmin::documented()).await?;
    env.active("alice-orders").await?;
    env.until::<DatabaseAdmin>("orders", "Capable", |admin| {
        condition(admin, conditions::CAPABLE).status == conditions::TRUE
    })
    .await
    .map(drop)
}

#[tokio::test]
async fn services_without_users_of_their_own_are_unsupported() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    for (name, change, expected) in [
        ("atlas", json!({"uri": "mongodb+srv://cluster0.ab1cd.mongodb.net"}), "Atlas"),
        ("documentdb", json!({"uri": "docs.cluster-ab1.eu-west-1.docdb.amazonaws.com:27017"}), "DocumentDB"),
    ] {
        another(&env, name, change).await?;
        env.session(name, json!({"database": name})).await?;
        let session = env.rejected(name, "Unsupported").await?;
        assert!(message_of(&session).contains(expected), "{}", message_of(&session));
        let admin = env
            .until::<DatabaseAdmin>(name, "Unsupported", |admin| reason_of(admin) == "Unsupported")
            .await?;
        assert!(message_of(&admin).contains(expected), "{}", message_of(&admin));
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_there_and_an_admin_user_that_is_not_let_in_are_reported() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    another(&env, "nowhere", json!({"uri": "localhost:1"})).await?;
    let nobody = env.mongo().client_cert("nobody")?;
    env.tls_secret("nobody", &nobody.cert_pem, &nobody.key_pem).await?;
    let auth = json!({"x509": {"secretRef": {"name": "nobody"}}});
    another(&env, "nobody", json!({"adminUser": {"name": "nobody"}, "auth": auth})).await?;
    for (name, reason) in [("nowhere", "DatabaseUnreachable"), ("nobody", "LoginFailed")] {
        env.session(name, json!({"database": name})).await?;
        env.pending(name, reason).await?;
        let admin = env.until::<DatabaseAdmin>(name, reason, |admin| reason_of(admin) == reason).await?;
        assert_eq!(condition(&admin, conditions::REACHABLE).status, conditions::FALSE);
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_database_admin_takes_its_accounts_along() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.session("standing", json!({})).await?;
    env.active("timed").await?;
    env.active("standing").await?;
    let client = env.login("timed").await?;
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    is_over(&env, &client).await?;
    env.ended("timed", EndReason::DatabaseRemoved).await?;
    env.pending("standing", "DatabaseNotFound").await?;
    assert!(env.find::<Secret>("timed").await?.is_none());

    env.admin(json!({})).await?;
    env.active("standing").await?;
    env.login("standing").await.map(drop)
}

#[tokio::test]
async fn retain_leaves_the_accounts_as_they_are() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.admin(json!({"spec": {"deletion": "Retain"}})).await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    let (before, client) = (env.account().await?, env.login("alice-orders").await?);
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert_eq!(env.account().await?, before);
    assert!(before.is_some() && env.read(&client).await?.is_some());
    let session = env.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(message_of(&session).contains("stays as it is"), "{}", message_of(&session));
    assert!(env.event("alice-orders", "DatabaseRemoved").await?.contains(&env.alice));
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_the_admin_user_that_was_replaced_is_used() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    let expired = env.mongo().expired_client_cert(&env.admin_user)?;
    env.tls_secret("orders-admin-cert", &expired.cert_pem, &expired.key_pem).await?;
    let refused = |admin: &DatabaseAdmin| !is_ready(admin) && message_of(admin).contains("expired");
    env.until::<DatabaseAdmin>("orders", "refused", refused).await?;
    assert!(env.read(&client).await?.is_some(), "who is in stays in");

    let renewed = env.mongo().client_cert(&env.admin_user)?;
    env.tls_secret("orders-admin-cert", &renewed.cert_pem, &renewed.key_pem).await?;
    env.until::<DatabaseAdmin>("orders", "Ready", is_ready).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_over(&env, &client).await
}

/// Another DatabaseAdmin for the same server, changed.
async fn another(env: &MongoTestEnv, name: &str, spec: Value) -> Result<()> {
    env.admin(json!({"metadata": {"name": name}, "spec": spec})).await
}
