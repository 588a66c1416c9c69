//! In place of a kubelet: what the Deployment and the Job say is run as a process of the test.

use std::time::Duration;

use anyhow::{Context, Result};
use rolecall_testbed::Identity;
use rolecall_tests::cluster;
use rolecall_tests::process::{Process, run_operator};
use serde_json::Value;
use tokio::time::sleep;

use crate::helm::{Helm, NAMESPACE};

const DEPLOYMENT: [&str; 2] = ["deployment", "rolecall-operator"];
const JOB: [&str; 2] = ["job", "rolecall-operator-uninstall"];

/// The operator of the Deployment.
pub(crate) struct Pods(Option<Process>);

impl Pods {
    /// Starts what the Deployment says, as its service account.
    pub(crate) async fn start() -> Result<Self> {
        let pod = get(DEPLOYMENT).await?.context("a Deployment")?["spec"]["template"]["spec"].clone();
        let mut flags = arguments(&pod)?;
        // The port may be taken, and the test reads the log.
        flags.retain(|flag| !["--listen=", "--log-format="].iter().any(|start| flag.starts_with(start)));
        flags.extend(["--listen=127.0.0.1:0".to_owned(), "--log-format=text".to_owned()]);
        let process = Process::start_as(&kubeconfig(&pod).await?, &flags).await?;
        Ok(Self(Some(process)))
    }

    /// Stops what runs and starts what the Deployment says now.
    pub(crate) async fn replace(&mut self) -> Result<()> {
        self.stop().await?;
        *self = Self::start().await?;
        Ok(())
    }

    pub(crate) fn are_running(&self) -> bool {
        self.0.is_some()
    }

    async fn stop(&mut self) -> Result<()> {
        if let Some(process) = self.0.take() {
            process.stop().await?;
        }
        Ok(())
    }

    /// Stops the operator as soon as its Deployment is gone.
    async fn follow_deployment(&mut self) -> Result<()> {
        while get(DEPLOYMENT).await?.is_some() {
            sleep(Duration::from_millis(100)).await;
        }
        self.stop().await
    }
}

/// Uninstalls the release. Returns what Helm said, and what the Job wrote.
pub(crate) async fn uninstall(
    helm: &Helm,
    pods: &mut Pods,
) -> Result<(std::result::Result<String, String>, String)> {
    // Where Helm fails before there is a Job nobody ends the wait for it.
    let job = tokio::time::timeout(Duration::from_secs(150), run_job());
    let uninstalled = helm.run(&["uninstall", "rolecall", "--timeout", "120s"]);
    let (uninstalled, said) = tokio::join!(uninstalled, job);
    if uninstalled.is_ok() {
        pods.follow_deployment().await?;
    }
    Ok((uninstalled, said.context("there is no Job")??))
}

/// Runs the Job before an uninstall, and says what became of it, as the controller of Jobs would.
async fn run_job() -> Result<String> {
    let job = loop {
        // One of an earlier uninstall has conditions; Helm deletes it first.
        match get(JOB).await? {
            Some(job) if job["status"]["conditions"].is_null() => break job,
            _ => sleep(Duration::from_millis(100)).await,
        }
    };
    let pod = &job["spec"]["template"]["spec"];
    let output = run_operator(&kubeconfig(pod).await?, &arguments(pod)?).await?;
    let succeeds = output.status.success();
    cluster::cluster().await?.end_job(NAMESPACE, JOB[1], succeeds).await?;
    Ok([output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat())
}

async fn get([kind, name]: [&str; 2]) -> Result<Option<Value>> {
    let get = ["get", kind, name, "--namespace", NAMESPACE, "--ignore-not-found", "--output", "json"];
    let found = cluster::cluster().await?.kubectl(&get).await?;
    if found.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&found)?)) }
}

fn arguments(pod: &Value) -> Result<Vec<String>> {
    Ok(serde_json::from_value(pod["containers"][0]["args"].clone())?)
}

/// With the rights of the Pod.
async fn kubeconfig(pod: &Value) -> Result<String> {
    let account = pod["serviceAccountName"].as_str().context("a service account")?;
    let identity = Identity::service_account(NAMESPACE, account);
    Ok(cluster::cluster().await?.kubeconfig_for(&identity).await?)
}
