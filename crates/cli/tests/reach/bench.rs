//! A namespace of the cluster with a server behind a Service, and whoever starts sessions there.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rolecall_testbed::components::clients;
use rolecall_testbed::{Authority, Cluster, Identity, environment};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) struct Bench {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: &'static str,
    pub(crate) bin: TempDir,
    host: String,
    port: u16,
}

/// What a session is answered with.
#[derive(Clone)]
pub(crate) struct Answer {
    /// Who the user is in the database.
    pub(crate) username: &'static str,
    /// Certificate and key of the CA that signs for users.
    pub(crate) signer: Option<(String, String)>,
    /// What the server's certificate is checked against.
    pub(crate) authorities: Option<String>,
    /// How long certificates are valid, in seconds.
    pub(crate) valid: i64,
    /// The Secret that it names.
    pub(crate) secret: Option<&'static str>,
    /// Whether certificates that were given are replaced at once.
    pub(crate) renew: bool,
}

impl Answer {
    pub(crate) fn nothing() -> Self {
        Self { username: "alice", signer: None, authorities: None, valid: 3_600, secret: None, renew: false }
    }

    pub(crate) fn signed(signer: &Authority, authorities: &str) -> Self {
        let signer = Some((signer.cert_pem().to_owned(), signer.key_pem().to_owned()));
        Self { signer, authorities: Some(authorities.to_owned()), ..Self::nothing() }
    }

    fn status(&self, session: &Value, host: &str, port: u16) -> Value {
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        let certificate = match (&self.signer, session["spec"]["certificateRequest"].as_str()) {
            (Some((certificate, key)), Some(request)) => {
                let request = BASE64_STANDARD.decode(request).expect("base64");
                encode(&self.sign(&String::from_utf8_lossy(&request), certificate, key))
            }
            _ => "Q0VSVElGSUNBVEU=".to_owned(),
        };
        json!({"status": {
            "phase": "Active", "username": self.username, "certificate": certificate,
            "credentialsSecretRef": self.secret.map(|name| json!({"name": name})),
            "connection": {"host": host, "port": port, "database": session["spec"]["databaseName"],
                           "caBundle": self.authorities.as_deref().map(encode)},
        }})
    }

    fn sign(&self, request: &str, certificate: &str, key: &str) -> String {
        let key = KeyPair::from_pem(key).expect("it is a key");
        let issuer = Issuer::from_ca_cert_pem(certificate, key).expect("it is a CA");
        let mut request = CertificateSigningRequestParams::from_pem(request).expect("it is a request");
        request.params.distinguished_name.push(DnType::CommonName, self.username);
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = time::OffsetDateTime::now_utc();
        request.params.not_before = now - time::Duration::DAY;
        request.params.not_after = now + time::Duration::seconds(self.valid);
        request.signed_by(&issuer).expect("it is signed").pem()
    }
}

impl Bench {
    /// A namespace with a DatabaseAdmin at this address.
    pub(crate) async fn new(namespace: &'static str, protocol: &str, uri: &str) -> Self {
        let cluster = Cluster::shared().await.expect("the cluster starts");
        Self::on(cluster, namespace, protocol, uri).await
    }

