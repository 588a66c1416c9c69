//! What every test starts with, whatever its database server is: a namespace, its operators, and the objects in it.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use rolecall_testbed::{Authority, Certificate};
use serde_json::{Value, json};

use crate::cluster;
use crate::log::Log;
use crate::operator::Operator;
use crate::process::Process;

/// The test's own namespace, with its operators.
pub struct BaseEnv {
    /// The operator, while one runs in this process.
    pub operator: Option<Operator>,
    /// The namespace of all objects.
    pub namespace: String,
    /// A client with every right.
    pub client: Client,
    pub(crate) manifests: Manifests,
    flags: Vec<String>,
    filter: String,
    logs: Mutex<Vec<Log>>,
}

/// The objects of a test environment, as most tests want them.
#[derive(Clone, Debug)]
pub(crate) struct Manifests {
    /// `spec` of the DatabaseAdmin `orders`.
    pub(crate) admin: Value,
    /// The database role that the ProvisioningRole `reader` gives.
    pub(crate) db_role: String,
    /// The logical database of sessions.
    pub(crate) database: String,
    /// The database user name of the DatabaseUser `alice`.
    pub(crate) alice: String,
}

/// The certificates with which a server and its clients verify each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust<'a> {
    /// The admin user's.
    pub(crate) admin: &'a Certificate,
    /// Who signs users' certificates.
    pub(crate) users: &'a Authority,
    /// Who signed the server's, as PEM.
    pub(crate) server_ca: &'a str,
}

/// A namespace that no other test has, by its name.
pub(crate) async fn namespace() -> Result<(Client, String)> {
    let client = cluster::client().await?;
    let namespace = format!("e2e-{:08x}", rand::random::<u32>());
    let object = Namespace {
        metadata: ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await?;
    Ok((client, namespace))
}

impl BaseEnv {
    /// A test environment with the Secrets that its DatabaseAdmin names, and nothing else yet.
    pub(crate) async fn new(
        (client, namespace): (Client, String),
        manifests: Manifests,
        trust: Trust<'_>,
        flags: &[String],
        filter: &str,
    ) -> Result<Self> {
        let mut all = vec![
            format!("--watch-namespace={namespace}"),
            "--leader-elect=false".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
        ];
        all.extend(flags.iter().cloned());
        let base = Self {
            operator: None,
            namespace,
            client,
            manifests,
            flags: all,
            filter: filter.to_owned(),
            logs: Mutex::default(),
        };
        let Trust { admin, users, server_ca } = trust;
        base.tls_secret("orders-admin-cert", &admin.cert_pem, &admin.key_pem).await?;
        base.tls_secret("orders-client-ca", users.cert_pem(), users.key_pem()).await?;
        base.apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "orders-ca"},
            "stringData": {"ca.crt": server_ca},
        }))
        .await?;
        Ok(base)
    }

    /// Makes the DatabaseAdmin, the ProvisioningRole and the DatabaseUser.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn make_objects(&self) -> Result<()> {
        self.admin(json!({})).await?;
        self.role("reader", json!({})).await?;
        self.user("alice", json!({"username": self.manifests.alice})).await
    }

    /// Starts the operator of this environment and waits until it works.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start_operator(&mut self) -> Result<()> {
        let operator = self.another_operator(&[]).await?;
        operator.ready().await?;
        self.operator = Some(operator);
        Ok(())
    }

    /// Starts one more operator in this environment, with flags beside the usual ones (the last of a kind counts).
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn another_operator(&self, flags: &[&str]) -> Result<Operator> {
        let operator = Operator::start(&self.flags_with(flags), &self.filter).await?;
        self.keep_log(operator.log());
        Ok(operator)
    }

    /// Starts one more operator in this environment, with another way to the API server or as somebody else.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn operator_by(&self, config: Config, flags: &[&str]) -> Result<Operator> {
        let operator = Operator::start_with(config, &self.flags_with(flags), &self.filter)?;
        self.keep_log(operator.log());
        Ok(operator)
    }

    /// Starts the real program in this environment.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub async fn process(&self, flags: &[&str]) -> Result<Process> {
        self.process_with(flags, &[]).await
    }

    /// As [`BaseEnv::process`], with environment variables.
    ///
    /// # Errors
    /// As [`BaseEnv::process`].
    pub async fn process_with(&self, flags: &[&str], variables: &[(&str, &str)]) -> Result<Process> {
        let process = Process::start(&self.flags_with(flags), variables).await?;
        self.keep_log(process.log());
        Ok(process)
    }

    /// The operator ends at once, whatever it is doing.
    pub async fn crash_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.crash().await;
        }
    }

    /// The operator ends in order.
    ///
    /// # Errors
    /// What it ended with.
    pub async fn stop_operator(&mut self) -> Result<()> {
        match self.operator.take() {
            Some(operator) => operator.stop().await,
            None => Ok(()),
        }
    }

    /// What all operators of this environment wrote.
    pub fn log(&self) -> String {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter().map(Log::text).collect::<Vec<_>>().join("\n-- the next operator --\n")
    }

    /// The manifest of the DatabaseAdmin `orders`, as most tests want it.
    pub fn admin_manifest(&self) -> Value {
        json!({
            "apiVersion": "rolecall.dev/v1alpha1",
            "kind": "DatabaseAdmin",
            "metadata": {"name": "orders", "labels": {"env": "prod"}},
            "spec": self.manifests.admin,
        })
    }

    fn flags_with(&self, more: &[&str]) -> Vec<String> {
        let mut flags = self.flags.clone();
        for flag in more {
            // Flags that are not lists may occur only once.
            let name = flag.split('=').next().unwrap_or_default();
            flags.retain(|known| known.split('=').next() != Some(name));
            flags.push((*flag).to_owned());
        }
        flags
    }

    fn keep_log(&self, log: &Log) {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).push(log.clone());
    }

    /// Makes a Secret of type `kubernetes.io/tls`.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn tls_secret(&self, name: &str, certificate: &str, key: &str) -> Result<()> {
        self.apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name},
            "stringData": {"tls.crt": certificate, "tls.key": key},
        }))
        .await
        .map(drop)
    }
}

impl std::fmt::Debug for BaseEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaseEnv").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Drop for BaseEnv {
    fn drop(&mut self) {
        // A worker that panicked is started again, so only the log shows it.
        let panicked = self.log().contains("a worker died");
        assert!(!panicked || std::thread::panicking(), "a reconciler panicked:\n{}", self.log());
    }
}
