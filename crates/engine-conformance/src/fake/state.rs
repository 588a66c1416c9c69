//! The state of the server in memory.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_engine::account::{Account, DatabaseFacts, Leftover, Membership, Owner, RoleFacts};
use rolecall_engine::{Dialect, Observed, Query, SetRecord};
use rolecall_policy::{DbObject, PrivilegeSet};

/// The server's roles, users and databases. Everything may be changed by hand.
#[derive(Clone, Debug)]
pub struct ServerState {
    /// The admin user.
    pub admin_user: String,
    /// The version that a preflight reports.
    pub version: String,
    /// The identity that a preflight reports.
    pub identity: String,
    /// The marker exists.
    pub marker: bool,
    /// Database roles.
    pub roles: BTreeMap<String, Role>,
    /// Database users, managed or not.
    pub users: BTreeMap<String, User>,
    /// Permission sets.
    pub sets: BTreeMap<String, PermissionSet>,
    /// Logical databases.
    pub databases: BTreeMap<String, Database>,
    pub(super) last_object: u32,
}

/// A permission set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermissionSet {
    /// What is recorded with it.
    pub record: Option<SetRecord>,
    /// Attributes that somebody gave it.
    pub attributes: Vec<String>,
}

/// A database role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// As in [`RoleFacts`].
    pub attributes: Vec<String>,
    /// The admin user may grant it, and take away what it granted.
    pub grantable: bool,
    /// What it got of accounts that were dropped.
    pub owns: Vec<String>,
}

/// A logical database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// It takes connections.
    pub allows_connections: bool,
    /// Everybody may connect.
    pub public: bool,
    /// Roles and users that may connect.
    pub connect: BTreeSet<String>,
    /// It announces changes of its objects.
    pub announces: bool,
    /// The objects in it, by the server's own number.
    pub objects: BTreeMap<u32, Object>,
}

/// A database user.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// It carries the marker.
    pub managed: bool,
    /// Its ownership record.
    pub owner: Option<Owner>,
    /// It may log in.
    pub login: bool,
    /// Its memberships without the marker: role and grantor.
    pub memberships: BTreeSet<(String, String)>,
    /// Members of it, attributes, prepared transactions.
    pub leftovers: BTreeSet<Leftover>,
    /// Settings that are stored for it.
    pub settings: BTreeSet<Option<String>>,
    /// A VALID UNTIL or CONNECTION LIMIT is stored for it.
    pub limits: bool,
    /// The password verifier that is stored for it.
    pub password: Option<String>,
    /// Its open connections.
    pub backends: u32,
    /// Logical databases in which it has rights of its own.
    pub rights: BTreeSet<String>,
    /// Why it cannot be dropped: what it owns.
    pub blocks_drop: Option<String>,
}

/// An object in a logical database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub object: DbObject,
    /// The admin user may grant it.
    pub grantable: bool,
    /// What permission sets may do with it.
    pub granted: BTreeMap<String, PrivilegeSet>,
}

impl Default for ServerState {
    fn default() -> Self {
        let databases = ["app", "postgres"].map(|name| (name.to_owned(), Database::default()));
        Self {
            admin_user: "admin".to_owned(),
            version: "17.10".to_owned(),
            identity: "fake".to_owned(),
            marker: true,
            roles: BTreeMap::new(),
            users: BTreeMap::new(),
            sets: BTreeMap::new(),
            databases: databases.into(),
            last_object: 0,
        }
    }
}

impl Default for Role {
    fn default() -> Self {
        Self { attributes: Vec::new(), grantable: true, owns: Vec::new() }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            allows_connections: true,
            public: true,
            connect: BTreeSet::new(),
            announces: false,
            objects: BTreeMap::new(),
        }
    }
}

impl ServerState {
    /// Adds database roles that the admin user may hand out.
    pub fn add_roles<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.roles.extend(names.into_iter().map(|name| (name.to_owned(), Role::default())));
    }

    pub(super) fn observed(&self, query: &Query) -> Observed {
        Observed {
            account: self.users.get(query.account.as_str()).map(|user| self.account(user)),
            still_running: 0,
            user_fault: None,
            roles: query
                .roles
                .iter()
                .filter_map(|name| Some((name.clone(), self.role_facts(name)?)))
                .collect(),
            sets: query.sets.iter().filter_map(|name| Some((name.clone(), self.set_facts(name)?))).collect(),
            databases: query
                .databases
                .iter()
                .filter_map(|name| Some((name.clone(), self.database_facts(name, query)?)))
                .collect(),
            admin_user: self.admin_user.clone(),
            dialect: Dialect::PostgreSql,
        }
    }

    /// A role of that name; users are roles, too.
    fn role_facts(&self, name: &str) -> Option<RoleFacts> {
        if let Some(role) = self.roles.get(name) {
            let Role { attributes, grantable, owns: _ } = role.clone();
            return Some(RoleFacts { attributes, managed: false, grantable, unseen: false });
        }
        let user = self.users.get(name)?;
        let attributes = if user.login { vec!["LOGIN".to_owned()] } else { Vec::new() };
        Some(RoleFacts { attributes, managed: user.managed, grantable: user.managed, unseen: false })
    }

    fn database_facts(&self, name: &str, query: &Query) -> Option<DatabaseFacts> {
        let database = self.databases.get(name)?;
        let connect = database.public
            || query.roles.iter().chain(&query.sets).any(|role| database.connect.contains(role))
            || database.connect.contains(query.account.as_str());
        Some(DatabaseFacts { allows_connections: database.allows_connections, connect })
    }

    pub(super) fn account(&self, user: &User) -> Account {
        let memberships: Vec<Membership> = user
            .memberships
            .iter()
            .map(|(role, grantor)| Membership {
                role: role.clone(),
                grantor: grantor.clone(),
                revocable: self.is_revocable(grantor),
            })
            .collect();
        let kept = memberships
            .iter()
            .filter(|m| !m.revocable)
            .map(|m| Leftover::Membership { role: m.role.clone(), grantor: m.grantor.clone() });
        Account {
            managed: user.managed,
            owner: user.owner.clone(),
            enabled: user.login,
            leftovers: kept.chain(user.leftovers.iter().cloned()).collect(),
            memberships,
            settings: user.settings.clone(),
            limits: user.limits,
            expires: user.limits,
            stored: Vec::from_iter(user.limits.then(|| "a limit".to_owned())),
            rights: user.login && !user.rights.is_empty(),
            unconfirmed: false,
            backends: user.backends,
        }
    }

    /// The admin user takes away what it granted, as on PostgreSQL 16 and later.
    pub(super) fn is_revocable(&self, grantor: &str) -> bool {
        grantor == self.admin_user
    }
}
