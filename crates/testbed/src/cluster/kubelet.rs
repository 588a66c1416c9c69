//! What of a node there is: Pods that do not run, and whose ports lead to servers of this machine.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;

use super::Cluster;
use crate::account::Account;
use crate::components;
use crate::error::{Error, Result};
use crate::ports;
use crate::process::{Program, Spec};

const START_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// The node's name.
const NODE: &str = "testbed";

/// The kubelet's part in forwarding ports, as container runtimes have it.
#[derive(Debug)]
pub(super) struct Kubelet {
    _program: Program,
    targets: String,
}

impl Cluster {
    /// Makes a Pod that counts as running and ready, and whose port leads to a port of this machine: the API server
    /// forwards it. Its namespace needs no service account. `labels` and `port` are the Pod's own; `hostname` is its name.
    ///
    /// # Errors
    /// When a component cannot be built, or the API server refuses the Pod.
    pub async fn pod(
        &self,
        namespace: &str,
        name: &str,
        labels: serde_json::Value,
        port: u16,
        leads_to: u16,
    ) -> Result<()> {
        self.lead_pod_to(namespace, name, port, leads_to).await?;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
                             "metadata": {"name": "default", "namespace": namespace}});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {
                "nodeName": NODE, "hostname": name, "automountServiceAccountToken": false,
                "containers": [{"name": "server", "image": "server", "ports": [{"containerPort": port}]}],
            },
        });
        self.apply(&account.to_string()).await?;
        self.apply(&pod.to_string()).await?;
        let status = json!({"status": {
            "phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        self.patch_status(&["pod", name, "--namespace", namespace], &status).await
    }

    /// Lets a port of a Pod lead to another port of this machine, from the next connection on.
    ///
    /// # Errors
    /// When the kubelet cannot be built or started.
    pub async fn lead_pod_to(&self, namespace: &str, name: &str, port: u16, leads_to: u16) -> Result<()> {
        let mut slot = self.kubelet.lock().await;
        let kubelet = match slot.as_mut() {
            Some(kubelet) => kubelet,
            None => slot.insert(self.launch_kubelet().await?),
        };
        // The last line that fits is the one that counts, and the file is replaced as a whole.
        let _ = writeln!(kubelet.targets, "{namespace}/{name}:{port}=127.0.0.1:{leads_to}");
        let (path, new) = (self.path("targets"), self.path("targets.new"));
        fs::write(&new, &kubelet.targets).map_err(Error::io("writing", new.as_ref()))?;
        fs::rename(&new, &path).map_err(Error::io("writing", path.as_ref()))
    }

    async fn launch_kubelet(&self) -> Result<Kubelet> {
        let built = tokio::task::spawn_blocking(components::kubelet).await;
        let binary = built
            .map_err(|error| Error::Build { component: "kubelet".to_owned(), detail: error.to_string() })??;
        let mut attempts = 0;
        let (program, port) = loop {
            attempts += 1;
            let port = ports::free()?;
            let program = Program::start(Spec {
                name: "kubelet",
                program: &binary,
                args: vec![port.to_string(), self.path("targets")],
                env: vec![("HOME", self.path(""))],
                dir: self.directory(),
                log: self.log_path("kubelet"),
                account: Account::Own,
                end_signal: "KILL",
            })?;
            match listening(&program, port).await {
                Ok(()) => break (program, port),
                Err(Error::Start { log, .. }) if log.contains("address already in use") && attempts < 10 => {}
                Err(error) => return Err(error),
            }
        };
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
        self.apply(&node.to_string()).await?;
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }});
        self.patch_status(&["node", NODE], &status).await?;
        Ok(Kubelet { _program: program, targets: String::new() })
    }

    async fn patch_status(&self, object: &[&str], status: &serde_json::Value) -> Result<()> {
        let patch = status.to_string();
        let how = ["--subresource", "status", "--type", "merge", "--patch", &patch];
        self.kubectl(&[&["patch"][..], object, &how].concat()).await.map(drop)
    }
}

/// Waits until the kubelet listens.
async fn listening(program: &Program, port: u16) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if !program.is_running() {
            return Err(program.failure("ended while starting"));
        }
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(program.failure("was not ready in time"));
        }
        tokio::time::sleep(POLL).await;
    }
}
