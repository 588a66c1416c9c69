//! What the API server admits: every rule of the definitions, with manifests that keep it and that break it; and every
//! admission policy, with people who have a right and who lack it.

mod cases;
mod defaults;
mod kinds;
mod policies;
mod rules;

use anyhow::Result;
use kube::Client;
use rolecall_testbed::Cluster;

/// The cluster, for the tests of this binary.
async fn cluster() -> Result<&'static Cluster> {
    rolecall_tests::cluster::cluster().await
}

/// A client with every right.
async fn client() -> Result<Client> {
    rolecall_tests::cluster::client().await
}
