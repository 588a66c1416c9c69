//! The API server with the kinds installed.

use anyhow::{Context, Result};
use kube::api::DynamicObject;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::ApiResource;
use kube::{Api, Client, Config, CustomResourceExt};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, DbObjectImportRule, ProvisioningRole};
use rolecall_testbed::Cluster;
use tokio::sync::OnceCell;

/// The cluster of all tests here, with the definitions, access rules and the namespace `rolecall-system`
/// installed.
pub(crate) async fn cluster() -> Result<&'static Cluster> {
    static INSTALLED: OnceCell<&Cluster> = OnceCell::const_new();
    let install = || async {
        let cluster = Cluster::shared().await?;
        cluster
            .kubectl(&["apply", "--server-side", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")])
            .await?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).await?;
        Ok(cluster)
    };
    INSTALLED.get_or_try_init(install).await.copied()
}

/// A client with every right.
pub(crate) async fn client(cluster: &Cluster) -> Result<Client> {
    // Another test of the process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Objects of a kind in a namespace.
pub(crate) fn api(client: &Client, kind: &str, namespace: &str) -> Result<Api<DynamicObject>> {
    let resource =
        resources().into_iter().find(|resource| resource.kind == kind).context("an unknown kind")?;
    Ok(Api::namespaced_with(client.clone(), namespace, &resource))
}

/// All kinds.
pub(crate) fn resources() -> [ApiResource; 5] {
    [
        DatabaseAdmin::api_resource(),
        DatabaseSession::api_resource(),
        DatabaseUser::api_resource(),
        DbObjectImportRule::api_resource(),
        ProvisioningRole::api_resource(),
    ]
}
