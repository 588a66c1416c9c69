//! A real PostgreSQL server.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use rolecall_engine::Engine;
use rolecall_engine_conformance::{Harness, Objects, State, Trace};
use rolecall_postgres::Postgres as PgEngine;
use rolecall_testbed::{Certificate, Postgres};
use tokio_postgres::Client;

use super::vectors::Server;
use crate::common::{config, literal, quote, unique};

/// What kind of admin user the engine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admin {
    CreateRole,
    /// Each account is created through a role of its own.
    CreateRoleThroughCreators,
    CreateRoleNoInherit,
    Superuser,
}

pub(crate) struct RealServer {
    pg: &'static Postgres,
    kind: Admin,
    admin: String,
    certificate: Certificate,
    engine: PgEngine,
    /// Connections of users that are kept open.
    kept: Mutex<Vec<Client>>,
}

const MARKER: &str = "teleport-auto-user";
/// Where users have rights of their own.
const OTHER: &str = "other";

impl RealServer {
    pub(crate) async fn new(pg: &'static Postgres, kind: Admin) -> Self {
        let admin = unique("admin");
        let attributes = match kind {
            Admin::CreateRole | Admin::CreateRoleThroughCreators => "createrole",
            Admin::CreateRoleNoInherit => "createrole noinherit",
            Admin::Superuser => "superuser",
        };
        let setup = format!(
            "do $$ begin create role \"{MARKER}\"; exception when duplicate_object or unique_violation then null; end $$;
             create role {admin} login {attributes};
             grant \"{MARKER}\" to {admin} with admin option;"
        );
        pg.sql("postgres", &setup).await.unwrap();
        // It may be there already.
        let _ = pg.sql("postgres", &format!("create database {OTHER}")).await;
        let certificate = pg.client_cert(&admin).unwrap();
        let mut config = config(pg, &admin, &certificate);
        if kind == Admin::CreateRoleThroughCreators {
            config.accounts_per_creator = 1;
        }
        let engine = PgEngine::new(config).unwrap();
        Self { pg, kind, admin, certificate, engine, kept: Mutex::default() }
    }

    pub(crate) fn pg_engine(&self) -> &PgEngine {
        &self.engine
    }

    pub(super) async fn sql(&self, database: &str, statements: &str) {
        drop(self.rows(database, statements).await);
    }

    /// What statements of the superuser answer.
    pub(super) async fn rows(&self, database: &str, statements: &str) -> Vec<Vec<Option<String>>> {
        self.pg.sql(database, statements).await.unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    pub(super) fn admin(&self) -> &str {
        &self.admin
    }

    pub(super) fn kind(&self) -> Admin {
        self.kind
    }

    /// The statements of the admin user, so that things are as an engine left them.
    pub(super) async fn as_admin(&self, database: &str, statements: &str) {
        let client = self.pg.connect(database, &self.certificate).await.unwrap();
        if let Err(error) = rolecall_testbed::rows(&client, statements).await {
            panic!("{statements}: {error}");
        }
    }

    fn keep(&self, client: Client) {
        self.kept.lock().unwrap().push(client);
    }

    pub(super) async fn connect(&self, user: &str, database: &str) -> rolecall_testbed::Result<Client> {
        let certificate = self.pg.client_cert(user)?;
        self.pg.connect(database, &certificate).await
    }

    fn has_grantors(&self) -> bool {
        self.pg.version().major() >= 16
    }
}

#[async_trait]
impl Server for RealServer {
    fn is_fake(&self) -> bool {
        false
    }

    async fn named_role(&self, name: &str) {
        let role = quote(name);
        let create = format!(
            "do $$ begin create role {role}; exception when duplicate_object or unique_violation then null; end $$"
        );
        self.sql("postgres", &create).await;
        self.sql("postgres", &format!("grant {role} to {} with admin option", self.admin)).await;
    }

