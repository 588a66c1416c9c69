//! May the operator be uninstalled?

use anyhow::Result;
use rolecall_api::DatabaseSession;
use rolecall_operator::uninstall;
use rolecall_tests::{TestEnv, cluster};
use serde_json::json;

#[tokio::test]
async fn an_operator_may_be_removed_when_no_session_of_its_namespaces_has_access() -> Result<()> {
    let env = TestEnv::start().await?;
    let client = cluster::client().await?;
    let namespaces = [env.namespace.clone()];
    let check = async || uninstall::check(&client, &namespaces, false).await;
    check().await?;

    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let error = check().await.expect_err("alice has access").to_string();
    assert!(error.contains(&format!("  {}/alice-orders (Active)\n", env.namespace)), "{error}");

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    check().await?;
    let error =
        uninstall::check(&client, &namespaces, true).await.expect_err("a finalizer is left").to_string();
    assert!(error.contains(&format!("  {}/orders\n", env.namespace)), "{error}");
    Ok(())
}
