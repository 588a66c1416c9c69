//! What a server is, and what its admin user lacks.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rolecall_engine::{Error, Finding, History, MARKER, Needs as Wanted, Preflight, Reason};
use serde::Deserialize;

use crate::Postgres;
use crate::quote::{identifier, is_possible, literal, names};
use crate::reads::observe::parse;
use crate::statements::reassign::{self, NewOwner};
use crate::statements::role::create_role;
use crate::transport::failover;
use crate::transport::message::{Message, Needs};
use crate::transport::platform::{Platform, RDS_IAM, RDS_PASSWORD};
use crate::transport::server::Place;
use crate::transport::sqlstate;
use crate::transport::version::{Dialect, Version};

/// Creates the marker where it is missing, in a transaction of its own.
pub(crate) fn ensure_marker() -> Message {
    let (what, sql) = create_role(MARKER);
    let mut message = Message::new();
    message.push_needing(Needs::CreateRole, what, sql);
    message
}

impl Postgres {
    pub(crate) async fn check_server(&self, wanted: &Wanted) -> Result<Preflight, Error> {
        let place = self.preflight_place(wanted);
        let version = self.server.version(&place).await?;
        let mut findings = Vec::new();
        let facts = self.facts(&place, wanted, version.dialect).await?;
        match facts.read_only {
            true if self.reader_since.note_reader(self.server.config(), Instant::now()) => {
                self.server.close_idle();
                return Err(failover::under_way("using the server".to_owned(), String::new()));
            }
            true => {}
            false => self.reader_since.note_writer(),
        }
        let creates_marker = !facts.marker && !self.server.config().read_only;
        if facts.read_only {
            findings.push(read_only());
        } else if creates_marker {
            match self.server.run(&place, &ensure_marker()).await {
                Ok(_) => {}
                Err(error) if error.code == sqlstate::INSUFFICIENT_PRIVILEGE => {}
                Err(error) if error.code == sqlstate::READ_ONLY => findings.push(read_only()),
                Err(error) => return Err(error),
            }
        }
        let facts = if creates_marker { self.facts(&place, wanted, version.dialect).await? } else { facts };
        let pooler = self.server.pooler(&place).await?;
        let history = self.history(&place).await?.history;
        self.identity.note(&history.run, facts.system.as_deref());
        Ok(self.judge(wanted, facts, findings, &version, history, pooler))
    }

    /// What all that was read means.
    pub(super) fn judge(
        &self,
        wanted: &Wanted,
        facts: Facts,
        mut findings: Vec<Finding>,
        version: &Version,
        history: History,
        pooler: Option<Finding>,
    ) -> Preflight {
        findings.extend(self.findings(wanted, &facts, version.dialect));
        findings.extend(pooler);
        findings.sort_by_key(|finding| rank(finding.reason));
        let roles: BTreeSet<&str> = facts.roles.iter().flatten().map(|role| role.name.as_str()).collect();
        let databases: BTreeSet<&str> =
            facts.databases.iter().flatten().map(|database| database.name.as_str()).collect();
        let absent = |needed: &BTreeSet<String>, there: &BTreeSet<&str>| {
            needed.iter().filter(|name| !there.contains(name.as_str())).cloned().collect()
        };
        let (absent_roles, absent_databases) =
            (absent(&wanted.roles, &roles), absent(&wanted.databases, &databases));
        Preflight {
            version: version.text.clone(),
            identity: facts.system.unwrap_or_else(|| self.server.config().address()),
            history,
            findings,
            absent_roles,
            absent_databases,
        }
    }

    pub(super) fn preflight_place(&self, wanted: &Wanted) -> Place {
        match &self.server.config().default_database {
            // Named by the author: that it is wrong must show.
            Some(database) => Place::Exactly(database.clone()),
            None => self.server.place(wanted.databases.first().map(String::as_str)),
        }
    }

