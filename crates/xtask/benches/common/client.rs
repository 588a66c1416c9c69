//! The measuring client, of every benchmark that runs an operator.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rolecall_testbed::{Cluster, Identity};

/// A client with every right, which the API server treats as it treats the operator: administrators never queue.
///
/// # Errors
/// When its rights cannot be given.
pub(crate) async fn client(cluster: &Cluster) -> anyhow::Result<Client> {
    let name = "system:serviceaccount:default:bench";
    let binding = ["create", "clusterrolebinding", "bench", "--clusterrole=cluster-admin", "--user", name];
    cluster.kubectl(&binding).await?;
    let identity = Identity::user(name, &["system:serviceaccounts", "system:serviceaccounts:default"]);
    let config = Kubeconfig::from_yaml(&cluster.kubeconfig_for(&identity).await?)?;
    let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    // The caller's, where the environment names one.
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}
