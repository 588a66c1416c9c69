//! What a test starts with.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use rolecall_testbed::{Certificate, PgVersion, Postgres};
use serde_json::{Value, json};

use crate::cluster;
use crate::log::Log;
use crate::operator::{FILTER, Operator};
use crate::process::Process;

/// The admin user on every server.
pub const ADMIN_USER: &str = "teleport-admin";
/// The database user name of the DatabaseUser `alice`; it needs quoting wherever it stands.
pub const ALICE: &str = "alice@example.com";

/// How users prove themselves to the server of a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// By a client certificate per session.
    #[default]
    X509,
    /// By a password per account.
    Password,
    /// By something that they bring.
    None,
}

/// A namespace, a PostgreSQL server and an operator of the test's own.
///
/// The server has the databases `app` and `app2`, and the roles `reader` and `writer`, which the admin user may grant.
pub struct World {
    /// The operator, while one runs in this process. Declared first: it ends before its servers do.
    pub operator: Option<Operator>,
    /// The namespace of all objects.
    pub namespace: String,
    /// A client with every right.
    pub client: Client,
    /// The server behind the DatabaseAdmin `orders`.
    pub pg: Postgres,
    credentials: Credentials,
    flags: Vec<String>,
    filter: String,
    logs: Mutex<Vec<Log>>,
}

/// A world that is about to be made.
#[derive(Clone, Debug)]
pub struct WorldBuilder {
    version: PgVersion,
    credentials: Credentials,
    flags: Vec<String>,
    filter: String,
    hba: Option<String>,
    settings: Vec<(String, String)>,
    operator: bool,
    objects: bool,
}

impl WorldBuilder {
    /// Another version of PostgreSQL.
    pub fn version(self, version: PgVersion) -> Self {
        Self { version, ..self }
    }

    /// Another way for users to prove themselves.
    pub fn credentials(self, credentials: Credentials) -> Self {
        Self { credentials, ..self }
    }

    /// A flag for every operator of this world.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// What operators of this world log.
    pub fn log_filter(self, filter: &str) -> Self {
        Self { filter: filter.to_owned(), ..self }
    }

    /// Other lines for pg_hba.conf.
    pub fn hba(self, lines: &str) -> Self {
        Self { hba: Some(lines.to_owned()), ..self }
    }

    /// A parameter of the server.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts no operator.
    pub fn without_operator(self) -> Self {
        Self { operator: false, ..self }
    }

    /// Makes no DatabaseAdmin, ProvisioningRole and DatabaseUser. The Secrets that they need are there.
    pub fn without_objects(self) -> Self {
        Self { objects: false, ..self }
    }

    /// Makes it.
    ///
    /// # Errors
    /// When a component does not start or an object is refused.
    pub async fn start(self) -> Result<World> {
        let client = cluster::client().await?;
        let namespace = format!("e2e-{:08x}", rand::random::<u32>());
        let object = Namespace {
            metadata: ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await?;

        let mut server = Postgres::builder(self.version);
        let by_password = format!("hostssl all {ADMIN_USER} all cert\nhostssl all all all scram-sha-256\n");
        match (&self.hba, self.credentials) {
            (Some(lines), _) => server = server.hba(lines),
            (None, Credentials::Password) => server = server.hba(&by_password),
            (None, Credentials::X509 | Credentials::None) => {}
        }
        for (name, value) in &self.settings {
            server = server.setting(name, value);
        }
        let pg = server.start().await?;
        let admin = prepare(&pg).await?;

        let mut flags = vec![
            format!("--watch-namespace={namespace}"),
            "--leader-elect=false".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
        ];
        flags.extend(self.flags);
        let mut world = World {
            operator: None,
            namespace,
            client,
            pg,
            credentials: self.credentials,
            flags,
            filter: self.filter,
            logs: Mutex::default(),
        };
        world.apply_secrets(&admin).await?;
        if self.objects {
            world.admin(json!({})).await?;
            world.role("reader", json!({})).await?;
            world.user("alice", json!({"username": ALICE})).await?;
        }
        if self.operator {
            world.start_operator().await?;
        }
        Ok(world)
    }
}

impl World {
    /// A world as most tests want it: PostgreSQL 17, certificates, all objects but sessions, an operator.
    ///
    /// # Errors
    /// As [`WorldBuilder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// A world with settings of its own.
    pub fn builder() -> WorldBuilder {
        WorldBuilder {
            version: PgVersion::V17,
            credentials: Credentials::default(),
            flags: Vec::new(),
            filter: FILTER.to_owned(),
            hba: None,
            settings: Vec::new(),
            operator: true,
            objects: true,
        }
    }

