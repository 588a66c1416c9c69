//! A simulator of Redshift.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rolecall_aws_testbed::redshift::{self as simulator, Kind, Object};
use rolecall_engine::dialect::redshift::{literal, record};
use rolecall_engine::dialect::sql::identifier;
use rolecall_engine::{AccountName, Dialect, Engine, MARKER, Owner};
use rolecall_engine_conformance::{Harness, Objects, SetPrivileges, Sort, State, Trace};
use rolecall_pki::tls::Tls;
use rolecall_policy::{ObjectKind, Privilege};
use rolecall_redshift::{Auth, Config, Redshift};
use tokio_postgres::Client;

const ADMIN: &str = "teleport-admin";
const DATABASE: &str = "dev";
const OTHER: &str = "other";
/// Where tables are.
const SCHEMA: &str = "app";

pub(crate) struct RedshiftServer {
    simulator: simulator::Redshift,
    password: String,
    engine: Redshift,
    names: AtomicU32,
    /// Sessions of users that are kept open.
    kept: Mutex<Vec<Client>>,
}

impl RedshiftServer {
    pub(crate) async fn new() -> Self {
        let simulator = simulator::Redshift::start().await.unwrap();
        let password = simulator.create_admin(ADMIN, simulator::Admin::Superuser).unwrap();
        simulator.create_database(OTHER, false);
        let engine = Redshift::new(config(&simulator, &password)).unwrap();
        Self { simulator, password, engine, names: AtomicU32::new(0), kept: Mutex::default() }
    }

    async fn sql(&self, statements: &str) -> Vec<Vec<Option<String>>> {
        self.sql_in(DATABASE, statements).await
    }

    async fn sql_in(&self, database: &str, statements: &str) -> Vec<Vec<Option<String>>> {
        loop {
            match self.simulator.sql(database, statements).await {
                // The engine changes the same role or user.
                Err(error) if error.sqlstate() == Some("XX000") => tokio::task::yield_now().await,
                answer => return answer.unwrap_or_else(|error| panic!("{statements}: {error}")),
            }
        }
    }

    async fn texts(&self, query: &str) -> BTreeSet<String> {
        let rows = self.sql(query).await;
        rows.into_iter()
            .filter_map(|row| row.into_iter().next().flatten())
            .map(|text| text.trim_end().to_owned())
            .collect()
    }

    async fn roles_of(&self, user: &str) -> BTreeSet<String> {
        self.texts(&format!("SELECT role_name FROM svv_user_grants WHERE user_name = {}", literal(user)))
            .await
    }

    async fn ensure_role(&self, role: &str) {
        if !self.role_exists(role).await {
            self.sql(&format!("CREATE ROLE {}", identifier(role))).await;
        }
    }

    /// A role of this very name, unless it exists.
    pub(crate) async fn named(&self, role: &str) {
        self.ensure_role(role).await;
    }

    async fn has(&self, user: &str) -> bool {
        !self
            .texts(&format!("SELECT usename FROM pg_user WHERE usename = {}", literal(user)))
            .await
            .is_empty()
    }

    /// Logs in with a password that AWS would have lent.
    async fn client(&self, user: &str, database: &str) -> Option<Client> {
        let login = format!("IAM:{user}");
        let (password, _) = self.simulator.issue_password(&login, jiff::SignedDuration::from_mins(15));
        self.simulator.connect(&login, &password, database).await.ok()
    }
}

fn config(simulator: &simulator::Redshift, password: &str) -> Config {
    let auth = Auth::Password(password.to_owned().into());
    let mut config = Config::new(simulator.host(), simulator.port(), ADMIN, auth);
    config.tls = Tls { ca_pem: Some(simulator.ca_pem().to_owned()), ..Tls::default() };
    config
}

#[async_trait]
impl Harness for RedshiftServer {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn unreachable(&self) -> Box<dyn Engine> {
        let mut config = config(&self.simulator, &self.password);
        config.port = 1;
        config.connect_timeout = Duration::from_secs(1);
        Box::new(Redshift::new(config).unwrap())
    }

