//! The operator with the rights that the Helm chart gives it, and nothing more.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use rolecall_api::{DatabaseAdmin, DatabaseSession};
use rolecall_testbed::components::charts;
use rolecall_testbed::{Identity, environment};
use rolecall_tests::{TestEnv, cluster};
use serde_json::{Value, json};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/rolecall");

/// The service account, the roles and the bindings of a release in the namespace of a test.
async fn rights(env: &TestEnv, values: &Value) -> Result<Vec<Value>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("values.json");
    std::fs::write(&file, values.to_string())?;
    let output = Command::new(charts::helm_4()?)
        .args(["template", "release", CHART, "--namespace", &env.namespace, "--values"])
        .arg(&file)
        // Cluster roles are the release's alone.
        .args(["--set", &format!("fullnameOverride=r-{}", env.namespace)])
        .args(["--set", "crds.enabled=false,rbac.aggregateRoles=false,serviceAccount.name=operator"])
        .env_clear()
        .envs(environment(dir.path()))
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let documents = text.trim_start_matches("---\n").split("\n---\n");
    let objects: Vec<Value> = documents
        .map(serde_saphyr::from_str)
        .collect::<std::result::Result<_, _>>()
        .context("reading YAML")?;
    let kinds = ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];
    Ok(objects.into_iter().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind)).collect())
}

/// A test environment whose operator has the rights of a release with these values.
async fn env(values: impl Fn(&str) -> Value) -> Result<TestEnv> {
    let mut env = TestEnv::builder().without_operator().start().await?;
    let rights = rights(&env, &values(&env.namespace)).await?;
    for object in rights {
        cluster::cluster().await?.apply(&object.to_string()).await?;
    }
    let identity = Identity::service_account(&env.namespace, "operator");
    let operator = env.operator_by(cluster::config_of(&identity).await?, &[])?;
    operator.ready().await?;
    env.operator = Some(operator);
    Ok(env)
}

async fn assert_that_it_does_its_work(env: &TestEnv) -> Result<()> {
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn the_rights_in_one_namespace_are_enough() -> Result<()> {
    assert_that_it_does_its_work(&env(|namespace| json!({"watchNamespaces": [namespace]})).await?).await
}

#[tokio::test]
async fn the_right_to_the_secrets_of_a_namespace_is_enough() -> Result<()> {
    let values = |namespace: &str| json!({"rbac": {"secrets": {"namespaces": [namespace]}}});
    assert_that_it_does_its_work(&env(values).await?).await
}

#[tokio::test]
async fn without_the_right_to_secrets_nothing_starts_and_the_reason_is_reported() -> Result<()> {
    let env = env(|_| json!({})).await?;
    env.session("alice-orders", json!({})).await?;
    let reported = async || {
        let admin: DatabaseAdmin = env.get("orders").await?;
        let conditions = admin.status.unwrap_or_default().conditions;
        Ok(conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.message.contains("secrets")))
    };
    env.eventually("the DatabaseAdmin says which right is missing", reported).await?;
    Ok(())
}
