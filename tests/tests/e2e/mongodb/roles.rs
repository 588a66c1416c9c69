//! Database roles: `role@database`.

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use mongodb::bson::doc;
use rolecall_api::{DatabaseAdmin, DatabaseSession, conditions};
use rolecall_testbed::MongoAdmin;
use rolecall_tests::MongoWorld;
use rolecall_tests::objects::{Conditions, message_of};
use serde_json::json;

#[tokio::test]
async fn a_role_that_does_not_exist_is_named_with_the_command_that_makes_it() -> Result<()> {
    let world = MongoWorld::start().await?;
    let missing = world.role_name("auditor");
    world.role("reader", json!({"allow": {"dbRoles": [missing]}})).await?;
    world.session("alice-orders", json!({})).await?;
    let waiting = world.pending("alice-orders", "DbRoleNotFound").await?;
    let message = message_of(&waiting);
    assert!(message.contains(&missing) && message.contains("createRole"), "{message}");
    assert!(world.account().await?.is_none_or(|account| account.is_disabled()));
    assert!(
        world.find::<Secret>("alice-orders").await?.is_none(),
        "a start that was refused hands nothing out"
    );

    let command = doc! { "createRole": "auditor", "privileges": [], "roles": [] };
    world.root.database(&world.app).run_command(command).await?;
    world.active("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_role_that_does_not_exist_is_created_where_that_is_wanted() -> Result<()> {
    let world = MongoWorld::start().await?;
    // Just what the condition Capable asks for: to create roles, and not to see them.
    let rights = MongoAdmin::documented().database(&world.app, &["createRole"]);
    world.mongo().set_admin(&world.admin_user, &rights).await?;
    world.admin(json!({"spec": {"missingDbRoles": "Create"}})).await?;
    let (missing, reader) = (world.role_name("auditor"), world.role_name("reader"));
    world.role("reader", json!({"allow": {"dbRoles": [missing, reader, world.role_name("read")]}})).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let all = [&*missing, &*world.role_name("read"), &*reader];
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&all)));
    let capable = |admin: &DatabaseAdmin| conditions::is_true(admin.conditions(), conditions::CAPABLE);
    world.until("orders", "Capable", capable).await?;
    // What the role comes to give, the session has.
    let client = world.login("alice-orders").await?;
    assert!(world.write(&client).await.is_err());
    let resource = doc! { "db": &world.app, "collection": "orders" };
    let privileges = vec![doc! { "resource": resource, "actions": ["update"] }];
    let command = doc! { "grantPrivilegesToRole": "auditor", "privileges": privileges };
    world.root.database(&world.app).run_command(command).await?;
    world.eventually("it may update", async || Ok(world.write(&client).await.is_ok())).await
}

#[tokio::test]
async fn a_role_without_database_is_malformed() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.role("reader", json!({"allow": {"dbRoles": ["reader"]}})).await?;
    world.session("alice-orders", json!({})).await?;
    let waiting = world.pending("alice-orders", "DbRoleInvalid").await?;
    assert!(message_of(&waiting).contains("role@database"), "{}", message_of(&waiting));
    assert_eq!(world.account().await?, None);
    Ok(())
}

#[tokio::test]
async fn powerful_roles_are_given_only_where_they_are_named_literally() -> Result<()> {
    let world = MongoWorld::start().await?;
    let owner = world.role_name("dbOwner");
    world.role("reader", json!({"allow": {"dbRoles": [owner]}})).await?;
    world.session("alice-orders", json!({})).await?;
    world.pending("alice-orders", "DbRoleNotGrantable").await?;
    world.admin(json!({"spec": {"grantableDbRoles": ["*", owner]}})).await?;
    world.active("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_role_of_admin_that_cannot_be_looked_into_is_given_only_where_it_is_named_literally() -> Result<()>
{
    let world = MongoWorld::start().await?;
    let name = world.namespace.replace('-', "_");
    let inherits = vec![doc! { "role": "root", "db": "admin" }];
    let command = doc! { "createRole": &name, "privileges": [], "roles": inherits };
    world.root.database("admin").run_command(command).await?;
    let role = format!("{name}@admin");
    world.role("reader", json!({"allow": {"dbRoles": [role]}})).await?;
    world.session("alice-orders", json!({})).await?;
    let waiting = world.pending("alice-orders", "DbRoleNotGrantable").await?;
    assert!(message_of(&waiting).contains("viewRole"), "{}", message_of(&waiting));
    world.admin(json!({"spec": {"grantableDbRoles": ["*", role]}})).await?;
    world.active("alice-orders").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    world.root.database("admin").run_command(doc! { "dropRole": &name }).await?;
    Ok(())
}

#[tokio::test]
async fn a_session_may_ask_for_some_of_its_roles() -> Result<()> {
    let world = MongoWorld::start().await?;
    let (reader, writer) = (world.role_name("reader"), world.role_name("writer"));
    world.role("reader", json!({"allow": {"dbRoles": [reader, writer]}})).await?;
    world.session("one", json!({"dbRoles": [writer]})).await?;
    world.active("one").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&[&writer])));
    world.session("two", json!({})).await?;
    world.pending("two", "RolesChanged").await?;
    Ok(())
}
