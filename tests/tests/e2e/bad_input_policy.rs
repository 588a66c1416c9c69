//! Roles and logical databases that are not there, or not to be had: the message holds what mends it.

use anyhow::Result;
use rolecall_tests::World;
use rolecall_tests::objects::message_of;
use rolecall_tests::world::ADMIN_USER;
use serde_json::json;

use crate::checks::{nothing_secret_is_shown, session_tells, statement};

#[tokio::test]
async fn a_database_role_that_does_not_exist_is_reported_with_the_statement_that_makes_it() -> Result<()> {
    let world = World::start().await?;
    world.role("reader", json!({"allow": {"dbRoles": ["reader", "of \"many\" names"]}})).await?;
    world.session("alice-orders", json!({})).await?;
    let session = session_tells(&world, "alice-orders", "DbRoleNotFound", "CREATE ROLE").await?;
    assert!(world.account().await?.is_none(), "a part of the account was made");
    nothing_secret_is_shown(&world).await?;

    // As the admin user would, so that it may grant the role.
    let client = world.pg.connect("postgres", &world.pg.client_cert(ADMIN_USER)?).await?;
    client.batch_execute(statement(message_of(&session))?).await?;
    world.active("alice-orders").await?;
    let account = world.account().await?.unwrap_or_default();
    assert!(account.is_enabled_with(&["of \"many\" names", "reader"]), "{account:?}");
    Ok(())
}

#[tokio::test]
async fn a_logical_database_that_does_not_exist_is_reported() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({"databaseName": "warehouse"})).await?;
    session_tells(&world, "alice-orders", "DatabaseNameNotFound", "create it").await?;
    assert!(world.account().await?.is_none(), "a part of the account was made");

    world.pg.sql("postgres", "create database warehouse").await?;
    world.active("alice-orders").await.map(drop)
}

#[tokio::test]
async fn one_session_that_cannot_start_does_not_keep_the_other_of_its_account_from_starting() -> Result<()> {
    let world = World::start().await?;
    world.session("nowhere", json!({"databaseName": "warehouse"})).await?;
    world.session("somewhere", json!({})).await?;
    world.active("somewhere").await?;
    world.pending("nowhere", "DatabaseNameNotFound").await?;
    world.login("somewhere").await.map(drop)
}

#[tokio::test]
async fn objects_may_be_applied_in_any_order() -> Result<()> {
    let world = World::builder().without_objects().start().await?;
    world.session("alice-orders", json!({})).await?;
    world.pending("alice-orders", "UserNotFound").await?;
    world.user("alice", json!({"username": rolecall_tests::world::ALICE})).await?;
    world.pending("alice-orders", "DatabaseNotFound").await?;
    world.admin(json!({})).await?;
    world.pending("alice-orders", "RoleNotFound").await?;
    world.role("reader", json!({})).await?;
    world.active("alice-orders").await.map(drop)
}
