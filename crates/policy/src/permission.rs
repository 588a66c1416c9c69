//! Entries of `dbPermissions`.

use serde::Serialize;

use crate::decision::Origin;
use crate::privilege::PrivilegeSet;
use crate::spec::{PermissionSpec, SelectorSpec};

/// The entries in force for one user on one database.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PermissionEntries {
    /// What contributing roles give.
    pub allow: Vec<PermissionEntry>,
    /// What any role of the user takes away.
    pub deny: Vec<PermissionEntry>,
}

/// One entry.
#[derive(Clone, Debug, Serialize)]
pub struct PermissionEntry {
    /// Where it stands.
    pub origin: Origin,
    /// As written.
    pub spec: PermissionSpec,
    /// The privileges that it names; `*` is all of them.
    pub privileges: PrivilegeSet,
}

/// Entries in a form in which equal effects are written equally: what a permission set is keyed by.
///
/// It does not depend on the order of roles and entries, on their names, on spelling, or on entries that
/// cannot do anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CanonicalPermissions {
    /// What is given.
    pub allow: Vec<CanonicalEntry>,
    /// What is taken away.
    pub deny: Vec<CanonicalEntry>,
}

/// One entry of [`CanonicalPermissions`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CanonicalEntry {
    /// Which objects.
    #[serde(rename = "match")]
    pub matching: SelectorSpec,
    /// Which privileges.
    pub privileges: PrivilegeSet,
}

impl PermissionEntries {
    /// Whether nothing is given, whatever the objects are.
    pub fn is_empty(&self) -> bool {
        todo!()
    }

    /// The form to compare and hash.
    pub fn canonical(&self) -> CanonicalPermissions {
        todo!()
    }
}
