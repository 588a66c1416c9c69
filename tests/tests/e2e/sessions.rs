//! Sessions from their start to their end.

use anyhow::Result;
use rolecall_api::DatabaseSession;
use rolecall_tests::World;
use serde_json::json;

#[tokio::test]
async fn a_session_gives_access_until_it_is_deleted() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;

    let client = world.login("alice-orders").await?;
    let row = client.query_one("select note from orders", &[]).await?;
    assert_eq!(row.get::<_, String>(0), "first");
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));

    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(client.query_one("select 1", &[]).await.is_err(), "the connection is ended");
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}