    /// Starts the operator of this world and waits until it works.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start_operator(&mut self) -> Result<()> {
        let operator = self.another_operator(&[]).await?;
        operator.ready().await?;
        self.operator = Some(operator);
        Ok(())
    }

    /// Starts one more operator in this world, with flags beside the usual ones (the last of a kind counts).
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn another_operator(&self, flags: &[&str]) -> Result<Operator> {
        let operator = Operator::start(&self.flags_with(flags), &self.filter).await?;
        self.keep_log(operator.log());
        Ok(operator)
    }

    /// Starts the real program in this world.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub async fn process(&self, flags: &[&str]) -> Result<Process> {
        let process = Process::start(&self.flags_with(flags)).await?;
        self.keep_log(process.log());
        Ok(process)
    }

    /// The operator ends at once, wherever it is.
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

    /// What all operators of this world wrote.
    pub fn log(&self) -> String {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter().map(Log::text).collect::<Vec<_>>().join("\n-- the next operator --\n")
    }

    /// The manifest of the DatabaseAdmin `orders`, as most tests want it.
    pub fn admin_manifest(&self) -> Value {
        let user_credentials = match self.credentials {
            Credentials::X509 => json!({"x509": {"caSecretRef": {"name": "orders-client-ca"}}}),
            Credentials::Password => json!({"password": {}}),
            Credentials::None => json!({}),
        };
        json!({
            "apiVersion": "rolecall.dev/v1alpha1",
            "kind": "DatabaseAdmin",
            "metadata": {"name": "orders", "labels": {"env": "prod"}},
            "spec": {
                "protocol": "postgres",
                "uri": self.pg.address(),
                "adminUser": {"name": ADMIN_USER, "defaultDatabase": "postgres"},
                "tls": {"caSecretRef": {"name": "orders-ca", "key": "ca.crt"}},
                "auth": {"x509": {"secretRef": {"name": "orders-admin-cert"}}},
                "userCredentials": user_credentials,
            },
        })
    }

    fn flags_with(&self, more: &[&str]) -> Vec<String> {
        let mut flags = self.flags.clone();
        for flag in more {
            // Flags that are no lists may stand once only.
            let name = flag.split('=').next().unwrap_or_default();
            flags.retain(|known| known.split('=').next() != Some(name));
            flags.push((*flag).to_owned());
        }
        flags
    }

    fn keep_log(&self, log: &Log) {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).push(log.clone());
    }

    async fn apply_secrets(&self, admin: &Certificate) -> Result<()> {
        let users = self.pg.client_authority();
        self.tls_secret("orders-admin-cert", &admin.cert_pem, &admin.key_pem).await?;
        self.tls_secret("orders-client-ca", users.cert_pem(), users.key_pem()).await?;
        self.apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "orders-ca"},
            "stringData": {"ca.crt": self.pg.server_ca_pem()},
        }))
        .await
        .map(drop)
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

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("namespace", &self.namespace)
            .field("pg", &self.pg)
            .finish_non_exhaustive()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A worker that panicked is started again, so that nothing but the log tells.
        let panicked = self.log().contains("a worker died");
        assert!(!panicked || std::thread::panicking(), "a reconciler panicked:\n{}", self.log());
    }
}

/// The databases, roles and the admin user that tests work with.
async fn prepare(pg: &Postgres) -> Result<Certificate> {
    let admin = pg.create_admin(ADMIN_USER).await?;
    let statements = format!(
        "create role reader nologin; create role writer nologin;
         grant reader, writer to \"{ADMIN_USER}\" with admin option"
    );
    pg.sql("postgres", &statements).await?;
    pg.sql("postgres", "create database app").await?;
    pg.sql("postgres", "create database app2").await?;
    let tables = "create table public.orders (id int primary key, note text);
         insert into public.orders values (1, 'first');
         grant usage on schema public to reader, writer;
         grant select on public.orders to reader;
         grant select, insert, update, delete on public.orders to writer";
    pg.sql("app", tables).await?;
    Ok(admin)
}
