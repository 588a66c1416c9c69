//! What the server knows: users, roles, memberships and the objects of its databases. A plain value, of which a
//! transaction has a copy with its own changes.

use std::collections::{BTreeMap, BTreeSet};

/// The user that owns the system, and whose sessions are always there.
pub(crate) const RDSDB: &str = "rdsdb";
/// The cluster's own admin user: a superuser that cannot be dropped or locked out.
pub(crate) const OWNER: &str = "awsuser";
pub(crate) const RDSDB_ID: u32 = 1;
pub(crate) const OWNER_ID: u32 = 100;
/// The database that every cluster has.
pub(crate) const DEFAULT_DATABASE: &str = "dev";

/// What a role may do that the server comes with.
const SYSTEM_ROLES: [(&str, &[&str]); 5] = [
    ("sys:monitor", &["ACCESS SYSTEM TABLE"]),
    ("sys:operator", &["ACCESS SYSTEM TABLE", "ANALYZE", "VACUUM", "CANCEL"]),
    ("sys:dba", &["CREATE SCHEMA", "CREATE TABLE", "DROP SCHEMA", "ANALYZE", "VACUUM", "CANCEL"]),
    ("sys:secadmin", &["CREATE USER", "ALTER USER", "DROP USER", "CREATE ROLE", "DROP ROLE", "GRANT ROLE"]),
    (
        "sys:superuser",
        &[
            "CREATE USER",
            "ALTER USER",
            "DROP USER",
            "CREATE ROLE",
            "DROP ROLE",
            "GRANT ROLE",
            "ACCESS SYSTEM TABLE",
            "CREATE SCHEMA",
            "CREATE TABLE",
            "DROP SCHEMA",
            "ANALYZE",
            "VACUUM",
            "CANCEL",
        ],
    ),
];

#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pub(crate) users: BTreeMap<u32, User>,
    pub(crate) roles: BTreeMap<u32, Role>,
    /// Who is in which role, and whether with ADMIN OPTION.
    pub(crate) members: BTreeMap<(u32, u32), bool>,
    /// Which role has which other role.
    pub(crate) nested: BTreeSet<(u32, u32)>,
    pub(crate) databases: BTreeMap<String, Database>,
    /// ASSUMEROLE grants: the user and the ARN.
    pub(crate) assume_role: BTreeSet<(u32, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) name: String,
    /// CREATEUSER.
    pub(crate) superuser: bool,
    pub(crate) createdb: bool,
    pub(crate) password: Option<Password>,
    pub(crate) valid_until: Option<String>,
    /// None is UNLIMITED.
    pub(crate) connection_limit: Option<u32>,
    pub(crate) syslog_unrestricted: bool,
    pub(crate) session_timeout: Option<u32>,
    pub(crate) external_id: Option<String>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) login: bool,
}

impl User {
    pub(crate) fn new(id: u32, name: &str) -> Self {
        Self {
            id,
            name: name.to_owned(),
            superuser: false,
            createdb: false,
            password: None,
            valid_until: None,
            connection_limit: None,
            syslog_unrestricted: false,
            session_timeout: None,
            external_id: None,
            config: BTreeMap::new(),
            login: true,
        }
    }
}

/// What is stored of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Password {
    Plain(String),
    /// 32 hexadecimal digits of MD5 over the password and the name.
    Md5(String),
    /// SHA-256 over the password and the salt, in hexadecimal digits, and the salt.
    Sha256 {
        digest: String,
        salt: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) owner: u32,
    pub(crate) system: BTreeSet<String>,
}

/// One right of one identity on an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) who: Identity,
    pub(crate) privilege: String,
}

