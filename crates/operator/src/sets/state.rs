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
    /// What it stands for.
    pub entries: Arc<PermissionEntries>,
}

/// Does a permission set stand?
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SetState {
    /// It was not reconciled yet.
    #[default]
    NotYet,
    /// It holds what it should, or what could be had of that.
    Stands(Arc<SetContents>),
    /// Nobody may have it now, because what it should hold is not known.
    Withheld(Blocker),
    /// It could not be made.
    Failed(Blocker),
}

/// What a permission set holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetContents {
    /// Objects per privilege.
    pub counts: BTreeMap<String, u64>,
    /// What it should hold and does not.
    pub incomplete: Option<Blocker>,
}

/// How the sets that an account wants stand.
#[derive(Debug, Default)]
pub struct WantedSets {
    /// By the set's role.
    pub states: BTreeMap<String, SetState>,
    /// Since when their state is not known, where that is so.
    pub waiting: BTreeMap<String, Instant>,
    /// Sets that the account wants no more and stays in for a while all the same: see the module `transition`.
    pub lingering: LingeringSets,
    /// What they hold, by database.
    pub meanwhile: BTreeMap<DatabaseKey, Arc<SetContents>>,
    /// Databases that have to be reconciled.
    pub to_reconcile: BTreeMap<DatabaseKey, Priority>,
}

/// The sets that an account stays in for a while, each with the end of that; `None`: until the new one stands.
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
