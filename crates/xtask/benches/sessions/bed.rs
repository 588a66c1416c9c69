//! The servers, the operator, and the objects that every round needs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use rolecall_testbed::{Cluster, KubernetesVersion, components};
use rolecall_xtask::operator::{self, Operator, Profile};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client;
use crate::phase::Side;
use crate::server::{Engine, Server};

/// The DatabaseAdmin.
pub(crate) const DATABASE: &str = "orders";

/// Everything that runs, in the order in which it is stopped.
pub(crate) struct Bed {
    pub(crate) operator: Operator,
    pub(crate) cluster: Cluster,
    /// What kind of server sessions are on.
    pub(crate) engine: Engine,
    /// The operator's server.
    pub(crate) server: Server,
    /// The floor's.
    pub(crate) floor_server: Server,
    /// The measuring client. Its requests queue at the API server beside those of the operator, in the same class.
    pub(crate) client: Client,
    _dir: TempDir,
}

/// Builds or fetches what is missing.
pub(crate) fn prepare(engine: Engine) -> anyhow::Result<PathBuf> {
    engine.prepare()?;
    components::etcd()?;
    components::Kubernetes::prepare(KubernetesVersion::NEWEST)?;
    operator::build(Profile::Release)
}

impl Bed {
    pub(crate) async fn set(engine: Engine, binary: &Path, users: u32, log: &str) -> anyhow::Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("rolecall-bench-").tempdir().context("making a directory")?;
        let server = Server::start(engine).await?;
        // The floor is a server of one's own in any case.
        let floor_engine = if engine == Engine::Rds { Engine::Postgres } else { engine };
        let floor_server = Server::start(floor_engine).await?;
        // No controller manager: then all requests are the operator's, ours, or the API server's own.
        let cluster = Cluster::builder().controllers(&[]).start().await?;
        cluster.kubectl(&["apply", "--server-side", "-k", &root("deploy")]).await?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).await?;
        let client = client::client(&cluster).await?;
        for side in [Side::Operator, Side::Floor] {
            cluster.apply(&objects(engine, side, &server, users)?).await?;
        }
        let kubeconfig = operator::kubeconfig(&cluster).await?;
        let log_file = dir.path().join("operator.log");
        // Its address is read from a line of level info.
        let log = format!("{log},rolecall_operator::http=info");
        let args = ["--watch-namespace", Side::Operator.namespace(), "--log", &log];
        let operator = Operator::start(binary, &kubeconfig, &log_file, &args, &server.variables()).await?;
        let namespace = Side::Operator.namespace();
        let wait = [
            "wait",
            "--for=condition=Ready",
            "--timeout=60s",
            "--namespace",
            namespace,
            "dba,prole,dbu",
            "--all",
        ];
        cluster.kubectl(&wait).await?;
        Ok(Self { operator, cluster, engine, server, floor_server, client, _dir: dir })
    }

    /// Drops what the sessions left behind, so that every round creates its accounts again.
    pub(crate) async fn forget_accounts(&self, side: Side) -> anyhow::Result<()> {
        let server = match side {
            Side::Operator => &self.server,
            Side::Floor => &self.floor_server,
        };
        server.forget_accounts().await
    }
}

/// The database user of the user with this number.
pub(crate) fn username(index: usize) -> String {
    format!("user{index:04}@example.com")
}

/// The session with this number; its user has the same.
pub(crate) fn session(engine: Engine, side: Side, index: usize) -> Value {
    json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": "DatabaseSession",
        "metadata": {"name": format!("s{index:04}"), "namespace": side.namespace()},
        "spec": {"user": format!("user{index:04}"), "database": DATABASE, "databaseName": engine.logical_database(),
            "ttl": "1h"},
    })
}

/// The objects of one side: a server, a role, and users.
fn objects(engine: Engine, side: Side, server: &Server, users: u32) -> anyhow::Result<String> {
    let namespace = side.namespace();
    let admin = server.admin_certificate()?;
    let authority = server.client_authority();
    let tls = |name: &str, cert: &str, key: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": namespace},
            "data": {"tls.crt": STANDARD.encode(cert), "tls.key": STANDARD.encode(key)}})
    };
    let own = |kind: &str, name: &str, spec: Value| {
        json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace}, "spec": spec})
    };
    let mut items = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        tls("admin-cert", &admin.cert_pem, &admin.key_pem),
        tls("client-ca", authority.cert_pem(), authority.key_pem()),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "server-ca", "namespace": namespace},
            "data": {"ca.crt": STANDARD.encode(server.server_ca_pem())}}),
        own("DatabaseAdmin", DATABASE, server.spec()),
        own(
            "ProvisioningRole",
            "reader",
            json!({
                "options": {"createDbUserMode": "Keep"},
                "allow": {"dbLabels": {"env": ["bench"]}, "dbNames": [engine.logical_database()], "dbRoles": [engine.role()]},
            }),
        ),
    ];
    items.extend((0..users as usize).map(|index| {
        own(
            "DatabaseUser",
            &format!("user{index:04}"),
            json!({"username": username(index), "roles": ["reader"]}),
        )
    }));
    Ok(serde_json::to_string(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?)
}

fn root(path: &str) -> String {
    rolecall_xtask::root().join(path).display().to_string()
}
