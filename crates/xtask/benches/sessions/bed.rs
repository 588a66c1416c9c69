//! The servers, the operator, and the objects that every round needs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rolecall_testbed::{Certificate, Cluster, Identity, PgVersion, Postgres, components};
use rolecall_xtask::operator::{self, Operator, Profile};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::phase::Side;

/// The role that every session gives.
pub(crate) const ROLE: &str = "reader";
/// The DatabaseAdmin.
pub(crate) const DATABASE: &str = "orders";
const ADMIN: &str = "teleport-admin";

/// Everything that runs, in the order in which it is stopped.
pub(crate) struct Bed {
    pub(crate) operator: Operator,
    pub(crate) cluster: Cluster,
    /// The operator's server.
    pub(crate) postgres: Postgres,
    /// The floor's.
    pub(crate) floor_postgres: Postgres,
    /// The measuring client. Its requests queue at the API server beside those of the operator, in the same class.
    pub(crate) client: Client,
    _dir: TempDir,
}

/// Builds or fetches what is missing.
pub(crate) fn prepare() -> anyhow::Result<PathBuf> {
    components::postgres(PgVersion::V17)?;
    components::etcd()?;
    components::Kubernetes::prepare()?;
    operator::build(Profile::Release)
}

impl Bed {
    pub(crate) async fn set(binary: &Path, users: u32, log: &str) -> anyhow::Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("rolecall-bench-").tempdir().context("making a directory")?;
        let postgres = database().await?;
        let floor_postgres = database().await?;
        // No controller manager: then all requests are the operator's, ours, or the API server's own.
        let cluster = Cluster::builder().controllers(&[]).start().await?;
        cluster.kubectl(&["apply", "--server-side", "-k", &root("deploy")]).await?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).await?;
        let client = client(&cluster).await?;
        for side in [Side::Operator, Side::Floor] {
            cluster.apply(&objects(side, &postgres, users)?).await?;
        }
        let kubeconfig = operator::kubeconfig(&cluster).await?;
        let log_file = dir.path().join("operator.log");
        // Its address is read from a line of level info.
        let log = format!("{log},rolecall_operator::http=info");
        let args = ["--watch-namespace", Side::Operator.namespace(), "--log", &log];
        let operator = Operator::start(binary, &kubeconfig, &log_file, &args).await?;
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
        Ok(Self { operator, cluster, postgres, floor_postgres, client, _dir: dir })
    }

    /// The server of one side.
    pub(crate) fn server(&self, side: Side) -> &Postgres {
        match side {
            Side::Operator => &self.postgres,
            Side::Floor => &self.floor_postgres,
        }
    }

    /// Drops what the sessions left behind, so that every round makes its accounts anew.
    pub(crate) async fn forget_accounts(&self, side: Side) -> anyhow::Result<()> {
        let drop_all = "do $$ declare name text; begin
            for name in select r.rolname from pg_auth_members m join pg_roles r on r.oid = m.member
                where m.roleid = '\"teleport-auto-user\"'::regrole and r.rolname <> 'teleport-admin'
            loop execute format('drop role %I', name); end loop; end $$; checkpoint";
        self.server(side).sql("postgres", drop_all).await.map(drop).context("dropping the accounts")
    }

    /// Turns the server's log of statements on or off.
    pub(crate) async fn log_statements(&self, on: bool) -> anyhow::Result<()> {
        let value = if on { "all" } else { "none" };
        let statement = format!("alter role \"{ADMIN}\" set log_statement = '{value}'");
        self.postgres.sql("postgres", &statement).await?;
        // Settings of a role reach new connections only.
        let everywhere = format!("alter system set log_statement = '{value}'");
        self.postgres.sql("postgres", &everywhere).await?;
        self.postgres.sql("postgres", "select pg_reload_conf()").await?;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        Ok(())
    }

    /// The messages of the admin user that the server has logged.
    pub(crate) fn logged_messages(&self) -> i64 {
        let user = format!("{ADMIN}@");
        let log = self.postgres.log();
        let messages = log.lines().filter(|line| {
            line.contains(&user) && (line.contains("LOG:  statement:") || line.contains("LOG:  execute "))
        });
        i64::try_from(messages.count()).unwrap_or(i64::MAX)
    }

    /// A certificate of the admin user.
    pub(crate) fn admin_certificate(&self, side: Side) -> anyhow::Result<Certificate> {
        Ok(self.server(side).client_cert(ADMIN)?)
    }
}

/// The database user of the user with this number.
pub(crate) fn username(index: usize) -> String {
    format!("user{index:04}@example.com")
}

/// The session with this number; its user has the same.
pub(crate) fn session(side: Side, index: usize) -> Value {
    json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": "DatabaseSession",
        "metadata": {"name": format!("s{index:04}"), "namespace": side.namespace()},
        "spec": {"user": format!("user{index:04}"), "database": DATABASE, "databaseName": "postgres", "ttl": "1h"},
    })
}

async fn database() -> anyhow::Result<Postgres> {
    let postgres = Postgres::start(PgVersion::V17).await?;
    postgres.create_admin(ADMIN).await?;
    let grant = format!("create role {ROLE}; grant {ROLE} to \"{ADMIN}\" with admin option");
    postgres.sql("postgres", &grant).await?;
    Ok(postgres)
}

/// A client with every right, which the API server treats as it treats the operator: administrators never queue.
async fn client(cluster: &Cluster) -> anyhow::Result<Client> {
    let name = "system:serviceaccount:default:bench";
    cluster
        .kubectl(&["create", "clusterrolebinding", "bench", "--clusterrole=cluster-admin", "--user", name])
        .await?;
    let identity = Identity::user(name, &["system:serviceaccounts", "system:serviceaccounts:default"]);
    let config = Kubeconfig::from_yaml(&cluster.kubeconfig_for(&identity).await?)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// The objects of one side: a server, a role, and users.
fn objects(side: Side, postgres: &Postgres, users: u32) -> anyhow::Result<String> {
    let namespace = side.namespace();
    let admin = postgres.client_cert(ADMIN)?;
    let authority = postgres.client_authority();
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
            "data": {"ca.crt": STANDARD.encode(postgres.server_ca_pem())}}),
        own(
            "DatabaseAdmin",
            DATABASE,
            json!({
                "protocol": "postgres", "uri": postgres.address(), "labels": {"env": "bench"},
                "adminUser": {"name": ADMIN, "defaultDatabase": "postgres"},
                "tls": {"caSecretRef": {"name": "server-ca", "key": "ca.crt"}},
                "auth": {"x509": {"secretRef": {"name": "admin-cert"}}},
                "userCredentials": {"x509": {"caSecretRef": {"name": "client-ca"}, "ttl": "1h"}},
            }),
        ),
        own(
            "ProvisioningRole",
            "reader",
            json!({
                "options": {"createDbUserMode": "Keep"},
                "allow": {"dbLabels": {"env": ["bench"]}, "dbNames": ["postgres"], "dbRoles": [ROLE]},
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
