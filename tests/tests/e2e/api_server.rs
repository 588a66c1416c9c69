//! What the API server learns of the operator, and what the operator says of an API server that lacks its kinds.

use std::time::Instant;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rolecall_api::names::FIELD_MANAGER;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser};
use rolecall_testbed::{Cluster, Identity};
use rolecall_tests::operator::FILTER;
use rolecall_tests::{Operator, TIMEOUT, TestEnv, cluster};
use serde_json::json;

/// Who has written an object, by user agent.
fn writers(metadata: &ObjectMeta) -> Vec<&str> {
    let entries = metadata.managed_fields.iter().flatten();
    entries.filter_map(|entry| entry.manager.as_deref()).collect()
}

#[tokio::test]
async fn every_write_is_reported_as_the_operators() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "3s"})).await?;
    env.active("alice-orders").await?;
    let mut written = vec![
        env.get::<DatabaseSession>("alice-orders").await?.metadata,
        env.get::<Secret>("alice-orders").await?.metadata,
        env.get::<DatabaseAdmin>("orders").await?.metadata,
        env.get::<DatabaseUser>("alice").await?.metadata,
    ];
    // An event names no manager by itself: the API server takes the program's name from its User-Agent.
    env.event("alice-orders", "Expired").await?;
    written.extend(env.list::<Event>().await?.into_iter().map(|event| event.metadata));
    for metadata in written {
        let others: Vec<&str> =
            writers(&metadata).into_iter().filter(|name| ![FIELD_MANAGER, "tests"].contains(name)).collect();
        assert!(others.is_empty(), "{:?}: {others:?}", metadata.name);
        assert!(writers(&metadata).contains(&FIELD_MANAGER), "{:?}", metadata.name);
    }
    Ok(())
}

#[tokio::test]
async fn kinds_that_are_not_installed_are_reported_with_what_installs_them() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let empty = Cluster::builder().controllers(&[]).start().await?;
    let config = cluster::config(&empty.kubeconfig_for(&Identity::Admin).await?).await?;
    let flags = ["--leader-elect=false", "--listen=127.0.0.1:0"].map(str::to_owned);
    let operator = Operator::start_with(config, &flags, FILTER)?;
    operator.log().wait_for("the CustomResourceDefinitions are not installed: kubectl apply").await?;
    let deadline = Instant::now() + TIMEOUT;
    // Each kind is checked separately.
    while !operator.get("/readyz").await?.contains("DatabaseAdmin (not installed)") {
        ensure!(Instant::now() < deadline, "{}", operator.get("/readyz").await?);
    }
    assert!(!operator.log().text().contains("page not found"), "{}", operator.log().text());
    // It continues automatically once they are.
    empty.apply(&rolecall_api::crds_yaml()?).await?;
    operator.ready().await?;
    operator.stop().await
}
