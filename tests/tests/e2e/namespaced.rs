//! An operator that has rights in some namespaces only.

use anyhow::Result;
use rolecall_api::DatabaseSession;
use rolecall_testbed::Identity;
use rolecall_tests::{World, cluster};
use serde_json::{Value, json};

#[tokio::test]
async fn an_operator_works_where_it_has_rights_and_says_what_it_cannot_list_elsewhere() -> Result<()> {
    let mut world = World::builder().without_operator().start().await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}});
    world.apply(account).await?;
    let mut binding: Value =
        serde_saphyr::from_str(include_str!("../../../deploy/namespaced/operator_binding.yaml"))?;
    binding["subjects"][0]["name"] = json!("operator");
    binding["subjects"][0]["namespace"] = json!(world.namespace);
    world.apply(binding).await?;
    let identity = Identity::service_account(&world.namespace, "operator");

    let operator = world.operator_by(cluster::config_of(&identity).await?, &[])?;
    operator.ready().await?;
    world.operator = Some(operator);
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));

    let config = cluster::config_of(&identity).await?;
    let elsewhere = world.operator_by(config, &["--watch-namespace=default"])?;
    let lists = async || {
        let answer = elsewhere.get("/readyz").await?;
        anyhow::ensure!(!answer.contains("working"), "{answer}");
        Ok(answer.contains("DatabaseAdmin in default") && answer.contains("DatabaseSession in default"))
    };
    world.eventually("it says what it waits for", lists).await
}
