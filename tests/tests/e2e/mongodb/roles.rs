//! Database roles: `role@database`.

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use mongodb::bson::doc;
use rolecall_api::{DatabaseAdmin, DatabaseSession, conditions};
use rolecall_testbed::MongoAdmin;
use rolecall_tests::MongoTestEnv;
use rolecall_tests::objects::{Conditions, message_of};
use serde_json::json;

#[tokio::test]
async fn a_role_that_does_not_exist_is_named_with_the_command_that_makes_it() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    let missing = env.role_name("auditor");
    env.role("reader", json!({"allow": {"dbRoles": [missing]}})).await?;
    env.session("alice-orders", json!({})).await?;
    let waiting = env.pending("alice-orders", "DbRoleNotFound").await?;
    let message = message_of(&waiting);
    assert!(message.contains(&missing) && message.contains("createRole"), "{message}");
    assert!(env.account().await?.is_none_or(|account| account.is_disabled()));
    assert!(
        env.find::<Secret>("alice-orders").await?.is_none(),
        "a start that was refused hands nothing out"
    );

    let command = doc! { "createRole": "auditor", "privileges": [], "roles": [] };
    env.root.database(&env.app).run_command(command).await?;
    env.active("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_role_that_does_not_exist_is_created_where_that_is_wanted() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    // Just what the condition Capable asks for: to create roles, and not to see them.
    let rights = MongoAdmin::documented().database(&env.app, &["createRole"]);
    env.mongo().set_admin(&env.admin_user, &rights).await?;
    env.admin(json!({"spec": {"missingDbRoles": "Create"}})).await?;
    let (missing, reader) = (env.role_name("auditor"), env.role_name("reader"));
    env.role("reader", json!({"allow": {"dbRoles": [missing, reader, env.role_name("read")]}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let all = [&*missing, &*env.role_name("read"), &*reader];
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&all)));
    let capable = |admin: &DatabaseAdmin| conditions::is_true(admin.conditions(), conditions::CAPABLE);
    env.until("orders", "Capable", capable).await?;
    // What is added to the role, the session has.
    let client = env.login("alice-orders").await?;
    assert!(env.write(&client).await.is_err());
    let resource = doc! { "db": &env.app, "collection": "orders" };
    let privileges = vec![doc! { "resource": resource, "actions": ["update"] }];
    let command = doc! { "grantPrivilegesToRole": "auditor", "privileges": privileges };
    env.root.database(&env.app).run_command(command).await?;
    env.eventually("it may update", async || Ok(env.write(&client).await.is_ok())).await
}

#[tokio::test]
async fn a_role_without_database_is_malformed() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader"]}})).await?;
    env.session("alice-orders", json!({})).await?;
    let waiting = env.pending("alice-orders", "DbRoleInvalid").await?;
    assert!(message_of(&waiting).contains("role@database"), "{}", message_of(&waiting));
    assert_eq!(env.account().await?, None);
    Ok(())
}

#[tokio::test]
async fn powerful_roles_are_given_only_where_they_are_named_literally() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    let owner = env.role_name("dbOwner");
    env.role("reader", json!({"allow": {"dbRoles": [owner]}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.pending("alice-orders", "DbRoleNotGrantable").await?;
    env.admin(json!({"spec": {"grantableDbRoles": ["*", owner]}})).await?;
    env.active("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_role_of_admin_that_cannot_be_looked_into_is_given_only_where_it_is_named_literally() -> Result<()>
{
    let env = MongoTestEnv::start().await?;
    let name = env.namespace.replace('-', "_");
    let inherits = vec![doc! { "role": "root", "db": "admin" }];
    let command = doc! { "createRole": &name, "privileges": [], "roles": inherits };
    env.root.database("admin").run_command(command).await?;
    let role = format!("{name}@admin");
    env.role("reader", json!({"allow": {"dbRoles": [role]}})).await?;
    env.session("alice-orders", json!({})).await?;
    let waiting = env.pending("alice-orders", "DbRoleNotGrantable").await?;
    assert!(message_of(&waiting).contains("viewRole"), "{}", message_of(&waiting));
    env.admin(json!({"spec": {"grantableDbRoles": ["*", role]}})).await?;
    env.active("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    env.root.database("admin").run_command(doc! { "dropRole": &name }).await?;
    Ok(())
}

#[tokio::test]
async fn a_session_may_ask_for_some_of_its_roles() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    let (reader, writer) = (env.role_name("reader"), env.role_name("writer"));
    env.role("reader", json!({"allow": {"dbRoles": [reader, writer]}})).await?;
    env.session("one", json!({"dbRoles": [writer]})).await?;
    env.active("one").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&[&writer])));
    env.session("two", json!({})).await?;
    env.pending("two", "RolesChanged").await?;
    Ok(())
}
