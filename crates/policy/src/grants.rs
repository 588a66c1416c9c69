//! Privileges on objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::decision::{Denial, Origin};
use crate::import_rule::ImportRules;
use crate::labelling::{LabelOrigin, LabelledObjects};
use crate::object::{Database, DbObject};
use crate::permission::PermissionEntries;
use crate::privilege::{Privilege, PrivilegeSet};
use crate::selector::LabelMatch;

/// The privileges that a user gets on the objects of a server, or of one logical database in it.
#[derive(Debug)]
pub struct ObjectPermissions {
    objects: Arc<LabelledObjects>,
}

/// Decides object permissions: none where an import rule that may concern the database is not valid.
///
/// `labelled` are the server's objects as [`label_objects`](crate::label_objects) labels them with these
/// rules. Only objects of `database_name` get permissions, where it is given.
///
/// # Errors
///
/// [`Reason::ImportRuleInvalid`](crate::Reason::ImportRuleInvalid).
pub fn decide_objects(
    rules: &ImportRules,
    database: &Database,
    database_name: Option<&str>,
    entries: &PermissionEntries,
    labelled: &Arc<LabelledObjects>,
) -> Result<ObjectPermissions, Denial> {
    rules.check(database)?;
    Ok(compute_permissions(entries, labelled, database_name))
}

/// For each object the privileges of the allow entries that select its labels, without those of the deny
/// entries that do, as far as its kind has them.
pub fn compute_permissions(
    _entries: &PermissionEntries,
    _labelled: &Arc<LabelledObjects>,
    _database_name: Option<&str>,
) -> ObjectPermissions {
    todo!()
}

impl ObjectPermissions {
    /// The objects on which the user gets something, with what it gets.
    pub fn iter(&self) -> impl Iterator<Item = (&DbObject, PrivilegeSet)> {
        self.objects.objects().iter().map(|object| (object, PrivilegeSet::EMPTY))
    }

    /// The privileges on the object at `index`, as [`LabelledObjects::objects`] numbers them.
    pub fn privileges(&self, _index: usize) -> PrivilegeSet {
        todo!()
    }

    /// How many objects the user gets each privilege on.
    pub fn counts(&self) -> BTreeMap<Privilege, usize> {
        todo!()
    }

    /// Whether the user gets nothing.
    pub fn is_empty(&self) -> bool {
        todo!()
    }

    /// Why the user gets what it gets on the object at `index`.
    pub fn explain(&self, _index: usize) -> ObjectExplanation {
        todo!()
    }
}

/// Why a user gets what it gets on an object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectExplanation {
    /// Whether some import rule imports the object.
    pub imported: bool,
    /// Its labels and where they come from.
    pub labels: Vec<LabelOrigin>,
    /// Every privilege that some entry names and that the object's kind has.
    pub privileges: Vec<PrivilegeOrigin>,
}

/// What entries say about one privilege on an object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrivilegeOrigin {
    /// The privilege.
    pub privilege: Privilege,
    /// Whether the user gets it.
    pub granted: bool,
    /// The allow entries that give it.
    pub given_by: Vec<EntryMatch>,
    /// The deny entries that take it away.
    pub taken_by: Vec<EntryMatch>,
}

/// An entry that selects an object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryMatch {
    /// Where the entry stands.
    pub entry: Origin,
    /// The labels that it selected by; empty where it selects every object.
    pub by: Vec<LabelMatch>,
}