    /// As [`Bench::new`], on a cluster of one's own.
    pub(crate) async fn on(
        cluster: &'static Cluster,
        namespace: &'static str,
        protocol: &str,
        uri: &str,
    ) -> Self {
        static KINDS: OnceCell<()> = OnceCell::const_new();
        let install = || async {
            let kinds = rolecall_api::crds_yaml().expect("the definitions can be written");
            cluster.apply(&kinds).await.expect("they apply");
            let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
            cluster.kubectl(&wait).await.expect("they are taken up");
        };
        if std::ptr::eq(cluster, Cluster::shared().await.expect("the cluster starts")) {
            KINDS.get_or_init(install).await;
        } else {
            install().await;
        }
        let manifests = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}
---
{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseUser, metadata: {{name: alice, namespace: {namespace}}}, spec: {{}}}}
---
{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseAdmin, metadata: {{name: orders, namespace: {namespace}}},
 spec: {{protocol: {protocol}, uri: '{uri}', adminUser: {{name: teleport-admin}},
         auth: {{x509: {{secretRef: {{name: a}}}}}}, userCredentials: {{x509: {{caSecretRef: {{name: b}}}}}}}}}}"
        );
        cluster.apply(&manifests).await.expect("the manifests are valid");
        let (host, port) = uri.split_once(':').unwrap_or_default();
        let (host, port) = (host.to_owned(), port.parse().unwrap_or_default());
        Self { cluster, namespace, host, port, bin: tempfile::tempdir().expect("a directory can be made") }
    }

    /// A program of this name, before any other.
    pub(crate) fn program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.bin.path().join(name);
        std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).expect("the script is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
    }

    /// psql itself.
    pub(crate) async fn psql(&self) {
        self.shell(clients::psql).await;
    }

    /// mongosh itself.
    pub(crate) async fn mongosh(&self) {
        self.shell(clients::mongosh).await;
    }

    async fn shell(&self, write: fn(&Path) -> rolecall_testbed::Result<()>) {
        let bin = self.bin.path().to_owned();
        let written = tokio::task::spawn_blocking(move || write(&bin)).await.expect("it does not panic");
        written.expect("the program can be fetched");
    }

    /// A Service and the part of its endpoints that the endpoint controller writes.
    pub(crate) async fn service(&self, spec: Value, port: u16, pods: &[(&str, bool)]) {
        let namespace = self.namespace;
        let service = json!({"apiVersion": "v1", "kind": "Service",
                             "metadata": {"name": "orders-db", "namespace": namespace}, "spec": spec});
        self.cluster.apply(&service.to_string()).await.expect("the Service is valid");
        let endpoints: Vec<Value> = pods
            .iter()
            .map(|(name, ready)| {
                json!({"addresses": ["10.1.0.1"], "hostname": name, "conditions": {"ready": ready},
                       "targetRef": {"kind": "Pod", "namespace": namespace, "name": name}})
            })
            .collect();
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                           "metadata": {"name": "orders-db-1", "namespace": namespace,
                                        "labels": {"kubernetes.io/service-name": "orders-db"}},
                           "ports": [{"name": "sql", "port": port, "protocol": "TCP"}], "endpoints": endpoints});
        self.cluster.apply(&slice.to_string()).await.expect("the EndpointSlice is valid");
    }

    /// A Service on port 5432 with one Pod, which leads to this port of this machine.
    pub(crate) async fn server(&self, leads_to: u16) {
        self.service(json!({"ports": [{"name": "sql", "port": 5432}]}), 5432, &[("db-0", true)]).await;
        self.pod("db-0", 5432, leads_to).await;
    }

    pub(crate) async fn pod(&self, name: &str, port: u16, leads_to: u16) {
        let labels = json!({"app": "orders-db"});
        self.cluster.pod(self.namespace, name, labels, port, leads_to).await.expect("the Pod is made");
    }

    /// `connect orders` as alice, with these arguments.
    pub(crate) fn connect(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"));
        self.set_up(&mut command, &self.cluster.kubeconfig());
        command.args(args);
        command
    }

    /// The same program with the same arguments, in front of others.
    pub(crate) fn set_up(&self, command: &mut Command, kubeconfig: &Path) {
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["connect", "orders", "--user", "alice", "-n", self.namespace, "--kubeconfig"])
            .arg(kubeconfig)
            .env_clear()
            .envs(environment(self.bin.path()))
            .env("PATH", format!("{}:{path}", self.bin.path().display()))
            .stdin(Stdio::null())
            .kill_on_drop(true);
    }

    /// Its output, while sessions are answered.
    pub(crate) async fn output(&self, args: &[&str], answer: Answer) -> Output {
        let _operator = self.operator(answer);
        timeout(TIMEOUT, self.connect(args).output()).await.expect("it ends in time").expect("it starts")
    }

    /// As somebody else.
    pub(crate) async fn output_as(&self, identity: &Identity, args: &[&str]) -> Output {
        let kubeconfig = self.cluster.kubeconfig_file_for(identity).await.expect("it is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"));
        self.set_up(&mut command, &kubeconfig);
        timeout(TIMEOUT, command.args(args).output()).await.expect("it ends in time").expect("it starts")
    }

    /// Answers every session, in the operator's place, until it is dropped.
    pub(crate) fn operator(&self, answer: Answer) -> AbortOnDropHandle<()> {
        let (cluster, namespace, answer) = (self.cluster, self.namespace, Arc::new(answer));
        let (host, port) = (self.host.clone(), self.port);
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                for session in sessions(cluster, namespace).await {
                    if !answer.renew && session["status"]["phase"] == "Active" {
                        continue;
                    }
                    let name = session["metadata"]["name"].as_str().unwrap_or_default();
                    let status = answer.status(&session, &host, port).to_string();
                    let how = ["--subresource=status", "--type=merge", "-p", &status];
                    // It may have ended meanwhile.
                    let _ =
                        cluster.kubectl(&[&["patch", "dbs", name, "-n", namespace][..], &how].concat()).await;
                }
                sleep(Duration::from_millis(200)).await;
            }
        }))
    }

    pub(crate) async fn sessions(&self) -> usize {
        sessions(self.cluster, self.namespace).await.len()
    }

    /// Ends what a killed `connect` left.
    pub(crate) async fn end_all(&self) {
        let all = ["delete", "dbs", "--all", "-n", self.namespace];
        self.cluster.kubectl(&all).await.expect("they are deleted");
    }

    /// Waits until there is no session any more.
    pub(crate) async fn ended(&self) {
        eventually("the session ends", async || self.sessions().await == 0).await;
    }
}

async fn sessions(cluster: &Cluster, namespace: &str) -> Vec<Value> {
    let list = cluster.kubectl(&["get", "dbs", "-n", namespace, "-o", "json"]).await.unwrap_or_default();
    let list: Value = serde_json::from_str(&list).unwrap_or_default();
    list["items"].as_array().cloned().unwrap_or_default()
}

/// Waits until something is the case.
pub(crate) async fn eventually(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waited = timeout(TIMEOUT, async {
        while !is().await {
            sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: not in time");
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
