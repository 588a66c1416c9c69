//! A real server with an admin user, and an engine on it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::collections::{BTreeMap, BTreeSet};

use rolecall_engine::account::{Credential, Enabled, WantedRole};
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::{AccountName, Applied, Desired, Engine as _, Error, Observed, Owner, Refusal, Want};
use rolecall_pki::tls::Tls;
use rolecall_postgres::{Auth, Config, Postgres as Engine};
use rolecall_testbed::{Certificate, PgVersion, Postgres};

pub use rolecall_testbed::unique;

/// The client of a superuser or a user.
pub use tokio_postgres::Client;

/// One admin user on one server, with an engine.
pub struct Bench {
    pub pg: &'static Postgres,
    pub admin: String,
    pub certificate: Certificate,
    pub engine: Engine,
}

impl Bench {
    /// On the server of this version that the whole binary shares.
    pub async fn new(version: PgVersion) -> Self {
        Self::on(Postgres::shared(version).await.unwrap(), "createrole").await
    }

    /// On a server of its own, with these attributes.
    pub async fn on(pg: &'static Postgres, attributes: &str) -> Self {
        let admin = unique("admin");
        pg.sql(
            "postgres",
            &format!(
                "do $$ begin create role \"teleport-auto-user\"; exception when duplicate_object or unique_violation then null; end $$;
                 create role {admin} login {attributes};
                 grant \"teleport-auto-user\" to {admin} with admin option;"
            ),
        )
        .await
        .unwrap();
        let certificate = pg.client_cert(&admin).unwrap();
        let engine = Engine::new(config(pg, &admin, &certificate)).unwrap();
        Self { pg, admin, certificate, engine }
    }

    pub fn config(&self) -> Config {
        config(self.pg, &self.admin, &self.certificate)
    }

    /// Another engine with the same admin user.
    pub fn another(&self) -> Engine {
        Engine::new(self.config()).unwrap()
    }

    /// Statements of the superuser.
    pub async fn sql(&self, statements: &str) -> Vec<Vec<Option<String>>> {
        self.pg.sql("postgres", statements).await.unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    pub async fn value(&self, query: &str) -> String {
        self.pg.value("postgres", query).await.unwrap().unwrap_or_default()
    }

    /// A database role that the admin user may hand out.
    pub async fn role(&self, name: &str) -> String {
        let role = unique(name);
        self.sql(&format!(
            "create role {}; grant {} to {} with admin option",
            quote(&role),
            quote(&role),
            self.admin
        ))
        .await;
        role
    }

    /// A connection of a user, by certificate.
    pub async fn login(&self, user: &str) -> rolecall_testbed::Result<Client> {
        self.pg.connect("postgres", &self.pg.client_cert(user).unwrap()).await
    }

    pub async fn apply(&self, desired: &Desired) -> Result<Applied, Failure> {
        apply(&self.engine, desired).await
    }

    /// Applies, and checks that nothing is left to do.
    pub async fn reach(&self, desired: &Desired) -> Applied {
        let applied = self.apply(desired).await.unwrap();
        let observed = self.engine.observe(&desired.query()).await.unwrap();
        let left = plan::plan(&plan::settled(desired), &observed).unwrap();
        let ended = matches!(desired.want, Want::Ended { .. }) && applied.kept_because.is_some();
        assert!(left.is_nothing() || ended, "left to do: {left:?}\nobserved: {observed:#?}");
        applied
    }

    pub async fn observe(&self, desired: &Desired) -> Observed {
        self.engine.observe(&desired.query()).await.unwrap()
    }
}

#[derive(Debug)]
pub enum Failure {
    Refusal(Refusal),
    Error(Error),
}

impl Failure {
    pub fn reason(&self) -> rolecall_engine::Reason {
        match self {
            Self::Refusal(refusal) => refusal.reason,
            Self::Error(error) => error.reason,
        }
    }
}

pub async fn apply(engine: &Engine, desired: &Desired) -> Result<Applied, Failure> {
    let observed = engine.observe(&desired.query()).await.map_err(Failure::Error)?;
    let plan = plan::plan(desired, &observed).map_err(Failure::Refusal)?;
    if let Plan::Activate(_) = &plan {
        for database in desired.query().databases {
            plan::check_database(desired, &observed, &database).map_err(Failure::Refusal)?;
        }
    }
    engine.apply(&plan).await.map_err(Failure::Error)
}

pub fn config(pg: &Postgres, admin: &str, certificate: &Certificate) -> Config {
    let auth =
        Auth::X509 { cert_pem: certificate.cert_pem.clone(), key_pem: certificate.key_pem.clone().into() };
    let mut config = Config::new(pg.host(), pg.port(), admin, auth);
    config.tls = Tls { ca_pem: Some(pg.server_ca_pem().to_owned()), ..Tls::default() };
    config
}

/// An SQL identifier.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An SQL string.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub fn owner(uid: &str) -> Owner {
    Owner { uid: uid.to_owned(), admin: format!("shop/{uid}"), cluster: String::new(), ..Owner::default() }
}

pub fn enabled(account: &str, roles: &[&str]) -> Desired {
    Desired {
        account: AccountName::new(account).unwrap(),
        owner: owner("uid-1"),
        session_database: Some("postgres".to_owned()),
        want: Want::Enabled(Enabled {
            roles: roles
                .iter()
                .map(|role| ((*role).to_owned(), WantedRole::default()))
                .collect::<BTreeMap<_, _>>(),
            sets: BTreeSet::new(),
            databases: BTreeSet::from(["postgres".to_owned()]),
            credential: Credential::External,
            in_use: false,
            create_missing_roles: false,
            disconnecting_sets: BTreeSet::new(),
        }),
    }
}

pub fn ended(account: &str, drop: bool) -> Desired {
    Desired { want: Want::Ended { drop, reassign_to: None }, ..enabled(account, &[]) }
}

/// That it is dropped, after what it owns was given to somebody else.
pub fn ended_giving_to(account: &str, new_owner: &str) -> Desired {
    let want = Want::Ended { drop: true, reassign_to: Some(new_owner.to_owned()) };
    Desired { want, ..enabled(account, &[]) }
}

/// The same while a session is live.
pub fn live(mut desired: Desired) -> Desired {
    if let Want::Enabled(enabled) = &mut desired.want {
        enabled.in_use = true;
    }
    desired
}
