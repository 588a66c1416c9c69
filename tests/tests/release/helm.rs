//! Real Helm on the cluster of the tests.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use rolecall_testbed::components::charts;
use rolecall_testbed::{Cluster, environment};
use rolecall_tests::cluster;
use tokio::process::Command;

/// The namespace of the release.
pub(crate) const NAMESPACE: &str = "rolecall-system";

/// A version of Helm.
pub(crate) struct Helm {
    program: PathBuf,
    cluster: &'static Cluster,
    home: tempfile::TempDir,
}

impl Helm {
    /// Helm 4.
    pub(crate) async fn four() -> Result<Self> {
        Self::new(charts::helm_4()?).await
    }

    /// Helm 3.
    pub(crate) async fn three() -> Result<Self> {
        Self::new(charts::helm_3()?).await
    }

    async fn new(program: PathBuf) -> Result<Self> {
        Ok(Self { program, cluster: cluster::cluster().await?, home: tempfile::tempdir()? })
    }

    /// What it says; the error is what it says instead.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .args(["--namespace", NAMESPACE])
            .env_clear()
            .envs(environment(self.home.path()))
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| error.to_string())?;
        let [said, error] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        if output.status.success() { Ok(said) } else { Err(error) }
    }

    /// As [`Helm::run`], where it has to succeed.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> Result<()> {
        self.run(arguments).await.map(drop).map_err(|said| anyhow!("helm {arguments:?}: {said}"))
    }
}
