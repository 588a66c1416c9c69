//! Users and permission sets that somebody changes by hand, and sets that nobody uses any more.

use anyhow::{Context, Result};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use rolecall_api::{DatabaseSession, SessionPhase};
use rolecall_engine::{AccountName, Dialect};
use rolecall_tests::MongoTestEnv;
use rolecall_tests::accounts::MARKER;
use rolecall_tests::mongo::{self, MongoAccount};
use rolecall_tests::objects::{is_ready, message_of, reason_of};
use serde_json::json;

use super::is_over;

/// A session that may only find in `orders`, in a test environment in which objects are read again every second.
async fn session() -> Result<MongoTestEnv> {
    let env = MongoTestEnv::builder().object_permissions().flag("--keep-unused-sets=1s").start().await?;
    env.root.database(&env.app).create_collection("payments").await?;
    env.admin(json!({"spec": {"objectSync": "1s"}})).await?;
    let permissions = json!([{"match": {"name": ["orders"]}, "permissions": ["find"]}]);
    env.role("reader", json!({"allow": {"dbRoles": [], "dbPermissions": permissions}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    Ok(env)
}

/// The roles of permission sets in the logical database.
async fn sets(env: &MongoTestEnv) -> Result<Vec<String>> {
    let answer = env.root.database(&env.app).run_command(doc! { "rolesInfo": 1 }).await?;
    let roles = answer.get_array("roles")?.iter().filter_map(|role| role.as_document());
    let names = roles.filter_map(|role| role.get_str("role").ok()).map(str::to_owned);
    Ok(names.filter(|name| name.starts_with("rolecall:")).collect())
}

/// The server's code where reading `payments` is refused.
async fn refusal(env: &MongoTestEnv, client: &Client) -> Option<i32> {
    let found = client.database(&env.app).collection::<Document>("payments").find_one(doc! {}).await;
    found.err().as_ref().and_then(mongo::code)
}

#[tokio::test]
async fn what_was_added_to_a_set_goes_and_a_set_that_was_dropped_comes_back() -> Result<()> {
    let env = session().await?;
    let client = env.login("alice-orders").await?;
    let (set, app) = (sets(&env).await?.pop().context("a set")?, env.root.database(&env.app));
    let more = doc! { "resource": { "db": &env.app, "collection": "payments" }, "actions": ["find"] };
    app.run_command(doc! { "grantPrivilegesToRole": &set, "privileges": [more] }).await?;
    assert_eq!(refusal(&env, &client).await, None);
    let refused = async || Ok(refusal(&env, &client).await == Some(mongo::UNAUTHORIZED));
    env.eventually("what was added goes", refused).await?;
    assert!(env.read(&client).await?.is_some());

    // With the role, the server takes it from its members.
    app.run_command(doc! { "dropRole": &set }).await?;
    env.eventually("the member is one again", async || Ok(env.read(&client).await.is_ok())).await?;
    assert_eq!(sets(&env).await?, [set]);
    assert_eq!(refusal(&env, &client).await, Some(mongo::UNAUTHORIZED));
    Ok(())
}

#[tokio::test]
async fn a_set_that_nobody_uses_is_dropped() -> Result<()> {
    let env = session().await?;
    assert_eq!(sets(&env).await?.len(), 1);
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    env.eventually("the set is dropped", async || Ok(sets(&env).await?.is_empty())).await
}

#[tokio::test]
async fn what_somebody_changed_on_a_user_is_repaired_though_no_object_changes() -> Result<()> {
    let env = MongoTestEnv::builder().flag("--resync-interval=1s").start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let reader = env.role_name("reader");
    let as_left =
        |account: Option<&MongoAccount>| account.is_some_and(|account| account.is_enabled_with(&[&reader]));
    let writer = doc! { "role": "writer", "db": &env.app };
    let nowhere = doc! { "clientSource": ["0.0.0.0"] };
    for by_hand in [
        doc! { "grantRolesToUser": user(&env)?, "roles": [writer] },
        doc! { "updateUser": user(&env)?, "roles": [] },
        doc! { "updateUser": user(&env)?, "authenticationRestrictions": [nowhere] },
        doc! { "dropUser": user(&env)? },
    ] {
        env.root.database("$external").run_command(by_hand.clone()).await?;
        env.account_until("what policy says", as_left).await.with_context(|| by_hand.to_string())?;
    }
    env.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn an_access_whose_marker_somebody_took_is_not_over_while_it_can_be_used() -> Result<()> {
    let env = MongoTestEnv::builder().flag("--resync-interval=1s").start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    let data = env.account().await?.context("an account")?.custom_data;
    let mut without = data.clone();
    without.remove(MARKER);
    let external = env.root.database("$external");
    external.run_command(doc! { "updateUser": user(&env)?, "customData": without }).await?;
    let message = |session: &DatabaseSession| reason_of(session) == "UserConflict" && !is_ready(session);
    env.until("alice-orders", "in conflict", message).await?;

    env.delete::<DatabaseSession>("alice-orders").await?;
    let session = env.phase("alice-orders", SessionPhase::Ending, "UserConflict").await?;
    assert!(message_of(&session).contains("dropUser"), "{}", message_of(&session));
    assert!(env.read(&client).await?.is_some(), "it is not touched");
    external.run_command(doc! { "updateUser": user(&env)?, "customData": data }).await?;
    env.gone::<DatabaseSession>("alice-orders").await?;
    is_over(&env, &client).await
}

/// The user of alice, as the server calls it.
fn user(env: &MongoTestEnv) -> Result<String> {
    Ok(Dialect::MongoDb.login_name(&AccountName::new(&*env.alice)?))
}
