//! The testbed's Kubernetes API server: RBAC, namespaces, restarts.

use std::time::{Duration, Instant};

use rolecall_testbed::{Cluster, Error, Identity, Result};

#[tokio::test]
async fn a_cluster_enforces_rbac_and_deletes_namespaces() -> Result<()> {
    let started = Instant::now();
    let cluster = Cluster::start().await?;
    println!("cluster started in {:?}", started.elapsed());
    assert!(cluster.kubectl(&["version"]).await?.contains("Server Version: v1."));

    cluster.kubectl(&["create", "namespace", "one"]).await?;
    cluster.kubectl(&["create", "serviceaccount", "robot", "-n", "one"]).await?;
    for identity in [Identity::user("alice", &["dba"]), Identity::service_account("one", "robot")] {
        let kubeconfig = cluster.kubeconfig_file_for(&identity).await?;
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let error = cluster.kubectl(&[&kubeconfig, "get", "secrets", "-n", "one"]).await.unwrap_err();
        assert!(matches!(&error, Error::Command { stderr, .. } if stderr.contains("forbidden")), "{error}");
    }
    cluster
        .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: kept, namespace: one}, data: {a: b}}")
        .await?;

    cluster.kill_api_server().await;
    assert!(cluster.kubectl(&["get", "namespaces", "--request-timeout=2s"]).await.is_err());
    cluster.start_api_server().await?;
    assert!(cluster.kubectl(&["get", "configmap", "kept", "-n", "one"]).await?.contains("kept"));

    cluster.kubectl(&["delete", "namespace", "one", "--wait=false"]).await?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while cluster.kubectl(&["get", "namespace", "one"]).await.is_ok() {
        assert!(Instant::now() < deadline, "the namespace stays:\n{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
