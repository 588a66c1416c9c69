//! The cluster of the test binary, and its clients.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rolecall_testbed::{Cluster, Identity, KubernetesVersion};
use tokio::sync::OnceCell;

static KUBERNETES: OnceLock<KubernetesVersion> = OnceLock::new();
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();

/// Makes the cluster of the test binary one of this version. Every test of the binary says so, before anything else.
pub fn use_kubernetes(version: KubernetesVersion) {
    assert_eq!(*KUBERNETES.get_or_init(|| version), version, "one cluster for each test binary");
}

/// The cluster with everything of `deploy/` installed, started by the first test that asks.
///
/// # Errors
/// When a component is missing or something in `deploy/` is refused.
pub async fn cluster() -> Result<&'static Cluster> {
    static INSTALLED: OnceCell<&Cluster> = OnceCell::const_new();
    let install = || async {
        // One TLS provider for all clients of the process; another test may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cluster = match KUBERNETES.get() {
            Some(version) => CLUSTER.get_or_try_init(|| Cluster::builder().version(*version).start()).await?,
            None => Cluster::shared().await?,
        };
        let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
        cluster.kubectl(&["apply", "--server-side", "-k", deploy]).await?;
        let served = cluster.kubectl(&["get", "--raw", "/apis/admissionregistration.k8s.io/v1"]).await?;
        let mutates = served.contains("\"mutatingadmissionpolicies\"");
        if mutates {
            cluster.kubectl(&["apply", "--server-side", "-k", &format!("{deploy}/mutating")]).await?;
        }
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?;
        wait_for_policies(cluster, mutates).await?;
        anyhow::Ok(cluster)
    };
    INSTALLED.get_or_try_init(install).await.copied()
}

/// The API server compiles policies in the background.
async fn wait_for_policies(cluster: &Cluster, mutates: bool) -> Result<()> {
    let file = cluster.kubeconfig().with_file_name("waiting.yaml");
    let path = file.display().to_string();
    let create = ["create", "--dry-run=server", "--output=jsonpath={.spec.requestedBy}", "--filename", &path];
    let answer = async |spec: &str| {
        let session = format!(
            "{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseSession, metadata: {{name: waiting, namespace: default}}, \
             spec: {spec}}}"
        );
        std::fs::write(&file, session)?;
        anyhow::Ok(cluster.kubectl(&create).await)
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let refused = answer("{user: alice, database: orders, requestedBy: somebody else}").await?.is_err();
        let written = answer("{user: alice, database: orders}").await?.is_ok_and(|who| !who.is_empty());
        if refused && written == mutates {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the admission policies have no effect");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A client with every right, for the test itself.
///
/// # Errors
/// When the cluster does not start.
pub async fn client() -> Result<Client> {
    Ok(Client::try_from(config(&std::fs::read_to_string(cluster().await?.kubeconfig())?).await?)?)
}

/// The kubeconfig of the operator: its service account, with the rights of `deploy/` and no others.
///
/// # Errors
/// When the cluster does not start.
pub async fn operator_kubeconfig() -> Result<&'static str> {
    static TEXT: OnceCell<String> = OnceCell::const_new();
    let make = || async {
        let identity = Identity::service_account("rolecall-system", "rolecall-operator");
        anyhow::Ok(cluster().await?.kubeconfig_for(&identity).await?)
    };
    TEXT.get_or_try_init(make).await.map(String::as_str)
}

/// How the operator reaches the API server.
///
/// # Errors
/// When the cluster does not start.
pub async fn operator_config() -> Result<Config> {
    config(operator_kubeconfig().await?).await
}

/// How a user reaches the API server.
///
/// # Errors
/// When the cluster does not start, or there is no such user.
pub async fn config_of(identity: &Identity) -> Result<Config> {
    config(&cluster().await?.kubeconfig_for(identity).await?).await
}

/// How to reach the API server that a kubeconfig names.
///
/// # Errors
/// When it is not a kubeconfig.
pub async fn config(kubeconfig: &str) -> Result<Config> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // The caller's, where the environment names one.
    config.proxy_url = None;
    Ok(config)
}