    async fn admin_database(&self) -> Option<String> {
        let query = format!(
            "select datname from pg_stat_activity where usename = {} and application_name = 'rolecall' order by state_change desc",
            literal(&self.admin)
        );
        self.pg.value("postgres", &query).await.unwrap()
    }
}

#[async_trait]
impl Harness for RealServer {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn unreachable(&self) -> Box<dyn Engine> {
        let mut config = config(self.pg, &self.admin, &self.certificate);
        config.port = 1;
        Box::new(PgEngine::new(config).unwrap())
    }

    fn name(&self, base: &str) -> String {
        unique(base)
    }

    fn database(&self) -> String {
        "postgres".to_owned()
    }

    async fn role(&self, base: &str, attribute: Option<&str>) -> String {
        let name = unique(base);
        let role = quote(&name);
        let attribute = attribute.unwrap_or("NOLOGIN");
        let admin = &self.admin;
        self.sql(
            "postgres",
            &format!("create role {role} {attribute}; grant {role} to {admin} with admin option"),
        )
        .await;
        name
    }

    async fn foreign_role(&self, base: &str) -> Option<String> {
        let name = unique(base);
        if !self.has_grantors() || self.kind == Admin::Superuser {
            return None;
        }
        self.sql("postgres", &format!("create role {}", quote(&name))).await;
        Some(name)
    }

    async fn closed_database(&self, base: &str, grantee: Option<&str>) -> Option<String> {
        let name = unique(base);
        let database = quote(&name);
        self.sql("postgres", &format!("create database {database}")).await;
        self.sql("postgres", &format!("revoke connect on database {database} from public")).await;
        if let Some(grantee) = grantee {
            self.sql("postgres", &format!("grant connect on database {database} to {}", quote(grantee)))
                .await;
        }
        Some(name)
    }

    async fn put(&self, user: &str, state: &State) {
        let role = quote(user);
        let exists = self.user_state(user).await.is_some();
        let mut statements = String::new();
        if !exists {
            statements += &format!("create role {role};");
        }
        let login = if state.login || state.backends > 0 { "login" } else { "nologin" };
        statements += &format!("alter role {role} {login};");
        if state.managed {
            statements += &format!("grant \"{MARKER}\" to {role};");
        }
        for membership in &state.memberships {
            statements += &format!("grant {} to {role};", quote(membership));
        }
        let record = state.owner.as_ref().map(|owner| serde_json::to_string(owner).unwrap());
        let record = record.map_or_else(|| "null".to_owned(), |record| literal(&record));
        statements += &format!("comment on role {role} is {record};");
        if state.managed || exists {
            self.as_admin("postgres", &statements).await;
        } else {
            self.sql("postgres", &statements).await;
        }
        let open = self.user_state(user).await.unwrap().backends;
        for _ in open..state.backends {
            let client = self.connect(user, "postgres").await.unwrap();
            self.keep(client);
        }
        if !state.login {
            self.sql("postgres", &format!("alter role {role} nologin")).await;
        }
    }

    async fn user_state(&self, user: &str) -> Option<State> {
        let query = format!(
            "select json_build_object(
               'managed', exists (select from pg_auth_members m join pg_roles g on g.oid = m.roleid
                 where m.member = u.oid and g.rolname = '{MARKER}'),
               'login', u.rolcanlogin,
               'memberships', (select coalesce(json_agg(distinct g.rolname), '[]') from pg_auth_members m
                 join pg_roles g on g.oid = m.roleid where m.member = u.oid and g.rolname <> '{MARKER}'),
               'owner', shobj_description(u.oid, 'pg_authid'),
               'backends', (select count(*) from pg_stat_activity a where a.usesysid = u.oid),
               'settings', exists (select from pg_db_role_setting s where s.setrole = u.oid),
               'password', u.rolpassword is not null,
               'limits', u.rolconnlimit <> -1 or coalesce(u.rolvaliduntil, 'infinity') <> 'infinity')
             from pg_authid u where u.rolname = {}",
            literal(user)
        );
        let text = self.pg.value("postgres", &query).await.unwrap()?;
        let row: serde_json::Value = serde_json::from_str(&text).unwrap();
        let flag = |name: &str| row[name].as_bool().unwrap();
        let memberships = row["memberships"].as_array().unwrap().iter();
        Some(State {
            managed: flag("managed"),
            login: flag("login"),
            memberships: memberships.map(|role| role.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(),
            owner: row["owner"].as_str().map(|comment| serde_json::from_str(comment).unwrap()),
            backends: u32::try_from(row["backends"].as_u64().unwrap()).unwrap(),
            settings: flag("settings"),
            password: flag("password"),
            limits: flag("limits"),
        })
    }

