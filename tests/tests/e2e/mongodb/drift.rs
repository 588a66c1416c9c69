//! Users and permission sets that somebody changes by hand, and sets that nobody uses any more.

use anyhow::{Context, Result};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use rolecall_api::{DatabaseSession, SessionPhase};
use rolecall_engine::{AccountName, Dialect};
use rolecall_tests::MongoWorld;
use rolecall_tests::accounts::MARKER;
use rolecall_tests::mongo::{self, MongoAccount};
use rolecall_tests::objects::{is_ready, message_of, reason_of};
use serde_json::json;

use super::is_over;

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

#[tokio::test]
async fn what_somebody_changed_on_a_user_is_mended_though_no_object_changes() -> Result<()> {
    let world = MongoWorld::builder().flag("--resync-interval=1s").start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let reader = world.role_name("reader");
    let as_left =
        |account: Option<&MongoAccount>| account.is_some_and(|account| account.is_enabled_with(&[&reader]));
    let writer = doc! { "role": "writer", "db": &world.app };
    let nowhere = doc! { "clientSource": ["0.0.0.0"] };
    for by_hand in [
        doc! { "grantRolesToUser": user(&world)?, "roles": [writer] },
        doc! { "updateUser": user(&world)?, "roles": [] },
        doc! { "updateUser": user(&world)?, "authenticationRestrictions": [nowhere] },
        doc! { "dropUser": user(&world)? },
    ] {
        world.root.database("$external").run_command(by_hand.clone()).await?;
        world.account_until("what policy says", as_left).await.with_context(|| by_hand.to_string())?;
    }
    world.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn an_access_whose_marker_somebody_took_is_not_over_while_it_can_be_used() -> Result<()> {
    let world = MongoWorld::builder().flag("--resync-interval=1s").start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    let data = world.account().await?.context("an account")?.custom_data;
    let mut without = data.clone();
    without.remove(MARKER);
    let external = world.root.database("$external");
    external.run_command(doc! { "updateUser": user(&world)?, "customData": without }).await?;
    let message = |session: &DatabaseSession| reason_of(session) == "UserConflict" && !is_ready(session);
    world.until("alice-orders", "in conflict", message).await?;

    world.delete::<DatabaseSession>("alice-orders").await?;
    let session = world.phase("alice-orders", SessionPhase::Ending, "UserConflict").await?;
    assert!(message_of(&session).contains("dropUser"), "{}", message_of(&session));
    assert!(world.read(&client).await?.is_some(), "it is not touched");
    external.run_command(doc! { "updateUser": user(&world)?, "customData": data }).await?;
    world.gone::<DatabaseSession>("alice-orders").await?;
    is_over(&world, &client).await
}

/// The user of alice, as the server calls it.
fn user(world: &MongoWorld) -> Result<String> {
    Ok(Dialect::MongoDb.login_name(&AccountName::new(&*world.alice)?))
}
