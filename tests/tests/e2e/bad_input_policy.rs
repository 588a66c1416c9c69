//! Roles and logical databases that do not exist or cannot be granted: the message says what fixes it.

use anyhow::Result;
use rolecall_tests::TestEnv;
use rolecall_tests::objects::message_of;
use rolecall_tests::test_env::ADMIN_USER;
use serde_json::json;

use crate::checks::{nothing_secret_is_shown, session_reports, statement};

#[tokio::test]
async fn a_database_role_that_does_not_exist_is_reported_with_the_statement_that_makes_it() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "of \"many\" names"]}})).await?;
    env.session("alice-orders", json!({})).await?;
    let session = session_reports(&env, "alice-orders", "DbRoleNotFound", "CREATE ROLE").await?;
    assert!(env.account().await?.is_none(), "a part of the account was made");
    nothing_secret_is_shown(&env).await?;

    // As the admin user would, so that it may grant the role.
    let client = env.pg.connect("postgres", &env.pg.client_cert(ADMIN_USER)?).await?;
    client.batch_execute(statement(message_of(&session))?).await?;
    env.active("alice-orders").await?;
    let account = env.account().await?.unwrap_or_default();
    assert!(account.is_enabled_with(&["of \"many\" names", "reader"]), "{account:?}");
    Ok(())
}

#[tokio::test]
async fn a_logical_database_that_does_not_exist_is_reported() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"databaseName": "warehouse"})).await?;
    session_reports(&env, "alice-orders", "DatabaseNameNotFound", "create it").await?;
    assert!(env.account().await?.is_none(), "a part of the account was made");

    env.pg.sql("postgres", "create database warehouse").await?;
    env.active("alice-orders").await.map(drop)
}

#[tokio::test]
async fn one_session_that_cannot_start_does_not_keep_the_other_of_its_account_from_starting() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("nowhere", json!({"databaseName": "warehouse"})).await?;
    env.session("somewhere", json!({})).await?;
    env.active("somewhere").await?;
    env.pending("nowhere", "DatabaseNameNotFound").await?;
    env.login("somewhere").await.map(drop)
}

#[tokio::test]
async fn objects_may_be_applied_in_any_order() -> Result<()> {
    let env = TestEnv::builder().without_objects().start().await?;
    env.session("alice-orders", json!({})).await?;
    env.pending("alice-orders", "UserNotFound").await?;
    env.user("alice", json!({"username": rolecall_tests::test_env::ALICE})).await?;
    env.pending("alice-orders", "DatabaseNotFound").await?;
    env.admin(json!({})).await?;
    env.pending("alice-orders", "RoleNotFound").await?;
    env.role("reader", json!({})).await?;
    env.active("alice-orders").await.map(drop)
}
