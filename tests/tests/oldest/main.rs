//! On the oldest Kubernetes that is supported: `deploy/` is installed, every rule decides as on the newest,
//! and a session runs from its start to its end.
//!
//! An API server bounds what the rules of a definition may cost, and an older one estimates more. `ROLECALL_KUBERNETES`
//! runs all other tests on another version.

#[path = "../admission/cases.rs"]
mod cases;
#[path = "../admission/defaults.rs"]
mod defaults;
#[path = "../admission/kinds.rs"]
mod kinds;
#[path = "../admission/policies/mod.rs"]
mod policies;
#[path = "../admission/rules.rs"]
mod rules;
mod sessions;

use anyhow::Result;
use kube::Client;
use rolecall_testbed::{Cluster, KubernetesVersion};
use rolecall_tests::cluster::{self, use_kubernetes};

/// The cluster, for the tests of this binary.
async fn cluster() -> Result<&'static Cluster> {
    use_kubernetes(KubernetesVersion::OLDEST);
    cluster::cluster().await
}

/// A client with every right.
async fn client() -> Result<Client> {
    cluster().await?;
    cluster::client().await
}

#[tokio::test]
async fn it_is_the_oldest() -> Result<()> {
    let version = client().await?.apiserver_version().await?;
    assert_eq!(version.minor, KubernetesVersion::OLDEST.minor().to_string());
    Ok(())
}