/// The rights on an object, and whether each may be passed on.
pub(crate) type Acl = BTreeMap<Right, bool>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Identity {
    User(u32),
    Role(u32),
    Public,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Database {
    pub(crate) id: u32,
    pub(crate) owner: u32,
    /// Datashare databases are not local.
    pub(crate) shared: bool,
    pub(crate) acl: Acl,
    pub(crate) objects: BTreeMap<ObjectKey, Object>,
    /// Rights on what a user will create: owner, schema, kind and the right.
    pub(crate) defaults: BTreeSet<(u32, Option<String>, &'static str, Right)>,
}

/// What names an object in its database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ObjectKey {
    Schema(String),
    /// Tables, views and materialized views share their names.
    Relation(String, String),
    /// With the types of its arguments.
    Function(String, String, Vec<String>),
}

impl ObjectKey {
    pub(crate) fn schema(&self) -> &str {
        match self {
            Self::Schema(schema) | Self::Relation(schema, _) | Self::Function(schema, _, _) => schema,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    pub(crate) owner: u32,
    pub(crate) acl: Acl,
}

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A schema.
    Schema,
    /// A table.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A function.
    Function,
    /// A stored procedure.
    Procedure,
}

impl Kind {
    /// The rights that there are on it.
    pub(crate) fn privileges(self) -> &'static [&'static str] {
        match self {
            Self::Schema => &["USAGE", "CREATE"],
            Self::Table | Self::View | Self::MaterializedView => {
                &["SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES", "DROP", "TRUNCATE", "ALTER"]
            }
            Self::Function | Self::Procedure => &["EXECUTE"],
        }
    }
}

impl Catalog {
    /// A new cluster.
    pub(crate) fn new() -> Self {
        let mut catalog = Self {
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            members: BTreeMap::new(),
            nested: BTreeSet::new(),
            databases: BTreeMap::new(),
            assume_role: BTreeSet::new(),
        };
        for (id, name) in [(RDSDB_ID, RDSDB), (OWNER_ID, OWNER)] {
            let user = User { superuser: true, createdb: true, ..User::new(id, name) };
            catalog.users.insert(id, user);
        }
        for ((name, system), id) in SYSTEM_ROLES.into_iter().zip(1..) {
            let system = system.iter().map(|&privilege| privilege.to_owned()).collect();
            catalog.roles.insert(id, Role { id, name: name.to_owned(), owner: RDSDB_ID, system });
        }
        catalog.add_database(DEFAULT_DATABASE, OWNER_ID);
        catalog
    }

    /// Adds a database with its schema `public`, which everybody may use and create in.
    pub(crate) fn add_database(&mut self, name: &str, owner: u32) {
        let id = 100_000 + u32::try_from(self.databases.len()).unwrap_or_default();
        let public =
            |privilege: &str| (Right { who: Identity::Public, privilege: privilege.to_owned() }, false);
        let mut database = Database { id, owner, acl: Acl::from([public("TEMP")]), ..Database::default() };
        let acl = Acl::from([public("USAGE"), public("CREATE")]);
        let schema = Object { id: 2_200, kind: Kind::Schema, owner: RDSDB_ID, acl };
        database.objects.insert(ObjectKey::Schema("public".to_owned()), schema);
        self.databases.insert(name.to_owned(), database);
    }

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.values().find(|user| user.name == name)
    }

    pub(crate) fn role(&self, name: &str) -> Option<&Role> {
        self.roles.values().find(|role| role.name == name)
    }

    /// The roles of a user, and those that these have.
    pub(crate) fn roles_of(&self, user: u32) -> BTreeSet<u32> {
        let mut all: BTreeSet<u32> =
            self.members.keys().filter(|(member, _)| *member == user).map(|(_, role)| *role).collect();
        loop {
            let more: BTreeSet<u32> = self
                .nested
                .iter()
                .filter(|(outer, _)| all.contains(outer))
                .map(|(_, inner)| *inner)
                .collect();
            if more.is_subset(&all) {
                return all;
            }
            all.extend(more);
        }
    }

    pub(crate) fn is_superuser(&self, user: u32) -> bool {
        self.users.get(&user).is_some_and(|user| user.superuser)
    }

    /// Whether a user has a right on the system, by the superuser attribute or a role.
    pub(crate) fn may(&self, user: u32, privilege: &str) -> bool {
        self.is_superuser(user)
            || self
                .roles_of(user)
                .iter()
                .any(|role| self.roles.get(role).is_some_and(|role| role.system.contains(privilege)))
    }

    /// The name of a user, who may have been dropped while something still belongs to it.
    pub(crate) fn user_name(&self, id: u32) -> String {
        self.users.get(&id).map_or_else(|| "unknown".to_owned(), |user| user.name.clone())
    }

    pub(crate) fn identity_name(&self, identity: Identity) -> String {
        match identity {
            Identity::User(id) => self.user_name(id),
            Identity::Role(id) => {
                self.roles.get(&id).map_or_else(|| "unknown".to_owned(), |role| role.name.clone())
            }
            Identity::Public => "public".to_owned(),
        }
    }
}
