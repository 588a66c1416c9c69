//! An operator that has rights in some namespaces only.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::PostParams;
use kube::{Api, Client};
use rolecall_api::{DatabaseSession, ProvisioningRole};
use rolecall_testbed::Identity;
use rolecall_tests::{TestEnv, cluster};
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
    let mut env = TestEnv::builder().without_operator().start().await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}});
    env.apply(account).await?;
    env.apply(binding(&env.namespace, &env.namespace)?).await?;
    let identity = Identity::service_account(&env.namespace, "operator");

    let operator = env.operator_by(cluster::config_of(&identity).await?, &[])?;
    operator.ready().await?;
    env.operator = Some(operator);
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));

    let config = cluster::config_of(&identity).await?;
    let elsewhere = env.operator_by(config, &["--watch-namespace=default"])?;
    let lists = async || {
        let answer = elsewhere.get("/readyz").await?;
        anyhow::ensure!(!answer.contains("working"), "{answer}");
        Ok(answer.contains("DatabaseAdmin in default") && answer.contains("DatabaseSession in default"))
    };
    env.eventually("it says what it waits for", lists).await
}

#[tokio::test]
async fn a_namespace_without_rights_stops_no_other_and_is_named() -> Result<()> {
    let mut env = TestEnv::builder().without_operator().start().await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}});
    env.apply(account).await?;
    env.apply(binding(&env.namespace, &env.namespace)?).await?;
    let other = format!("{}-b", env.namespace);
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": other}}))?;
    Api::<Namespace>::all(env.client.clone()).create(&PostParams::default(), &namespace).await?;

    let identity = Identity::service_account(&env.namespace, "operator");
    let both = format!("--watch-namespace={},{other}", env.namespace);
    let operator = env.operator_by(cluster::config_of(&identity).await?, &[&both])?;
    operator.ready().await?;
    env.operator = Some(operator);
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));

    let operator = env.operator.as_ref().context("an operator")?;
    operator.log().wait_for("no right to list and watch").await?;
    let answer = operator.get("/readyz").await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("working"), "{answer}");
    assert!(answer.contains(&format!("DatabaseSession in {other}")), "{answer}");
    let watched = async |namespace: &str, value: u8| {
        let line = format!("rolecall_namespace_watched{{namespace=\"{namespace}\"}} {value}");
        Ok(operator.get("/metrics").await?.lines().any(|found| found == line))
    };
    env.eventually("the metric names it", async || watched(&other, 0).await).await?;
    env.eventually("the metric shows that all is well", async || watched(&env.namespace, 1).await).await?;

    // As soon as somebody gives it the rights it works there, too.
    let role: Value = serde_json::from_value(json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": "ProvisioningRole",
        "metadata": {"name": "reader"},
        "spec": {"options": {"createDbUserMode": "Keep"}, "allow": {"dbLabels": {"*": ["*"]}, "dbNames": ["*"]}},
    }))?;
    let roles: Api<ProvisioningRole> = Api::namespaced(Client::clone(&env.client), &other);
    roles.create(&PostParams::default(), &serde_json::from_value(role)?).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(Client::clone(&env.client), &other);
    let bound = serde_json::from_value(binding(&other, &env.namespace)?)?;
    bindings.create(&PostParams::default(), &bound).await?;
    let reconciled =
        async || Ok(roles.get("reader").await?.status.is_some_and(|status| status.users == Some(0)));
    env.eventually("the role there is reconciled", reconciled).await?;
    env.eventually("the metric shows it", async || watched(&other, 1).await).await?;
    let answer = operator.get("/readyz").await?;
    assert!(!answer.contains("no right"), "{answer}");
    Ok(())
}
