//! An operator that has nothing to do does nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, DbObjectImportRule, ProvisioningRole};
use rolecall_tests::TestEnv;
use rolecall_tests::objects::Kind;
use serde_json::json;

/// Shorter than the resync interval.
const QUIET: Duration = Duration::from_secs(20);
/// Longer than anything that follows a change by a while.
const SETTLED: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_idle_operator_writes_nothing_and_asks_the_database_nothing() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("broken", json!({"allow": {"dbLabelsExpression": "labels["}})).await?;
    env.user("bob", json!({"roles": ["broken"]})).await?;
    env.session("live", json!({})).await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.session("ended", json!({"ttl": "1s"})).await?;
    env.session("waits", json!({"user": "bob"})).await?;
    env.session("deleted", json!({"databaseName": "app2"})).await?;
    env.active("live").await?;
    env.active("timed").await?;
    env.active("deleted").await?;
    env.pending("waits", "RoleInvalid").await?;
    env.delete_and_wait::<DatabaseSession>("deleted").await?;
    env.ended("ended", rolecall_api::EndReason::Expired).await?;
    tokio::time::sleep(SETTLED).await;

    let (objects, work) = (versions(&env).await?, work(&env).await?);
    tokio::time::sleep(QUIET).await;
    assert_eq!(versions(&env).await?, objects);
    assert_eq!(self::work(&env).await?, work, "reconciles and statements");
    Ok(())
}

/// Resource versions of everything in the namespace that the operator could write.
async fn versions(env: &TestEnv) -> Result<BTreeMap<String, String>> {
    async fn of<K: Kind>(env: &TestEnv, into: &mut BTreeMap<String, String>) -> Result<()> {
        for object in env.list::<K>().await? {
            into.insert(
                format!("{} {}", K::kind(&()), object.name_any()),
                object.resource_version().unwrap_or_default(),
            );
        }
        Ok(())
    }
    let mut found = BTreeMap::new();
    of::<DatabaseAdmin>(env, &mut found).await?;
    of::<DatabaseSession>(env, &mut found).await?;
    of::<DatabaseUser>(env, &mut found).await?;
    of::<DbObjectImportRule>(env, &mut found).await?;
    of::<ProvisioningRole>(env, &mut found).await?;
    of::<Secret>(env, &mut found).await?;
    of::<Event>(env, &mut found).await?;
    Ok(found)
}

/// What the operator counts of its own work.
async fn work(env: &TestEnv) -> Result<Vec<String>> {
    let metrics = env.operator.as_ref().context("an operator")?.get("/metrics").await?;
    let counts =
        ["rolecall_reconcile_total", "rolecall_server_statements_total", "rolecall_server_round_trips_total"];
    let found: Vec<String> = metrics
        .lines()
        .filter(|line| counts.iter().any(|name| line.starts_with(name)))
        .map(str::to_owned)
        .collect();
    anyhow::ensure!(found.len() > counts.len(), "the metrics lack what is compared:\n{metrics}");
    Ok(found)
}
