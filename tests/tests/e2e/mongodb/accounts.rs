//! Unmanaged users, users that become managed, and their names.

use anyhow::{Context, Result};
use mongodb::bson::doc;
use rolecall_api::DatabaseSession;
use rolecall_tests::MongoTestEnv;
use rolecall_tests::accounts::MARKER;
use rolecall_tests::objects::message_of;
use serde_json::json;

use super::is_over;

#[tokio::test]
async fn a_user_that_is_not_managed_is_left_alone() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.create_user(&env.alice, doc! { "team": "blue" }).await?;
    let before = env.account().await?;
    env.session("alice-orders", json!({})).await?;
    let waiting = env.pending("alice-orders", "UserConflict").await?;
    assert!(message_of(&waiting).contains(MARKER), "{}", message_of(&waiting));
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_eq!(env.account().await?, before);
    Ok(())
}

#[tokio::test]
async fn an_idle_managed_user_is_taken_over_and_reset() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.create_user(&env.alice, doc! { MARKER: true }).await?;
    let lock = doc! {
        "updateUser": format!("CN={}", env.alice), "roles": Vec::<String>::new(),
        "authenticationRestrictions": [{ "clientSource": ["0.0.0.0"] }],
    };
    env.root.database("$external").run_command(lock).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    let account = env.account().await?.context("an account")?;
    assert!(account.is_enabled_with(&[&env.role_name("reader")]), "{account:?}");
    assert!(account.custom_data.len() > 1, "it has a record of ours: {account:?}");
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_over(&env, &client).await
}

#[tokio::test]
async fn names_are_rendered_as_the_server_renders_subjects() -> Result<()> {
    for name in ["Zoë, \"the\" + <boss>; #1", "#back\\slash", "ключ"] {
        let env = MongoTestEnv::builder().alice(name).start().await?;
        env.session("alice-orders", json!({})).await?;
        env.active("alice-orders").await?;
        let client = env.login("alice-orders").await?;
        assert!(env.read(&client).await?.is_some(), "{name}");
        env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
        is_over(&env, &client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn names_that_only_other_servers_reserve_are_users_and_those_that_the_server_misreads_are_none()
-> Result<()> {
    let env = MongoTestEnv::start().await?;
    // Unique among the tests, as names belong to the whole server.
    env.user("odd", json!({"username": "public"})).await?;
    env.session("odd", json!({"user": "odd"})).await?;
    env.active("odd").await?;
    let client = env.login("odd").await?;
    assert!(env.read(&client).await?.is_some());
    env.delete_and_wait::<DatabaseSession>("odd").await?;

    env.user("crab", json!({"username": "🦀"})).await?;
    env.session("crab", json!({"user": "crab"})).await?;
    let rejected = env.rejected("crab", "InvalidUsername").await?;
    assert!(message_of(&rejected).contains("spec.username"), "{}", message_of(&rejected));
    Ok(())
}

#[tokio::test]
async fn roles_that_somebody_adds_to_a_live_account_are_taken_away() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let writer = doc! { "role": "writer", "db": &env.app };
    let grant = doc! { "grantRolesToUser": format!("CN={}", env.alice), "roles": [writer] };
    env.root.database("$external").run_command(grant).await?;
    // Reconciled again, as for another session.
    env.session("second", json!({})).await?;
    env.active("second").await?;
    let account = env.account().await?.context("an account")?;
    assert!(account.is_enabled_with(&[&env.role_name("reader")]), "{account:?}");
    Ok(())
}
