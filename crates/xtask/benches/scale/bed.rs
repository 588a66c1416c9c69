//! The servers, the operator, and the objects that are there before any session.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use rolecall_testbed::{Cluster, KubernetesVersion, components};
use rolecall_xtask::measure;
use rolecall_xtask::operator::{self, Operator, Profile};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client;
use crate::server::{Engine, Server};
use crate::{Args, Credentials};

/// Where everything is.
pub(crate) const NAMESPACE: &str = "bench-scale";
/// Where the sessions of the bare client are, which the operator does not watch.
pub(crate) const FLOOR_NAMESPACE: &str = "bench-floor";
/// Servers that are being started at the same time.
const STARTING: usize = 4;

const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Everything that runs, in the order in which it is stopped.
pub(crate) struct Bed {
    operator: Option<Operator>,
    launch: Launch,
    pub(crate) cluster: Cluster,
    pub(crate) engine: Engine,
    pub(crate) credentials: Credentials,
    pub(crate) servers: Vec<Server>,
    /// The measuring client. Its requests queue at the API server beside those of the operator, in the same class.
    pub(crate) client: Client,
    /// A certificate request, in base64.
    pub(crate) request: String,
    _dir: TempDir,
}

/// How the operator is started.
struct Launch {
    binary: PathBuf,
    kubeconfig: PathBuf,
    log_file: PathBuf,
    log: String,
    variables: Vec<(String, String)>,
}

/// Builds or fetches what is missing.
pub(crate) fn prepare(engines: &[Engine], built: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    engines.iter().try_for_each(|engine| engine.prepare())?;
    components::etcd()?;
    components::Kubernetes::prepare(KubernetesVersion::NEWEST)?;
    built.map_or_else(|| operator::build(Profile::Release), Ok)
}

impl Bed {
    pub(crate) async fn set(args: &Args, engine: Engine, binary: &Path) -> anyhow::Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("rolecall-bench-").tempdir().context("making a directory")?;
        let count = if engine == Engine::Redshift { 1 } else { args.servers.max(1) };
        let starting = stream::iter(0..count).map(|_| Server::start(engine)).buffered(STARTING);
        let servers: Vec<Server> = starting.try_collect().await?;
        // No controller manager: then all requests are the operator's, ours, or the API server's own.
        let cluster = Cluster::builder().controllers(&[]).start().await?;
        let deploy = rolecall_xtask::root().join("deploy").display().to_string();
        cluster.kubectl(&["apply", "--server-side", "-k", &deploy]).await?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).await?;
        let client = client::client(&cluster).await?;
        cluster.apply(&objects(engine, &servers)?).await?;
        let launch = Launch {
            binary: binary.to_owned(),
            kubeconfig: operator::kubeconfig(&cluster).await?,
            log_file: dir.path().join("operator.log"),
            // Its address is read from a line of level info.
            log: format!("{},rolecall_operator::http=info", args.log),
            variables: servers.first().map(Server::variables).unwrap_or_default(),
        };
        let key = rcgen::KeyPair::generate()?;
        let request = rcgen::CertificateParams::default().serialize_request(&key)?.pem()?;
        let mut bed = Self {
            operator: None,
            launch,
            cluster,
            engine,
            credentials: args.credentials,
            servers,
            client,
            request: STANDARD.encode(request),
            _dir: dir,
        };
        bed.start_operator().await?;
        let wait = ["wait", "--for=condition=Ready", "--timeout=120s", "--namespace", NAMESPACE];
        bed.cluster.kubectl(&[&wait[..], &["dba,prole", "--all"]].concat()).await?;
        Ok(bed)
    }

    /// Starts the operator, and waits until it works.
    pub(crate) async fn start_operator(&mut self) -> anyhow::Result<()> {
        let Launch { binary, kubeconfig, log_file, log, variables } = &self.launch;
        // The address is read from the first line about it.
        let _ = std::fs::rename(log_file, log_file.with_extension("before.log"));
        let args = ["--watch-namespace", NAMESPACE, "--log", log];
        self.operator = Some(Operator::start(binary, kubeconfig, log_file, &args, variables).await?);
        Ok(())
    }

    /// Stops the operator in order: it gives its Lease back.
    pub(crate) fn stop_operator(&mut self) {
        self.operator = None;
    }

    pub(crate) fn operator(&self) -> anyhow::Result<&Operator> {
        self.operator.as_ref().context("the operator does not run")
    }

    /// Waits until the operator ends, which it should not, and says what it said last.
    pub(crate) async fn operator_ended(&self) -> anyhow::Error {
        let Some(operator) = &self.operator else { return anyhow::anyhow!("the operator does not run") };
        while Path::new(&format!("/proc/{}/fd", operator.pid()))
            .read_dir()
            .is_ok_and(|mut fds| fds.next().is_some())
        {
            tokio::time::sleep(CHECK_EVERY).await;
        }
        anyhow::anyhow!("the operator ended. The end of its log:\n{}", operator::tail(operator.log(), 5))
    }

    /// Resident memory of the operator, in KiB.
    pub(crate) fn resident_kib(&self) -> i64 {
        self.operator.as_ref().map_or(0, |operator| measure::memory_kib(operator.pid(), "VmRSS:"))
    }

    /// The server of the session with this number.
    pub(crate) fn server_of(&self, index: usize) -> usize {
        index % self.servers.len()
    }
}

/// The name of a DatabaseAdmin.
pub(crate) fn database(server: usize) -> String {
    format!("db{server:02}")
}

/// An object of ours.
pub(crate) fn own(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// The DatabaseAdmins with their Secrets, and the role of all users.
fn objects(engine: Engine, servers: &[Server]) -> anyhow::Result<String> {
    let secret = |name: String, kind: &str, data: Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {"name": name, "namespace": NAMESPACE}, "data": data})
    };
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let mut items = vec![namespace(NAMESPACE), namespace(FLOOR_NAMESPACE)];
    for (index, server) in servers.iter().enumerate() {
        let (admin, authority) = (server.admin_certificate()?, server.client_authority());
        let pair = |cert: &str, key: &str| json!({"tls.crt": STANDARD.encode(cert), "tls.key": STANDARD.encode(key)});
        let named = |what: &str| format!("{what}-{index:02}");
        items.push(secret(named("admin-cert"), "kubernetes.io/tls", pair(&admin.cert_pem, &admin.key_pem)));
        let authority = pair(authority.cert_pem(), authority.key_pem());
        items.push(secret(named("client-ca"), "kubernetes.io/tls", authority));
        let server_ca = json!({"ca.crt": STANDARD.encode(server.server_ca_pem())});
        items.push(secret(named("server-ca"), "Opaque", server_ca));
        let mut spec = server.spec();
        spec["tls"]["caSecretRef"]["name"] = json!(named("server-ca"));
        for (path, what) in [
            ("/auth/x509/secretRef/name", "admin-cert"),
            ("/userCredentials/x509/caSecretRef/name", "client-ca"),
        ] {
            if let Some(name) = spec.pointer_mut(path) {
                *name = json!(named(what));
            }
        }
        if let Some(ttl) = spec.pointer_mut("/userCredentials/x509/ttl") {
            *ttl = json!("12h");
        }
        items.push(own("DatabaseAdmin", NAMESPACE, &database(index), spec));
    }
    let role = json!({
        "options": {"createDbUserMode": "Keep"},
        "allow": {"dbLabels": {"env": ["bench"]}, "dbNames": [engine.logical_database()], "dbRoles": [engine.role()]},
    });
    items.push(own("ProvisioningRole", NAMESPACE, "reader", role));
    Ok(serde_json::to_string(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?)
}
