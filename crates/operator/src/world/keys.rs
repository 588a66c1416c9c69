//! What things are called: the keys of objects and accounts, and the work that is done on them.

use std::fmt;
use std::sync::Arc;

use kube::ResourceExt;

use crate::queue::{Key, Lane};

/// The name of an object of a kind that the context tells.
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

/// Something that has to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// An account with its sessions.
    Account(AccountKey),
    /// A session that belongs to no account yet: its DatabaseUser does not exist.
    Unbound(ObjectKey),
    /// A DatabaseAdmin.
    Admin(ObjectKey),
    /// The accounts on the server of a DatabaseAdmin: which of them can be used, and should they?
    Accounts(ObjectKey),
    /// A DatabaseUser.
    User(ObjectKey),
    /// A ProvisioningRole.
    Role(ObjectKey),
    /// A DbObjectImportRule.
    Rule(ObjectKey),
    /// The objects of a logical database, with the permission sets on them.
    Objects(ObjectsKey),
}

/// A logical database on one DatabaseAdmin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectsKey {
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
    /// The looks that find out whether that server answers, and who can use it: they must not wait for those that do not
    /// know it yet.
    Admin(ObjectKey),
    /// What needs no server, in this namespace.
    Namespace(Arc<str>),
}

impl Work {
    /// The namespace of what it is about.
    pub fn namespace(&self) -> &Arc<str> {
        match self {
            Self::Account(AccountKey { admin, .. }) | Self::Objects(ObjectsKey { admin, .. }) => {
                &admin.namespace
            }
            Self::Unbound(key)
            | Self::Admin(key)
            | Self::Accounts(key)
            | Self::User(key)
            | Self::Role(key)
            | Self::Rule(key) => &key.namespace,
        }
    }
}

impl Key for Work {
    type Group = Group;

    fn group(&self) -> Group {
        match self {
            Self::Account(AccountKey { admin, .. }) | Self::Objects(ObjectsKey { admin, .. }) => {
                Group::Server(admin.clone())
            }
            Self::Admin(key) | Self::Accounts(key) => Group::Admin(key.clone()),
            Self::Unbound(_) | Self::User(_) | Self::Role(_) | Self::Rule(_) => {
                Group::Namespace(Arc::clone(self.namespace()))
            }
        }
    }
}

/// Work that a change wakes.
pub type Wakes = Vec<(Work, Lane)>;

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

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(key) => write!(f, "account {key}"),
            Self::Unbound(key) => write!(f, "session {key}"),
            Self::Admin(key) => write!(f, "admin {key}"),
            Self::Accounts(key) => write!(f, "accounts of admin {key}"),
            Self::User(key) => write!(f, "user {key}"),
            Self::Role(key) => write!(f, "role {key}"),
            Self::Rule(key) => write!(f, "rule {key}"),
            Self::Objects(key) => write!(f, "objects of {} on {}", key.database, key.admin),
        }
    }
}
