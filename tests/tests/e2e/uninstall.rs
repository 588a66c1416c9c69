//! May the operator be uninstalled?

use anyhow::Result;
use rolecall_api::DatabaseSession;
use rolecall_operator::uninstall;
use rolecall_tests::{World, cluster};
use serde_json::json;

#[tokio::test]
async fn an_operator_may_go_when_no_session_of_its_namespaces_has_access() -> Result<()> {
    let world = World::start().await?;
    let client = cluster::client().await?;
    let namespaces = [world.namespace.clone()];
    let check = async || uninstall::check(&client, &namespaces, false).await;
    check().await?;

    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let error = check().await.expect_err("alice has access").to_string();
    assert!(error.contains(&format!("  {}/alice-orders (Active)\n", world.namespace)), "{error}");

    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    check().await?;
    let error =
        uninstall::check(&client, &namespaces, true).await.expect_err("a finalizer is left").to_string();
    assert!(error.contains(&format!("  {}/orders\n", world.namespace)), "{error}");
    Ok(())
}
