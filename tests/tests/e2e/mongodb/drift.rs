//! Permission sets that somebody changes by hand, and sets that nobody uses any more.

use anyhow::{Context, Result};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use rolecall_api::DatabaseSession;
use rolecall_tests::{MongoWorld, mongo};
use serde_json::json;

/// A session that may find in `orders` and no more, in a world that looks at objects every second.
async fn session() -> Result<MongoWorld> {
    let world = MongoWorld::builder().object_permissions().flag("--keep-unused-sets=1s").start().await?;
    world.root.database(&world.app).create_collection("payments").await?;
    world.admin(json!({"spec": {"objectSync": "1s"}})).await?;
    let permissions = json!([{"match": {"name": ["orders"]}, "permissions": ["find"]}]);
    world.role("reader", json!({"allow": {"dbRoles": [], "dbPermissions": permissions}})).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    Ok(world)
}

/// The roles of permission sets in the logical database.
async fn sets(world: &MongoWorld) -> Result<Vec<String>> {
    let answer = world.root.database(&world.app).run_command(doc! { "rolesInfo": 1 }).await?;
    let roles = answer.get_array("roles")?.iter().filter_map(|role| role.as_document());
    let names = roles.filter_map(|role| role.get_str("role").ok()).map(str::to_owned);
    Ok(names.filter(|name| name.starts_with("rolecall:")).collect())
}

/// The server's code where reading `payments` is refused.
async fn refusal(world: &MongoWorld, client: &Client) -> Option<i32> {
    let found = client.database(&world.app).collection::<Document>("payments").find_one(doc! {}).await;
    found.err().as_ref().and_then(mongo::code)
}

#[tokio::test]
async fn what_was_added_to_a_set_goes_and_a_set_that_was_dropped_comes_back() -> Result<()> {
    let world = session().await?;
    let client = world.login("alice-orders").await?;
    let (set, app) = (sets(&world).await?.pop().context("a set")?, world.root.database(&world.app));
    let more = doc! { "resource": { "db": &world.app, "collection": "payments" }, "actions": ["find"] };
    app.run_command(doc! { "grantPrivilegesToRole": &set, "privileges": [more] }).await?;
    assert_eq!(refusal(&world, &client).await, None);
    let refused = async || Ok(refusal(&world, &client).await == Some(mongo::UNAUTHORIZED));
    world.eventually("what was added goes", refused).await?;
    assert!(world.read(&client).await?.is_some());

    // With the role, the server takes it from its members.
    app.run_command(doc! { "dropRole": &set }).await?;
    world.eventually("the member is one again", async || Ok(world.read(&client).await.is_ok())).await?;
    assert_eq!(sets(&world).await?, [set]);
    assert_eq!(refusal(&world, &client).await, Some(mongo::UNAUTHORIZED));
    Ok(())
}

#[tokio::test]
async fn a_set_that_nobody_uses_is_dropped() -> Result<()> {
    let world = session().await?;
    assert_eq!(sets(&world).await?.len(), 1);
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    world.eventually("the set is dropped", async || Ok(sets(&world).await?.is_empty())).await
}
