//! Permission sets as plain data: which are wanted, in which state they are, and what was found in a database.

use std::collections::BTreeMap;
use std::sync::Arc;

use rolecall_policy::PermissionEntries;
use tokio::time::Instant;

use crate::model::{Blocker, DatabaseKey, Priority};

/// A permission set that an account wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where.
    pub key: DatabaseKey,
    /// Its role.
    pub role: String,
    /// The permissions that it gives.
    pub entries: Arc<PermissionEntries>,
}

/// The state of a permission set.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SetState {
    /// It was not reconciled yet.
    #[default]
    Pending,
    /// It has the privileges that it should have, or those that could be granted.
    Ready(Arc<SetContents>),
    /// Nobody may be a member now, because it is not known what it should give.
    Withheld(Blocker),
    /// It could not be created.
    Failed(Blocker),
}

/// What a permission set gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetContents {
    /// Objects per privilege.
    pub counts: BTreeMap<String, u64>,
    /// Why it lacks something that it should give.
    pub incomplete: Option<Blocker>,
}

/// The states of the sets that an account wants.
#[derive(Debug, Default)]
pub struct WantedSets {
    /// By the set's role.
    pub states: BTreeMap<String, SetState>,
    /// Since when their state is not known, where that is so.
    pub waiting: BTreeMap<String, Instant>,
    /// Sets that the account no longer wants and stays in for a while: see the module `transition`.
    pub lingering: LingeringSets,
    /// What they give, by database.
    pub meanwhile: BTreeMap<DatabaseKey, Arc<SetContents>>,
    /// Databases that have to be reconciled.
    pub to_reconcile: BTreeMap<DatabaseKey, Priority>,
}

/// The sets that an account stays in for a while, each with the end of that; `None`: until the new one is ready.
pub type LingeringSets = BTreeMap<String, Option<Instant>>;

/// What is known of the objects of one logical database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Objects that some rule labels.
    pub objects: u32,
    /// Objects by rule.
    pub by_rule: BTreeMap<String, u32>,
    /// Objects whose access list is nearly full.
    pub crowded: Vec<String>,
}