    fn name(&self, base: &str) -> String {
        format!("{base}{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    fn database(&self) -> String {
        DATABASE.to_owned()
    }

    fn missing_role(&self, base: &str) -> String {
        self.name(base).to_lowercase()
    }

    fn longest_name(&self) -> usize {
        rolecall_engine::dialect::redshift::name::MAX_USER_BYTES
    }

    fn takes_name(&self, name: &str) -> bool {
        AccountName::new(name).is_ok_and(|name| Dialect::Redshift.user_fault(&name).is_none())
    }

    fn role_of(&self, _: &str) -> Option<String> {
        None
    }

    async fn role(&self, base: &str, attribute: Option<&str>) -> String {
        // The case of their names is folded.
        let name = self.name(base).to_lowercase();
        self.sql(&format!("CREATE ROLE {}", identifier(&name))).await;
        if attribute.is_some() {
            self.sql(&format!("GRANT CREATE ROLE TO ROLE {}", identifier(&name))).await;
        }
        name
    }

    async fn foreign_role(&self, _: &str) -> Option<String> {
        // A superuser hands out everything.
        None
    }

    async fn closed_database(&self, _: &str, _: Option<&str>) -> Option<String> {
        // There is no right to connect.
        None
    }

    async fn put(&self, user: &str, state: &State) {
        let name = identifier(user);
        if !self.has(user).await {
            self.sql(&format!("CREATE USER {name} PASSWORD DISABLE CONNECTION LIMIT 0")).await;
        }
        let limit = if state.login { "UNLIMITED" } else { "0" };
        self.sql(&format!("ALTER USER {name} CONNECTION LIMIT {limit}")).await;
        let mut wanted = state.memberships.clone();
        if state.managed {
            wanted.insert(MARKER.to_owned());
        }
        if let Some(owner) = &state.owner {
            for role in record::text_roles(owner) {
                self.ensure_role(&role).await;
            }
            wanted.insert(record::owner_role(&owner.uid));
        }
        let has = self.roles_of(user).await;
        for role in has.difference(&wanted) {
            self.sql(&format!("REVOKE ROLE {} FROM {name}", identifier(role))).await;
        }
        for role in wanted.difference(&has) {
            self.ensure_role(role).await;
            self.sql(&format!("GRANT ROLE {} TO {name}", identifier(role))).await;
        }
        let open = self.simulator.logins(user).len();
        for number in open..state.backends as usize {
            let login = if number % 2 == 0 { format!("IAM:{user}") } else { user.to_owned() };
            self.simulator.open_session(&login, DATABASE).unwrap();
        }
    }

    async fn user_state(&self, user: &str) -> Option<State> {
        let of = literal(user);
        let rows = self
            .sql(&format!(
                "SELECT connection_limit, session_timeout FROM svv_user_info WHERE user_name = {of}"
            ))
            .await;
        let info = rows.first()?;
        let rows = self.sql(&format!("SELECT valuntil, useconfig FROM pg_user WHERE usename = {of}")).await;
        let stored = rows.first()?;
        let roles = self.roles_of(user).await;
        let all = self.texts("SELECT role_name FROM svv_roles").await;
        let owner: Option<Owner> =
            roles.iter().find_map(|role| record::owner_uid(role)).map(|uid| record::owner(&uid, &all));
        Some(State {
            managed: roles.contains(MARKER),
            login: info[0].as_deref() != Some("0"),
            memberships: roles
                .iter()
                .filter(|role| *role != MARKER && !record::is_record(role))
                .cloned()
                .collect(),
            owner,
            backends: u32::try_from(self.simulator.logins(user).len()).unwrap(),
            settings: stored[1].is_some(),
            password: self.simulator.has_password(user),
            limits: info[1].as_deref() != Some("0")
                || !matches!(stored[0].as_deref(), None | Some("infinity")),
        })
    }

    async fn role_exists(&self, role: &str) -> bool {
        self.texts("SELECT role_name FROM svv_roles").await.contains(role)
    }

    async fn log_in(&self, user: &str) -> bool {
        let client = self.client(user, DATABASE).await;
        client.map(|client| self.kept.lock().unwrap().push(client)).is_some()
    }

    async fn new_owner(&self, base: &str) -> Option<String> {
        let name = self.name(base).to_lowercase();
        self.sql(&format!("CREATE USER {} PASSWORD DISABLE", identifier(&name))).await;
        Some(name)
    }

    async fn owns_something(&self, user: &str) -> bool {
        let query = format!(
            "SELECT c.relname FROM pg_class c JOIN pg_user u ON u.usesysid = c.relowner WHERE u.usename = {}",
            literal(user)
        );
        !self.sql_in(OTHER, &query).await.is_empty()
    }

    async fn leave(&self, user: &str, what: &Trace) -> bool {
        let name = identifier(user);
        match what {
            // In another database than the one that the admin user is in: the server itself would not look there.
            Trace::OwnedObject => {
                let table = self.name("owned");
                let object = Object { owner: Some(user), ..Object::new(Kind::Table, SCHEMA, &table) };
                self.simulator.create_object(OTHER, &object).unwrap();
            }
            Trace::Right => {
                let table = self.name("theirs");
                self.simulator.create_object(OTHER, &Object::new(Kind::Table, SCHEMA, &table)).unwrap();
                self.sql_in(OTHER, &format!("GRANT SELECT ON TABLE {SCHEMA}.{table} TO {name}")).await;
            }
            Trace::Setting { in_database: false } => {
                drop(self.sql(&format!("ALTER USER {name} SET search_path TO app")).await);
            }
            Trace::Password => drop(self.sql(&format!("ALTER USER {name} PASSWORD 'Secret123'")).await),
            Trace::Limit => {
                self.sql(&format!("ALTER USER {name} SESSION TIMEOUT 3600")).await;
                self.sql(&format!("ALTER USER {name} VALID UNTIL '2030-01-01'")).await;
            }
            // Whoever may grant roles may revoke every membership; users are no roles; settings belong to all databases.
            _ => return false,
        }
        true
    }

    fn objects(&self) -> &dyn Objects {
        self
    }
}

#[async_trait]
impl Objects for RedshiftServer {
    fn sort(&self) -> Sort {
        Sort { kind: ObjectKind::Table, read: Privilege::Select, write: Privilege::Insert }
    }