    async fn facts(&self, place: &Place, wanted: &Wanted, dialect: Dialect) -> Result<Facts, Error> {
        let message = facts_message(wanted, dialect, self.server.config().read_only);
        let reply = self.server.run(place, &message).await?;
        let mut facts: Facts = parse(&reply, || message.attempted(0).to_owned())?;
        // Not everybody may call it everywhere.
        let system = Message::one(
            "reading the system identifier",
            "SELECT s.system_identifier FROM pg_catalog.pg_control_system() s",
        );
        facts.system = match self.server.run(place, &system).await {
            Ok(reply) => reply.value().map(str::to_owned),
            Err(error) if error.class == rolecall_engine::Class::Unreachable => return Err(error),
            Err(_) => None,
        };
        Ok(facts)
    }

    fn findings(&self, wanted: &Wanted, facts: &Facts, dialect: Dialect) -> Vec<Finding> {
        // Whatever else the server says about who this is: nobody but the admin user is to be given rights.
        let admin_user = &self.server.config().admin_user;
        let admin = identifier(admin_user);
        let mut findings = Vec::new();
        if !facts.create_role {
            findings.push(Finding::fixed_by(
                Reason::MissingCreateRole,
                admin_user,
                "the admin user may not create users",
                vec![format!("ALTER ROLE {admin} CREATEROLE")],
            ));
        }
        if facts.no_passwords {
            findings.push(Finding::fixed_by(
                Reason::MissingCreateRole,
                RDS_PASSWORD,
                "the admin user may not set passwords, as rds.restrict_password_commands is on",
                vec![format!("GRANT {RDS_PASSWORD} TO {admin}")],
            ));
        }
        let lacks_admin_option =
            |role: &str| facts.roles.iter().flatten().any(|r| r.name == role && !r.grantable);
        let exists = |role: &str| facts.roles.iter().flatten().any(|r| r.name == role);
        for role in
            wanted.roles.iter().map(String::as_str).chain([MARKER]).filter(|role| lacks_admin_option(role))
        {
            let reason = if role == RDS_IAM { Reason::MissingRdsIam } else { Reason::MissingAdminOption };
            findings.push(Finding::fixed_by(
                reason,
                role,
                &format!("the admin user may not grant the role {role:?}"),
                vec![format!("GRANT {} TO {admin} WITH ADMIN OPTION", identifier(role))],
            ));
        }
        if self.server.config().platform == Platform::Rds
            && wanted.roles.contains(RDS_IAM)
            && !exists(RDS_IAM)
        {
            findings.push(Finding::new(
                Reason::MissingRdsIam,
                RDS_IAM,
                format!("the server has no role {RDS_IAM:?}: is it RDS or Aurora PostgreSQL? If it is, turn on IAM database authentication"),
            ));
        }
        findings.extend(wanted.new_owners.iter().filter_map(|role| {
            let found = facts.new_owners.iter().flatten().find(|owner| owner.name == *role);
            reassign::name_fault(role, "").or_else(|| match found {
                Some(owner) => owner.fault(admin_user, dialect),
                None => Some(reassign::missing(role)),
            })
        }));
        for database in facts.databases.iter().flatten() {
            let name = identifier(&database.name);
            if wanted.databases.contains(&database.name) && !database.admin {
                findings.push(Finding::fixed_by(
                    Reason::MissingConnect,
                    &database.name,
                    &format!("the admin user may not connect to the logical database {:?}", database.name),
                    vec![format!("GRANT CONNECT ON DATABASE {name} TO {admin}")],
                ));
            }
        }
        for database in facts.databases.iter().flatten() {
            let name = identifier(&database.name);
            if !wanted.databases.contains(&database.name) && database.public {
                // Where the admin user itself connects it must not be locked out with the others.
                let mut fix = Vec::new();
                if matches!(self.server.place(None), Place::Any(own) if own == database.name) {
                    fix.push(format!("GRANT CONNECT ON DATABASE {name} TO {admin}"));
                }
                fix.push(format!("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"));
                findings.push(Finding::fixed_by(
                    Reason::PublicConnect,
                    &database.name,
                    &format!(
                        "everybody may connect to the logical database {:?}, so users can, too",
                        database.name
                    ),
                    fix,
                ));
            }
        }
        findings
    }
}

