//! What things are called: the keys of objects and accounts, and the work that is done on them.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use kube::ResourceExt;

/// The name of an object, of a kind that follows from the context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// An account: one database user name on one DatabaseAdmin. The unit of work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey {
    /// The DatabaseAdmin.
    pub admin: ObjectKey,
    /// The database user name.
    pub username: Arc<str>,
}

/// What can be queued.
pub trait QueueKey: Clone + Eq + Ord + Hash + fmt::Debug {
    /// What shares a limit, and takes turns with the others.
    type Group: Clone + Eq + Hash + std::fmt::Debug;
    /// Its group.
    fn group(&self) -> Self::Group;
}

/// How soon a key has to be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// In turn.
    Normal,
    /// Before everything in turn: an access ends.
    Urgent,
}

/// Why a key is worked on. Of several causes the last one here counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A database server announced that something has changed there; for nothing else.
    Announced,
    /// It was due.
    Timer,
    /// Something that it depends on changed.
    Change,
}

/// What is reconciled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReconcileKey {
    /// An account with its sessions.
    Account(AccountKey),
    /// A session that belongs to no account yet: its DatabaseUser does not exist.
    Session(ObjectKey),
    /// A DatabaseAdmin.
    Admin(ObjectKey),
    /// The accounts on the server of a DatabaseAdmin: which of them can be used, and should they?
    Inventory(ObjectKey),
    /// A DatabaseUser.
    User(ObjectKey),
    /// A ProvisioningRole.
    Role(ObjectKey),
    /// A DbObjectImportRule.
    Rule(ObjectKey),
    /// The objects of a logical database, with the permission sets on them.
    PermissionSets(DatabaseKey),
}

/// A logical database on one DatabaseAdmin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseKey {
    /// The DatabaseAdmin.
    pub admin: ObjectKey,
    /// The logical database.
    pub database: Arc<str>,
}

/// What shares a limit of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// What waits for the server of this DatabaseAdmin.
    Server(ObjectKey),
    /// The reconciles that find out whether that server answers, and who can use it: they must not wait for those that
    /// do not know it yet.
    Admin(ObjectKey),
    /// What needs no server, in this namespace.
    Namespace(Arc<str>),
}

impl ReconcileKey {
    /// Every [`Self::kind`].
    pub const KINDS: [&str; 8] =
        ["account", "session", "admin", "inventory", "user", "role", "rule", "permission_sets"];

    /// The kind of what it is about, for metrics and traces.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Session(_) => "session",
            Self::Admin(_) => "admin",
            Self::Inventory(_) => "inventory",
            Self::User(_) => "user",
            Self::Role(_) => "role",
            Self::Rule(_) => "rule",
            Self::PermissionSets(_) => "permission_sets",
        }
    }

    /// The namespace of what it is about.
    pub fn namespace(&self) -> &Arc<str> {
        match self {
            Self::Account(AccountKey { admin, .. }) | Self::PermissionSets(DatabaseKey { admin, .. }) => {
                &admin.namespace
            }
            Self::Session(key)
            | Self::Admin(key)
            | Self::Inventory(key)
            | Self::User(key)
            | Self::Role(key)
            | Self::Rule(key) => &key.namespace,
        }
    }
}

impl QueueKey for ReconcileKey {
    type Group = Group;

    fn group(&self) -> Group {
        match self {
            Self::Account(AccountKey { admin, .. }) | Self::PermissionSets(DatabaseKey { admin, .. }) => {
                Group::Server(admin.clone())
            }
            Self::Admin(key) | Self::Inventory(key) => Group::Admin(key.clone()),
            Self::Session(_) | Self::User(_) | Self::Role(_) | Self::Rule(_) => {
                Group::Namespace(Arc::clone(self.namespace()))
            }
        }
    }
}

/// The keys that a change triggers.
pub type Triggers = Vec<(ReconcileKey, Priority)>;

impl ObjectKey {
    /// The key of an object. Every kind here is namespaced; an object without a namespace comes from no API server.
    pub fn of(object: &impl ResourceExt) -> Self {
        Self { namespace: object.namespace().unwrap_or_default().into(), name: object.name_any().into() }
    }

    /// Another name in the same namespace.
    pub fn sibling(&self, name: &str) -> Self {
        Self { namespace: Arc::clone(&self.namespace), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.username, self.admin)
    }
}

impl fmt::Display for ReconcileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(key) => write!(f, "account {key}"),
            Self::Session(key) => write!(f, "session {key}"),
            Self::Admin(key) => write!(f, "admin {key}"),
            Self::Inventory(key) => write!(f, "inventory of admin {key}"),
            Self::User(key) => write!(f, "user {key}"),
            Self::Role(key) => write!(f, "role {key}"),
            Self::Rule(key) => write!(f, "rule {key}"),
            Self::PermissionSets(key) => write!(f, "permission sets of {} on {}", key.database, key.admin),
        }
    }
}