    fn folds_names(&self) -> bool {
        true
    }

    async fn database(&self, base: &str) -> String {
        let name = self.name(base);
        self.simulator.create_database(&name, false);
        name
    }

    async fn create(&self, database: &str, object: &str) {
        self.simulator.create_object(database, &Object::new(Kind::Table, SCHEMA, object)).unwrap();
    }

    async fn create_foreign(&self, _: &str, _: &str) -> bool {
        // A superuser grants everything.
        false
    }

    async fn rename(&self, database: &str, from: &str, to: &str) {
        // The simulator knows no ALTER TABLE: the rights on it are lost.
        self.simulator.drop_object(database, &Object::new(Kind::Table, SCHEMA, from));
        self.create(database, to).await;
    }

    async fn drop(&self, database: &str, object: &str) {
        self.simulator.drop_object(database, &Object::new(Kind::Table, SCHEMA, object));
    }

    async fn grant(&self, database: &str, object: &str, privilege: Privilege, set: &str) {
        let (table, role) = (identifier(object), identifier(set));
        self.sql_in(database, &format!("GRANT {privilege} ON TABLE {SCHEMA}.{table} TO ROLE {role}")).await;
    }

    async fn revoke(&self, database: &str, object: &str, privilege: Privilege, set: &str) {
        let (table, role) = (identifier(object), identifier(set));
        self.sql_in(database, &format!("REVOKE {privilege} ON TABLE {SCHEMA}.{table} FROM ROLE {role}"))
            .await;
    }

    async fn privileges_of(&self, database: &str, set: &str) -> SetPrivileges {
        let query = format!(
            "SELECT relation_name, privilege_type FROM svv_relation_privileges WHERE identity_type = 'role' AND identity_name = {}",
            literal(set)
        );
        let rows = self.sql_in(database, &query).await;
        let text = |column: &Option<String>| column.clone().unwrap_or_default();
        rows.iter().map(|row| (text(&row[0]), Privilege::parse(&text(&row[1])).unwrap())).collect()
    }

    async fn can(&self, user: &str, database: &str, object: &str, privilege: Privilege) -> bool {
        // The simulator has no contents: who may log in, and has a role that may, can.
        if self.client(user, database).await.is_none() {
            return false;
        }
        for role in self.roles_of(user).await {
            if self.privileges_of(database, &role).await.contains(&(object.to_owned(), privilege)) {
                return true;
            }
        }
        false
    }
}