/// The order in which findings are reported.
fn rank(reason: Reason) -> usize {
    const ORDER: [Reason; 8] = [
        Reason::PoolerInBetween,
        Reason::MissingCreateRole,
        Reason::MissingAdminOption,
        Reason::MissingConnect,
        Reason::MissingRdsIam,
        Reason::ReadOnlyEndpoint,
        Reason::CannotReassign,
        Reason::PublicConnect,
    ];
    ORDER.iter().position(|one| *one == reason).unwrap_or(ORDER.len())
}

fn read_only() -> Finding {
    Finding::new(
        Reason::ReadOnlyEndpoint,
        "",
        "the server is read-only (a replica, or the reader endpoint of a cluster): use the writer's address",
    )
}

/// The identity of a server, which does not change while it runs.
#[derive(Debug, Default)]
pub(crate) struct KnownIdentity(Mutex<Option<(String, Option<String>)>>);

impl KnownIdentity {
    /// The server that runs since then says this of itself; `None`: it does not tell.
    fn note(&self, run: &str, system: Option<&str>) {
        *self.known() = Some((run.to_owned(), system.map(str::to_owned)));
    }

    /// What the server that runs since then says of itself, where it was asked.
    pub(super) fn of_run(&self, run: &str) -> Option<Option<String>> {
        self.known()
            .as_ref()
            .filter(|(known, _)| known == run && !run.is_empty())
            .map(|(_, system)| system.clone())
    }

    /// Was any server asked?
    pub(super) fn is_known(&self) -> bool {
        self.known().is_some()
    }

    // A poisoned lock means that a thread panicked between two plain assignments; what it holds is whole.
    fn known(&self) -> MutexGuard<'_, Option<(String, Option<String>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
pub(super) struct Facts {
    create_role: bool,
    pub(super) read_only: bool,
    pub(super) marker: bool,
    roles: Option<Vec<Role>>,
    databases: Option<Vec<Database>>,
    /// Those that exist of the roles that get what accounts own.
    new_owners: Option<Vec<NewOwner>>,
    /// A setting of RDS keeps the admin user from setting passwords.
    no_passwords: bool,
    #[serde(default)]
    pub(super) system: Option<String>,
}

#[derive(Deserialize)]
struct Role {
    name: String,
    grantable: bool,
}

#[derive(Deserialize)]
struct Database {
    name: String,
    admin: bool,
    public: bool,
}

/// `by_choice`: that transactions are read-only is our own choice, and says nothing of the server.
pub(super) fn facts_message(wanted: &Wanted, dialect: Dialect, by_choice: bool) -> Message {
    let roles: BTreeSet<&str> =
        wanted.roles.iter().map(String::as_str).filter(|role| is_possible(role)).chain([MARKER]).collect();
    let grantable = crate::reads::observe::grantable(dialect);
    let read_only = match by_choice {
        true => "false",
        false => "pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool",
    };
    let new_owners: BTreeSet<&str> =
        wanted.new_owners.iter().map(String::as_str).filter(|role| is_possible(role)).collect();
    Message::one(
        "reading what the admin user may do",
        format!(
            "WITH me AS MATERIALIZED (SELECT r.oid, r.rolname, r.rolsuper, r.rolcreaterole FROM pg_catalog.pg_roles r
  WHERE r.rolname = CURRENT_USER)
SELECT pg_catalog.json_build_object(
'create_role', me.rolsuper OR me.rolcreaterole,
'read_only', pg_catalog.pg_is_in_recovery() OR {read_only},
'no_passwords', COALESCE(pg_catalog.current_setting('rds.restrict_password_commands', true) IN ('1', 'on'), false)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = {password} AND pg_catalog.pg_has_role(r.oid, 'MEMBER')),
'marker', EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = {marker}),
'roles', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', r.rolname, 'grantable', {grantable}))
  FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ({roles})),
'new_owners', {new_owners},
'databases', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', d.datname,
    'admin', pg_catalog.has_database_privilege(d.oid, 'CONNECT'),
    'public', NOT d.datistemplate AND pg_catalog.has_database_privilege('public', d.oid, 'CONNECT')) ORDER BY d.datname)
  FROM pg_catalog.pg_database d WHERE d.datallowconn))
FROM me",
            marker = literal(MARKER),
            password = literal(RDS_PASSWORD),
            roles = names(roles),
            new_owners = reassign::new_owners(&names(new_owners), dialect),
        ),
    )
}
