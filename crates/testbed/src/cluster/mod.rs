//! A real Kubernetes API server with etcd, without nodes.

mod kubeconfig;
mod kubectl;
mod kubelet;
mod probe;
mod programs;
mod snapshot;
mod version;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::json;
use tokio::sync::{Mutex, OnceCell};

pub use kubeconfig::Identity;
pub use version::KubernetesVersion;

use crate::account::Account;
use crate::certificates::{Authority, Certificate, ClientOptions};
use crate::components::{self, Kubernetes};
use crate::error::{Error, Result};
use crate::ports;
use crate::process::Program;
use crate::scratch::Scratch;

/// A running API server with RBAC, with its etcd and, unless left out, a controller manager.
///
/// There is no scheduler, and of a kubelet only what forwards ports ([`Cluster::pod`]): pods are stored and never run. The
/// controller manager finishes the deletion
/// of namespaces and collects garbage (owner references) and does nothing else. Everything stops, and its directory
/// goes, when this value is dropped or the process dies.
#[derive(Debug)]
pub struct Cluster {
    port: u16,
    authority: Authority,
    admin: Certificate,
    kubernetes: Kubernetes,
    etcd_binary: PathBuf,
    controllers: Vec<String>,
    apiserver_flags: Vec<String>,
    controller_manager: Mutex<Option<Program>>,
    kubelet: Mutex<Option<kubelet::Kubelet>>,
    apiserver: Mutex<Option<Program>>,
    etcd: Mutex<Option<Program>>,
    // Dropped last: the directory goes when the programs have ended.
    dir: Scratch,
}

/// A cluster that is about to be started.
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    version: Option<KubernetesVersion>,
    controllers: Vec<String>,
    apiserver_flags: Vec<String>,
}

impl ClusterBuilder {
    /// Runs the API server of this version, whatever [`KubernetesVersion::VARIABLE`] says.
    pub fn version(mut self, version: KubernetesVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// Runs these controllers; none starts no controller manager, which saves a second and 80 MB, and then deleted
    /// namespaces stay `Terminating` and objects outlive their owners.
    pub fn controllers(mut self, names: &[&str]) -> Self {
        self.controllers = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Gives one more flag to kube-apiserver, for example `--v=2`.
    pub fn apiserver_flag(mut self, flag: &str) -> Self {
        self.apiserver_flags.push(flag.to_owned());
        self
    }

    /// Starts the cluster and waits until the API server is ready.
    ///
    /// # Errors
    /// When a component cannot be built or does not start.
    pub async fn start(self) -> Result<Cluster> {
        let prepared = tokio::task::spawn_blocking(move || self.prepare()).await;
        // The closure does not panic, and the runtime cancels blocking tasks only while it shuts down.
        let mut cluster = prepared.map_err(|error| Error::Build {
            component: "Kubernetes".to_owned(),
            detail: error.to_string(),
        })??;
        cluster.launch().await?;
        Ok(cluster)
    }

    fn prepare(self) -> Result<Cluster> {
        let etcd_binary = components::etcd()?;
        let version = self.version.map_or_else(KubernetesVersion::chosen, Ok);
        let version =
            version.map_err(|detail| Error::Build { component: "Kubernetes".to_owned(), detail })?;
        let kubernetes = Kubernetes::prepare(version)?;
        let dir = Scratch::new("cluster", Account::Own)?;
        let authority = Authority::new("Rolecall test cluster CA")?;
        let admin =
            authority.client_with("admin", &ClientOptions::default().organization("system:masters"))?;
        let names = ["localhost", "127.0.0.1", "::1", "kubernetes.default.svc"];
        let server = authority.server(&names)?;
        // Any key will do to sign the tokens of service accounts.
        let tokens = authority.client("service-accounts")?;
        let files = [
            ("ca.crt", authority.cert_pem()),
            ("server.crt", &server.cert_pem),
            ("server.key", &server.key_pem),
            ("service-accounts.crt", &tokens.cert_pem),
            ("service-accounts.key", &tokens.key_pem),
        ];
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::write(&path, text).map_err(Error::io("writing", &path))?;
        }
        Ok(Cluster {
            port: ports::free()?,
            authority,
            admin,
            kubernetes,
            etcd_binary,
            controllers: self.controllers,
            apiserver_flags: self.apiserver_flags,
            controller_manager: Mutex::new(None),
            kubelet: Mutex::new(None),
            apiserver: Mutex::new(None),
            etcd: Mutex::new(None),
            dir,
        })
    }
}

impl Cluster {
    /// A cluster with settings of your own.
    pub fn builder() -> ClusterBuilder {
        let controllers = ["namespace-controller", "garbage-collector-controller"];
        let controllers = controllers.map(str::to_owned).to_vec();
        ClusterBuilder { version: None, controllers, apiserver_flags: Vec::new() }
    }

    /// Starts a cluster with the testbed's settings.
    ///
    /// # Errors
    /// When a component cannot be built or does not start.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// One cluster for all tests of the process, started on first use. Give each test its own namespace.
    ///
    /// # Errors
    /// When the cluster does not start; the next call tries again.
    pub async fn shared() -> Result<&'static Self> {
        // Never dropped; the programs end because the process does.
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// `https://127.0.0.1:PORT`. It stays the same over restarts of the API server.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The CA certificate, as PEM, that the API server's certificate is verified with.
    pub fn ca_pem(&self) -> &str {
        self.authority.cert_pem()
    }

