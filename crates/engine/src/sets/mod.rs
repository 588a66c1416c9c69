//! Permission sets: what sessions with equal object permissions share.
//!
//! Objects are never granted to a user. They are granted to the role of a set, once, and the user becomes a member of
//! it. Which set that is follows from the policy alone ([`set_role_name`]), not from the objects there are: a new table
//! changes the privileges of the set, never its members. So an activation costs the same beside ten tables and beside
//! 50,000.

pub mod counts;
mod name;
mod outcome;
mod plan;

pub use name::{SetRecord, set_role_name};
pub use outcome::{Excess, Missing, SetEntry, SyncedSet, Why};
pub use plan::{GrantGroup, MOST_OBJECTS, RevokeGroup, SetPlan, plan_from, plan_set};

use rolecall_policy::{ObjectPermissions, PrivilegeSet};

/// How many objects an outcome names; the others are counted.
pub const MOST_NAMED: usize = 50;

/// The privileges that a set should have in its logical database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSet {
    /// Its role: [`Dialect::set_name`](crate::Dialect::set_name).
    pub role: String,
    /// What is recorded with it.
    pub record: SetRecord,
    /// The objects, as the catalogue numbers them, with the privileges on them. Those of no object are left out; an
    /// object appears once.
    pub wanted: Vec<(usize, PrivilegeSet)>,
}

impl DesiredSet {
    /// The desired set that object permissions amount to. They must have been computed on the objects of the catalogue that
    /// the set is synced with ([`Catalog::objects`](crate::Catalog)), as both go by their numbers.
    pub fn new(role: impl Into<String>, record: SetRecord, permissions: &ObjectPermissions) -> Self {
        let objects = 0..permissions.objects().objects().len();
        let wanted = objects
            .map(|object| (object, permissions.privileges(object)))
            .filter(|(_, privileges)| !privileges.is_empty())
            .collect();
        Self { role: role.into(), record, wanted }
    }
}