    async fn role_exists(&self, role: &str) -> bool {
        let query = format!("select rolname from pg_roles where rolname = {}", literal(role));
        self.pg.value("postgres", &query).await.unwrap().is_some()
    }

    async fn log_in(&self, user: &str) -> bool {
        match self.connect(user, "postgres").await {
            Ok(client) => {
                self.keep(client);
                true
            }
            Err(_) => false,
        }
    }

    async fn new_owner(&self, base: &str) -> Option<String> {
        // Whoever has no rights of the roles that it is in may give them nothing.
        if !self.has_grantors() && self.kind == Admin::CreateRoleNoInherit {
            return None;
        }
        let (name, admin) = (unique(base), &self.admin);
        let options = if self.has_grantors() { "with inherit true, set true" } else { "" };
        // Two that change the rights on one database at the same time get in each other's way.
        let setup = format!(
            "select pg_advisory_xact_lock(7); create role {name}; grant {name} to {admin} {options};
             grant create on database postgres to {admin}"
        );
        self.sql("postgres", &setup).await;
        Some(name)
    }

    async fn owns_something(&self, role: &str) -> bool {
        let query = format!(
            "select count(*) > 0 from pg_shdepend where refobjid = {}::regrole and deptype = 'o'",
            literal(role)
        );
        self.pg.value("postgres", &query).await.unwrap().as_deref() == Some("t")
    }

    async fn leave(&self, user: &str, what: &Trace) -> bool {
        let role = quote(user);
        let admin = &self.admin;
        match what {
            Trace::OwnedObject => {
                let schema = quote(&unique("owned"));
                self.sql("postgres", &format!("create schema {schema} authorization {role}")).await;
            }
            Trace::Right => {
                let table = quote(&unique("table"));
                let statements = format!(
                    "create table {table} (); alter table {table} owner to {admin};
                     set role {admin}; grant select on {table} to {role};"
                );
                self.sql(OTHER, &statements).await;
            }
            Trace::Membership(_) if !self.has_grantors() || self.kind == Admin::Superuser => return false,
            Trace::Membership(group) => {
                self.sql("postgres", &format!("grant {} to {role}", quote(group))).await;
            }
            Trace::Member => {
                let member = quote(&unique("member"));
                self.sql("postgres", &format!("create role {member}; grant {role} to {member}")).await;
            }
            Trace::Attribute => self.sql("postgres", &format!("alter role {role} createrole")).await,
            Trace::Prepared => {
                let statements = format!(
                    "begin; set local role {role}; select pg_current_xact_id(); prepare transaction {}",
                    literal(&unique("gid"))
                );
                self.sql("postgres", &statements).await;
            }
            Trace::Setting { in_database } => {
                let place = if *in_database { "in database postgres" } else { "" };
                self.sql("postgres", &format!("alter role {role} {place} set search_path = elsewhere")).await;
            }
            Trace::Password => self.sql("postgres", &format!("alter role {role} password 'x'")).await,
            Trace::Limit => self.sql("postgres", &format!("alter role {role} connection limit 7")).await,
        }
        true
    }

    fn objects(&self) -> &dyn Objects {
        self
    }
}