    /// The path of a kubeconfig with every right (group `system:masters`).
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("admin.kubeconfig")
    }

    /// The text of a kubeconfig for this identity.
    ///
    /// # Errors
    /// When no key can be made, or a service account's token cannot be had.
    pub async fn kubeconfig_for(&self, identity: &Identity) -> Result<String> {
        kubeconfig::text(self, identity).await
    }

    /// Writes the kubeconfig of [`Cluster::kubeconfig_for`] into a file of the cluster's directory.
    ///
    /// # Errors
    /// As [`Cluster::kubeconfig_for`], and when the file cannot be written.
    pub async fn kubeconfig_file_for(&self, identity: &Identity) -> Result<PathBuf> {
        let text = self.kubeconfig_for(identity).await?;
        let named = tempfile::Builder::new()
            .suffix(".kubeconfig")
            .tempfile_in(self.dir.path())
            .map_err(Error::io("creating a file in", self.dir.path()))?;
        // The cluster's directory removes it.
        let (_, path) = named.keep().map_err(|error| Error::io("keeping", self.dir.path())(error.error))?;
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
        Ok(path)
    }

    /// The path of the kubectl that belongs to the API server.
    pub fn kubectl_path(&self) -> PathBuf {
        self.kubernetes.kubectl()
    }

    /// Runs kubectl with every right and returns what it wrote to its standard output.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        kubectl::run(&self.kubectl_path(), &self.kubeconfig(), args, "").await
    }

    /// Applies manifests (YAML or JSON) on the server side, with every right.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn apply(&self, manifests: &str) -> Result<String> {
        let args = ["apply", "--server-side", "-f", "-"];
        kubectl::run(&self.kubectl_path(), &self.kubeconfig(), &args, manifests).await
    }

    /// Writes what the controller of Jobs would when the Pod of a Job has ended: there is none here.
    ///
    /// # Errors
    ///
    /// When there is no such Job.
    pub async fn end_job(&self, namespace: &str, name: &str, succeeds: bool) -> Result<()> {
        let time = "2026-01-01T00:00:00Z";
        let kinds = if succeeds { ["SuccessCriteriaMet", "Complete"] } else { ["FailureTarget", "Failed"] };
        let conditions = kinds.map(
            |kind| json!({"type": kind, "status": "True", "lastTransitionTime": time, "lastProbeTime": time}),
        );
        let mut status = json!({"startTime": time, "conditions": conditions, "uncountedTerminatedPods": {}});
        if succeeds {
            status["succeeded"] = 1.into();
            status["completionTime"] = time.into();
        } else {
            status["failed"] = 1.into();
        }
        let patch = json!({"status": status}).to_string();
        let job = ["patch", "job", name, "--namespace", namespace];
        let patch = ["--subresource", "status", "--type", "merge", "--patch", &patch];
        self.kubectl(&[&job[..], &patch[..]].concat()).await.map(drop)
    }

    /// Kills the API server; etcd and the controller manager stay.
    pub async fn kill_api_server(&self) {
        if let Some(program) = self.apiserver.lock().await.take() {
            program.end(Signal::KILL, false, programs::STOP_TIMEOUT).await;
        }
    }

    /// Starts the API server again after [`Cluster::kill_api_server`], on the same port with the same objects.
    ///
    /// # Errors
    /// When it does not start, for example because the port was taken meanwhile.
    pub async fn start_api_server(&self) -> Result<()> {
        let mut slot = self.apiserver.lock().await;
        if slot.as_ref().is_some_and(Program::is_running) {
            return Ok(());
        }
        *slot = None;
        *slot = Some(self.launch_apiserver().await?);
        Ok(())
    }

    /// Replaces the API server by one of another version, as an upgrade of the cluster does: on the same port, with the
    /// same objects.
    ///
    /// # Errors
    /// When it cannot be built or does not start.
    pub async fn replace_api_server(&mut self, version: KubernetesVersion) -> Result<()> {
        let prepared = tokio::task::spawn_blocking(move || Kubernetes::prepare(version)).await;
        self.kubernetes = prepared.map_err(|error| Error::Build {
            component: "Kubernetes".to_owned(),
            detail: error.to_string(),
        })??;
        self.kill_api_server().await;
        self.start_api_server().await
    }

    /// Freezes the API server: connections are accepted by the kernel and never answered.
    pub async fn pause_api_server(&self) {
        if let Some(program) = self.apiserver.lock().await.as_ref() {
            program.pause().await;
        }
    }

    /// Ends a [`Cluster::pause_api_server`].
    pub async fn unpause_api_server(&self) {
        if let Some(program) = self.apiserver.lock().await.as_ref() {
            program.unpause();
        }
    }

    /// What the API server, etcd and the controller manager have logged so far, in this order.
    pub fn logs(&self) -> String {
        let read = |name: &str| fs::read(self.log_path(name)).unwrap_or_default();
        let texts = ["kube-apiserver", "etcd", "kube-controller-manager"].map(read);
        texts.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect()
    }

    fn log_path(&self, program: &str) -> PathBuf {
        self.dir.path().join(format!("{program}.log"))
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn directory(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // From the outside in: nobody should wait for a peer that is already gone.
        drop(self.controller_manager.get_mut().take());
        drop(self.kubelet.get_mut().take());
        drop(self.apiserver.get_mut().take());
        drop(self.etcd.get_mut().take());
    }
}
