//! Deleting a namespace with everything in it, in one go.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use kube::runtime::wait::await_condition;
use rolecall_tests::TestEnv;
use serde_json::json;

/// Kubernetes itself takes five seconds and more.
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_namespace_goes_in_one_go_and_so_do_the_accesses_in_it() -> Result<()> {
    let env = TestEnv::start().await?;
    start_sessions(&env).await?;
    delete_namespace(&env).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_namespace_goes_although_the_server_is_down() -> Result<()> {
    let env = TestEnv::builder().flag("--teardown-deadline=2s").start().await?;
    start_sessions(&env).await?;
    env.pg.stop().await;
    delete_namespace(&env).await?;
    ensure!(env.log().contains("abandoned"), "it is not in the log:\n{}", env.log());
    Ok(())
}

#[tokio::test]
async fn a_namespace_goes_with_objects_that_never_worked() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("no-user", json!({"user": "nobody"})).await?;
    env.session("no-database", json!({"database": "none"})).await?;
    env.session("no-role", json!({"dbRoles": ["root"]})).await?;
    env.pending("no-user", "UserNotFound").await?;
    delete_namespace(&env).await
}

async fn start_sessions(env: &TestEnv) -> Result<()> {
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.session("standing", json!({})).await?;
    env.active("timed").await?;
    env.active("standing").await?;
    Ok(())
}

/// Deletes the namespace with everything in it, and does not wait.
pub(crate) async fn begin_deletion(env: &TestEnv) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(env.client.clone());
    namespaces.delete(&env.namespace, &DeleteParams::default()).await?;
    Ok(())
}

pub(crate) async fn delete_namespace(env: &TestEnv) -> Result<()> {
    begin_deletion(env).await?;
    is_deleted(env).await
}

/// Waits until the namespace is gone.
pub(crate) async fn is_deleted(env: &TestEnv) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(env.client.clone());
    let gone =
        await_condition(namespaces.clone(), &env.namespace, |found: Option<&Namespace>| found.is_none());
    if tokio::time::timeout(TIMEOUT, gone).await.is_err() {
        let left = namespaces.get(&env.namespace).await?;
        anyhow::bail!("the namespace stays: {:?}\n-- log --\n{}", left.status, env.log());
    }
    Ok(())
}
