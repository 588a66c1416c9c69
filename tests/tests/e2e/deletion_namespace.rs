//! Deleting a namespace with everything in it, in one go.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use kube::runtime::wait::await_condition;
use rolecall_tests::World;
use serde_json::json;

/// Kubernetes itself takes five seconds and more.
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_namespace_goes_in_one_go_and_so_do_the_accesses_in_it() -> Result<()> {
    let world = World::start().await?;
    start_sessions(&world).await?;
    delete_namespace(&world).await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_namespace_goes_although_the_server_is_down() -> Result<()> {
    let world = World::builder().flag("--teardown-deadline=2s").start().await?;
    start_sessions(&world).await?;
    world.pg.stop().await;
    delete_namespace(&world).await?;
    ensure!(world.log().contains("abandoned"), "the log does not tell:\n{}", world.log());
    Ok(())
}

#[tokio::test]
async fn a_namespace_goes_with_objects_that_never_worked() -> Result<()> {
    let world = World::start().await?;
    world.session("no-user", json!({"user": "nobody"})).await?;
    world.session("no-database", json!({"database": "none"})).await?;
    world.session("no-role", json!({"dbRoles": ["root"]})).await?;
    world.pending("no-user", "UserNotFound").await?;
    delete_namespace(&world).await
}

async fn start_sessions(world: &World) -> Result<()> {
    world.session("timed", json!({"ttl": "1h"})).await?;
    world.session("standing", json!({})).await?;
    world.active("timed").await?;
    world.active("standing").await?;
    Ok(())
}

/// Deletes the namespace with everything in it, and does not wait.
pub(crate) async fn begin_deletion(world: &World) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await?;
    Ok(())
}

async fn delete_namespace(world: &World) -> Result<()> {
    begin_deletion(world).await?;
    is_deleted(world).await
}

/// Waits until the namespace is gone.
pub(crate) async fn is_deleted(world: &World) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let gone =
        await_condition(namespaces.clone(), &world.namespace, |found: Option<&Namespace>| found.is_none());
    if tokio::time::timeout(TIMEOUT, gone).await.is_err() {
        let left = namespaces.get(&world.namespace).await?;
        anyhow::bail!("the namespace stays: {:?}\n-- log --\n{}", left.status, world.log());
    }
    Ok(())
}
