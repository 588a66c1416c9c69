//! An operator that has nothing to do does nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, DbObjectImportRule, ProvisioningRole};
use rolecall_tests::World;
use rolecall_tests::objects::Kind;
use serde_json::json;

/// Shorter than the resync interval.
const QUIET: Duration = Duration::from_secs(20);
/// Longer than anything that follows a change by a while.
const SETTLED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn an_idle_operator_writes_nothing_and_asks_the_database_nothing() -> Result<()> {
    let world = World::start().await?;
    world.role("broken", json!({"allow": {"dbLabelsExpression": "labels["}})).await?;
    world.user("bob", json!({"roles": ["broken"]})).await?;
    world.session("live", json!({})).await?;
    world.session("timed", json!({"ttl": "1h"})).await?;
    world.session("ended", json!({"ttl": "1s"})).await?;
    world.session("waits", json!({"user": "bob"})).await?;
    world.session("deleted", json!({"databaseName": "app2"})).await?;
    world.active("live").await?;
    world.active("timed").await?;
    world.active("deleted").await?;
    world.pending("waits", "RoleInvalid").await?;
    world.delete_and_wait::<DatabaseSession>("deleted").await?;
    world.ended("ended", rolecall_api::EndReason::Expired).await?;
    tokio::time::sleep(SETTLED).await;

    let (objects, work) = (versions(&world).await?, work(&world).await?);
    tokio::time::sleep(QUIET).await;
    assert_eq!(versions(&world).await?, objects);
    assert_eq!(self::work(&world).await?, work, "looks and statements");
    Ok(())
}

/// Resource versions of everything in the namespace that the operator could write.
async fn versions(world: &World) -> Result<BTreeMap<String, String>> {
    async fn of<K: Kind>(world: &World, into: &mut BTreeMap<String, String>) -> Result<()> {
        for object in world.list::<K>().await? {
            into.insert(
                format!("{} {}", K::kind(&()), object.name_any()),
                object.resource_version().unwrap_or_default(),
            );
        }
        Ok(())
    }
    let mut found = BTreeMap::new();
    of::<DatabaseAdmin>(world, &mut found).await?;
    of::<DatabaseSession>(world, &mut found).await?;
    of::<DatabaseUser>(world, &mut found).await?;
    of::<DbObjectImportRule>(world, &mut found).await?;
    of::<ProvisioningRole>(world, &mut found).await?;
    of::<Secret>(world, &mut found).await?;
    of::<Event>(world, &mut found).await?;
    Ok(found)
}

/// What the operator counts of its own work.
async fn work(world: &World) -> Result<Vec<String>> {
    let metrics = world.operator.as_ref().context("an operator")?.get("/metrics").await?;
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
