//! What a server is, what it lacks, and which managed accounts it has.

use std::collections::BTreeSet;

use crate::{AccountName, History, Owner, Reason};

/// What live and waiting sessions need of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Database roles.
    pub roles: BTreeSet<String>,
    /// Logical databases.
    pub databases: BTreeSet<String>,
    /// Roles (Redshift: users) that get what accounts own before these are dropped.
    pub new_owners: BTreeSet<String>,
    /// Roles that are missing are created, so that they are no finding.
    pub create_missing_roles: bool,
}

/// A server that answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preflight {
    /// The version as the server prints it, `17.10`.
    pub version: String,
    /// What distinguishes this server from any other, whatever its address (PostgreSQL: `system_identifier`).
    pub identity: String,
    /// Where it is in its history.
    pub history: History,
    /// What the admin user lacks, most important first; empty when it can do everything that is needed. A finding
    /// with [`Reason::PublicConnect`] is a warning.
    pub findings: Vec<Finding>,
    /// Needed roles that do not exist. On MongoDB it is not asked.
    pub absent_roles: BTreeSet<String>,
    /// Needed logical databases that do not exist. On MongoDB they need not exist.
    pub absent_databases: BTreeSet<String>,
}

/// One thing that the admin user lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The reason.
    pub reason: Reason,
    /// The object concerned: a role, a database.
    pub object: String,
    /// One sentence with the exact statement that fixes it.
    pub message: String,
    /// The statements that fix it, in their order, for whoever may run them: SQL, on MongoDB commands of mongosh. Empty
    /// where none does.
    pub fix: Vec<String>,
}

impl Finding {
    /// A finding that no statement fixes.
    pub fn new(reason: Reason, object: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, object: object.into(), message: message.into(), fix: Vec::new() }
    }

    /// One that statements fix: `message` says what is wrong, and they are appended to it.
    pub fn fixed_by(reason: Reason, object: impl Into<String>, message: &str, fix: Vec<String>) -> Self {
        let message = format!("{message}: run {}", fix.join("; "));
        Self { reason, object: object.into(), message, fix }
    }
}

/// The managed accounts of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// By name.
    pub accounts: Vec<InventoryEntry>,
}

/// One managed account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryEntry {
    /// Its name. Names that no `DatabaseUser` could have are left out of the inventory.
    pub account: AccountName,
    /// Its ownership record.
    pub owner: Option<Owner>,
    /// It may log in.
    pub enabled: bool,
    /// Open connections.
    pub backends: u32,
    /// The admin user may change it.
    pub manageable: bool,
    /// The roles and permission sets that it is a member of, without the marker; empty where it may not log in.
    pub memberships: BTreeSet<String>,
    /// Somebody stored or granted something for it that no live account has: settings, limits, attributes, rights of its
    /// own. False where it may not log in.
    pub strays: bool,
}

/// What an engine did since it was made. Numbers only grow, but `connections_open`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// SQL statements sent.
    pub statements: u64,
    /// Messages sent to the server and answered: round trips.
    pub round_trips: u64,
    /// Connections opened.
    pub connections_opened: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Transactions run again after a conflict with another.
    pub retries: u64,
}
