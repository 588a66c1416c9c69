//! The engine on a simulator of Redshift: what goes wrong on the way. What must hold on every engine is in the
//! conformance suite.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong")]

mod drops;
mod ends;
mod logins;
mod reassign;

use std::collections::{BTreeMap, BTreeSet};

use rolecall_aws_testbed::redshift::{self as simulator, Admin, Kind, Object, Unknowns};
use rolecall_engine::account::{Credential, Desired, Enabled, WantedRole};
use rolecall_engine::dialect::redshift::{literal, record};
use rolecall_engine::dialect::sql::identifier;
use rolecall_engine::plan::{Plan, plan};
use rolecall_engine::{AccountName, Applied, Engine as _, Error, MARKER, Owner, Want};
use rolecall_pki::tls::Tls;
use rolecall_redshift::{Auth, Config, Redshift};

const ADMIN: &str = "teleport-admin";
const ALICE: &str = "alice";
const UID: &str = "us";

/// A simulator with the databases `dev` and `other` and the role `reader`, and an engine on it.
struct Cluster {
    simulator: simulator::Redshift,
    password: String,
    engine: Redshift,
}

impl Cluster {
    async fn start() -> Self {
        Self::with(Admin::Superuser, Unknowns::default()).await
    }

    async fn with(admin: Admin, unknowns: Unknowns) -> Self {
        let simulator = simulator::Redshift::builder().unknowns(unknowns).start().await.unwrap();
        let password = simulator.create_admin(ADMIN, admin).unwrap();
        simulator.create_database("other", false);
        let engine = Redshift::new(config(&simulator, Auth::Password(password.clone().into()))).unwrap();
        let cluster = Self { simulator, password, engine };
        cluster.sql("CREATE ROLE reader").await;
        cluster
    }

    async fn sql(&self, statements: &str) -> Vec<Vec<Option<String>>> {
        let answer = self.simulator.sql("dev", statements).await;
        answer.unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    /// An open account with the record of an owner, the role `reader`, and so many sessions.
    async fn put(&self, owner: &Owner, sessions: u32) {
        self.sql(&format!("CREATE USER {ALICE} PASSWORD DISABLE")).await;
        let known = self.roles().await;
        let owner_role = record::owner_role(&owner.uid);
        for role in record::text_roles(owner).into_iter().chain([MARKER.to_owned(), owner_role.clone()]) {
            if !known.contains(&role) {
                self.sql(&format!("CREATE ROLE {}", identifier(&role))).await;
            }
        }
        for role in [MARKER, &owner_role, "reader"] {
            self.sql(&format!("GRANT ROLE {} TO {ALICE}", identifier(role))).await;
        }
        for _ in 0..sessions {
            self.simulator.open_session(&format!("IAM:{ALICE}"), "dev").unwrap();
        }
    }

    async fn texts(&self, query: &str) -> BTreeSet<String> {
        let rows = self.sql(query).await.into_iter();
        rows.filter_map(|row| row.into_iter().next().flatten()).map(|text| text.trim().to_owned()).collect()
    }

    async fn roles(&self) -> BTreeSet<String> {
        self.texts("SELECT role_name FROM svv_roles").await
    }

    async fn roles_of_alice(&self) -> BTreeSet<String> {
        self.texts("SELECT role_name FROM svv_user_grants WHERE user_name = 'alice'").await
    }

    async fn is_closed(&self) -> bool {
        let of_alice = "SELECT connection_limit FROM svv_user_info WHERE user_name = 'alice'";
        self.texts(of_alice).await.contains("0")
    }

    async fn exists(&self) -> bool {
        !self.texts("SELECT usename FROM pg_user WHERE usename = 'alice'").await.is_empty()
    }

    /// The processes of her sessions, whether or not there is a user of that name.
    async fn sessions(&self) -> usize {
        let logins = self.sql("SELECT user_name FROM stv_sessions").await;
        let name = |row: Vec<Option<String>>| row.into_iter().next().flatten().unwrap_or_default();
        logins.into_iter().map(name).filter(|login| login.trim_end() == format!("IAM:{ALICE}")).count()
    }

    /// A table of hers.
    fn own_table(&self, database: &str) {
        self.own(database, &Object::new(Kind::Table, "app", "hers"));
    }

    /// An object of hers.
    fn own(&self, database: &str, object: &Object<'_>) {
        self.simulator.create_object(database, &Object { owner: Some(ALICE), ..object.clone() }).unwrap();
    }

    /// A right on a table of somebody else.
    async fn right(&self, database: &str, grantee: &str) {
        let table = Object::new(Kind::Table, "app", "theirs");
        self.simulator.drop_object(database, &table);
        self.simulator.create_object(database, &table).unwrap();
        let grant = format!("GRANT SELECT ON TABLE app.theirs TO {grantee}");
        self.simulator.sql(database, &grant).await.unwrap();
    }

    async fn has_rights(&self, database: &str, grantee: &str) -> bool {
        let query = format!(
            "SELECT privilege_type FROM svv_relation_privileges WHERE identity_name = {}",
            literal(grantee)
        );
        !self.simulator.sql(database, &query).await.unwrap().is_empty()
    }

    /// Takes the account where it should be, and says what was done for it.
    async fn reach(&self, desired: &Desired) -> Result<Applied, Error> {
        let observed = self.engine.observe(&desired.query()).await?;
        self.engine.apply(&plan(desired, &observed).unwrap()).await
    }

    async fn plan(&self, desired: &Desired) -> Plan {
        plan(desired, &self.engine.observe(&desired.query()).await.unwrap()).unwrap()
    }
}

fn config(simulator: &simulator::Redshift, auth: Auth) -> Config {
    let mut config = Config::new(simulator.host(), simulator.port(), ADMIN, auth);
    config.tls = Tls { ca_pem: Some(simulator.ca_pem().to_owned()), ..Tls::default() };
    config
}

fn owner(uid: &str) -> Owner {
    Owner { uid: uid.to_owned(), admin: "shop/orders".into(), cluster: "prod".into(), ..Owner::default() }
}

fn desired(want: Want) -> Desired {
    Desired { account: AccountName::new(ALICE).unwrap(), owner: owner(UID), session_database: None, want }
}

fn ended(drop: bool) -> Desired {
    desired(Want::Ended { drop, reassign_to: None })
}

fn enabled() -> Desired {
    desired(Want::Enabled(Enabled {
        roles: BTreeMap::from([("reader".to_owned(), WantedRole { named_literally: true })]),
        credential: Credential::External,
        ..Enabled::default()
    }))
}
