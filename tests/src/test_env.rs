//! What a test starts with.

use std::ops::{Deref, DerefMut};

use anyhow::Result;
use rolecall_testbed::{Certificate, PgVersion, Postgres};
use serde_json::json;

use crate::base_env::{self, BaseEnv, Manifests, Trust};
use crate::operator::FILTER;

/// The admin user on every server.
pub const ADMIN_USER: &str = "teleport-admin";
/// The database user name of the DatabaseUser `alice`; it always needs quoting.
pub const ALICE: &str = "alice@example.com";

/// How users authenticate to the server of a test environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// By a client certificate per session.
    #[default]
    X509,
    /// By a password per account.
    Password,
    /// By their own credentials.
    None,
}

/// A [`BaseEnv`] with a PostgreSQL server of the test's own.
///
/// The server has the databases `app` and `app2`, and the roles `reader` and `writer`, which the admin user may grant.
#[derive(Debug)]
pub struct TestEnv {
    // Declared first: the operator ends before its servers do.
    base: BaseEnv,
    /// The server behind the DatabaseAdmin `orders`.
    pub pg: Postgres,
}

impl Deref for TestEnv {
    type Target = BaseEnv;

    fn deref(&self) -> &BaseEnv {
        &self.base
    }
}

impl DerefMut for TestEnv {
    fn deref_mut(&mut self) -> &mut BaseEnv {
        &mut self.base
    }
}

/// A test environment that is about to be made.
#[derive(Clone, Debug)]
pub struct TestEnvBuilder {
    version: PgVersion,
    credentials: Credentials,
    flags: Vec<String>,
    filter: String,
    hba: Option<String>,
    settings: Vec<(String, String)>,
    operator: bool,
    objects: bool,
}

impl TestEnvBuilder {
    /// Another version of PostgreSQL.
    pub fn version(self, version: PgVersion) -> Self {
        Self { version, ..self }
    }

    /// Another way for users to authenticate.
    pub fn credentials(self, credentials: Credentials) -> Self {
        Self { credentials, ..self }
    }

    /// A flag for every operator of this environment.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// What operators of this environment log.
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
    pub async fn start(self) -> Result<TestEnv> {
        let namespace = base_env::namespace().await?;
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

        let user_credentials = match self.credentials {
            Credentials::X509 => json!({"x509": {"caSecretRef": {"name": "orders-client-ca"}}}),
            Credentials::Password => json!({"password": {}}),
            Credentials::None => json!({}),
        };
        let manifests = Manifests {
            admin: json!({
                "protocol": "postgres",
                "uri": pg.address(),
                "adminUser": {"name": ADMIN_USER, "defaultDatabase": "postgres"},
                "tls": {"caSecretRef": {"name": "orders-ca", "key": "ca.crt"}},
                "auth": {"x509": {"secretRef": {"name": "orders-admin-cert"}}},
                "userCredentials": user_credentials,
            }),
            db_role: "reader".to_owned(),
            database: "app".to_owned(),
            alice: ALICE.to_owned(),
        };
        let trust = Trust { admin: &admin, users: pg.client_authority(), server_ca: pg.server_ca_pem() };
        let base = BaseEnv::new(namespace, manifests, trust, &self.flags, &self.filter).await?;
        let mut env = TestEnv { base, pg };
        if self.objects {
            env.make_objects().await?;
        }
        if self.operator {
            env.start_operator().await?;
        }
        Ok(env)
    }
}

impl TestEnv {
    /// A test environment as most tests want it: PostgreSQL 17, certificates, all objects but sessions, an operator.
    ///
    /// # Errors
    /// As [`TestEnvBuilder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// A test environment with other settings.
    pub fn builder() -> TestEnvBuilder {
        TestEnvBuilder {
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
