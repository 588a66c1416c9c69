//! Users that are not ours, users that become ours, and what they are called.

use anyhow::{Context, Result};
use mongodb::bson::doc;
use rolecall_api::DatabaseSession;
use rolecall_tests::MongoWorld;
use rolecall_tests::accounts::MARKER;
use rolecall_tests::objects::message_of;
use serde_json::json;

use super::is_over;

#[tokio::test]
async fn a_user_that_is_not_managed_is_left_alone() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.create_user(&world.alice, doc! { "team": "blue" }).await?;
    let before = world.account().await?;
    world.session("alice-orders", json!({})).await?;
    let waiting = world.pending("alice-orders", "UserConflict").await?;
    assert!(message_of(&waiting).contains(MARKER), "{}", message_of(&waiting));
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_eq!(world.account().await?, before);
    Ok(())
}

#[tokio::test]
async fn an_idle_managed_user_is_taken_over_and_reset() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.create_user(&world.alice, doc! { MARKER: true }).await?;
    let lock = doc! {
        "updateUser": format!("CN={}", world.alice), "roles": Vec::<String>::new(),
        "authenticationRestrictions": [{ "clientSource": ["0.0.0.0"] }],
    };
    world.root.database("$external").run_command(lock).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    let account = world.account().await?.context("an account")?;
    assert!(account.is_enabled_with(&[&world.role_name("reader")]), "{account:?}");
    assert!(account.custom_data.len() > 1, "it has a record of ours: {account:?}");
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_over(&world, &client).await
}

#[tokio::test]
async fn names_are_rendered_as_the_server_renders_subjects() -> Result<()> {
    for name in ["Zoë, \"the\" + <boss>; #1", "#back\\slash", "ключ"] {
        let world = MongoWorld::builder().alice(name).start().await?;
        world.session("alice-orders", json!({})).await?;
        world.active("alice-orders").await?;
        let client = world.login("alice-orders").await?;
        assert!(world.read(&client).await?.is_some(), "{name}");
        world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
        is_over(&world, &client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn names_that_only_other_servers_reserve_are_users_and_those_that_the_server_misreads_are_none()
-> Result<()> {
    let world = MongoWorld::start().await?;
    // No other test has it, as names belong to the whole server.
    world.user("odd", json!({"username": "public"})).await?;
    world.session("odd", json!({"user": "odd"})).await?;
    world.active("odd").await?;
    let client = world.login("odd").await?;
    assert!(world.read(&client).await?.is_some());
    world.delete_and_wait::<DatabaseSession>("odd").await?;

    world.user("crab", json!({"username": "🦀"})).await?;
    world.session("crab", json!({"user": "crab"})).await?;
    let rejected = world.rejected("crab", "InvalidUsername").await?;
    assert!(message_of(&rejected).contains("spec.username"), "{}", message_of(&rejected));
    Ok(())
}

#[tokio::test]
async fn roles_that_somebody_adds_to_a_live_account_are_taken_away() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let writer = doc! { "role": "writer", "db": &world.app };
    let grant = doc! { "grantRolesToUser": format!("CN={}", world.alice), "roles": [writer] };
    world.root.database("$external").run_command(grant).await?;
    // Looked at again, as for another session.
    world.session("second", json!({})).await?;
    world.active("second").await?;
    let account = world.account().await?.context("an account")?;
    assert!(account.is_enabled_with(&[&world.role_name("reader")]), "{account:?}");
    Ok(())
}
