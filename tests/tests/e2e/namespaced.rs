//! An operator that has rights in some namespaces only.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::PostParams;
use kube::{Api, Client};
use rolecall_api::{DatabaseSession, ProvisioningRole};
use rolecall_testbed::Identity;
use rolecall_tests::{World, cluster};
use serde_json::{Value, json};

/// Gives the operator of a test its rights in this namespace.
fn binding(namespace: &str, operators: &str) -> Result<Value> {
    let mut binding: Value =
        serde_saphyr::from_str(include_str!("../../../deploy/namespaced/operator_binding.yaml"))?;
    binding["metadata"]["namespace"] = json!(namespace);
    binding["subjects"][0]["name"] = json!("operator");
    binding["subjects"][0]["namespace"] = json!(operators);
    Ok(binding)
}

#[tokio::test]
async fn an_operator_works_where_it_has_rights_and_says_what_it_cannot_list_elsewhere() -> Result<()> {
    let mut world = World::builder().without_operator().start().await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}});
    world.apply(account).await?;
    world.apply(binding(&world.namespace, &world.namespace)?).await?;
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

#[tokio::test]
async fn a_namespace_without_rights_stops_no_other_and_is_named() -> Result<()> {
    let mut world = World::builder().without_operator().start().await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}});
    world.apply(account).await?;
    world.apply(binding(&world.namespace, &world.namespace)?).await?;
    let other = format!("{}-b", world.namespace);
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": other}}))?;
    Api::<Namespace>::all(world.client.clone()).create(&PostParams::default(), &namespace).await?;

    let identity = Identity::service_account(&world.namespace, "operator");
    let both = format!("--watch-namespace={},{other}", world.namespace);
    let operator = world.operator_by(cluster::config_of(&identity).await?, &[&both])?;
    operator.ready().await?;
    world.operator = Some(operator);
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));

    let operator = world.operator.as_ref().context("an operator")?;
    operator.log().wait_for("no right to list and watch").await?;
    let answer = operator.get("/readyz").await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("working"), "{answer}");
    assert!(answer.contains(&format!("DatabaseSession in {other}")), "{answer}");
    let watched = async |namespace: &str, value: u8| {
        let line = format!("rolecall_namespace_watched{{namespace=\"{namespace}\"}} {value}");
        Ok(operator.get("/metrics").await?.lines().any(|found| found == line))
    };
    world.eventually("the metric names it", async || watched(&other, 0).await).await?;
    world
        .eventually("the metric tells that all is well", async || watched(&world.namespace, 1).await)
        .await?;

    // As soon as somebody gives it the rights it works there, too.
    let role: Value = serde_json::from_value(json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": "ProvisioningRole",
        "metadata": {"name": "reader"},
        "spec": {"options": {"createDbUserMode": "Keep"}, "allow": {"dbLabels": {"*": ["*"]}, "dbNames": ["*"]}},
    }))?;
    let roles: Api<ProvisioningRole> = Api::namespaced(Client::clone(&world.client), &other);
    roles.create(&PostParams::default(), &serde_json::from_value(role)?).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(Client::clone(&world.client), &other);
    let bound = serde_json::from_value(binding(&other, &world.namespace)?)?;
    bindings.create(&PostParams::default(), &bound).await?;
    let looked_at =
        async || Ok(roles.get("reader").await?.status.is_some_and(|status| status.users == Some(0)));
    world.eventually("the role there is looked at", looked_at).await?;
    world.eventually("the metric tells it", async || watched(&other, 1).await).await?;
    let answer = operator.get("/readyz").await?;
    assert!(!answer.contains("no right"), "{answer}");
    Ok(())
}
