//! Privileges on objects.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::bits::Bits;
use crate::decision::Denial;
use crate::entry_index::EntryIndex;
use crate::import_rule::ImportRules;
use crate::labelling::{LabelOrigin, LabelledObjects, MappingRef};
use crate::object::{Database, DbObject};
use crate::one_line::Join;
use crate::origin::Origin;
use crate::permission::{PermissionEntries, PermissionEntry};
use crate::privilege::{Privilege, PrivilegeSet};
use crate::selector::LabelMatch;
use crate::spec::Labels;

/// The privileges that a user gets on the objects of a server, or of one logical database in it.
///
/// An object costs four bytes here; why it gets what it gets is worked out on demand.
#[derive(Debug)]
pub struct ObjectPermissions {
    objects: Arc<LabelledObjects>,
    entries: PermissionEntries,
    /// Which of `outcomes` each object has.
    outcome_of: Vec<u32>,
    /// What the entries give that select some object, kinds aside. The first is nothing.
    outcomes: Vec<PrivilegeSet>,
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
///
/// Objects outside `database_name` get none, where it is given.
pub fn compute_permissions(
    entries: &PermissionEntries,
    labelled: &Arc<LabelledObjects>,
    database_name: Option<&str>,
) -> ObjectPermissions {
    let index = EntryIndex::new(entries, labelled);
    let mut outcomes = vec![PrivilegeSet::EMPTY];
    let mut known: HashMap<Bits, u32> = HashMap::new();
    let mut outcome_of_bits = |bits: &Bits| match known.get(bits) {
        Some(outcome) => *outcome,
        None => {
            let privileges = privileges_of(entries, bits);
            let outcome = outcomes.iter().position(|known| *known == privileges).unwrap_or_else(|| {
                outcomes.push(privileges);
                outcomes.len() - 1
            });
            known.insert(bits.clone(), outcome as u32);
            outcome as u32
        }
    };
    let mut classes: Vec<_> = labelled.classes().iter().map(|_| None).collect();
    let mut scratch = index.scratch();
    let outcome_of = labelled.objects_with_class().map(|(object, class)| {
        let number = class as usize;
        let Some(class) = labelled.classes().get(number) else { return 0 };
        if database_name.is_some_and(|name| *class.database != *name) {
            return 0;
        }
        let class_index: &mut Option<_> = &mut classes[number];
        let class_index = class_index.get_or_insert_with(|| index.class(labelled, class, &mut scratch));
        index.select(labelled, class, class_index, &object.name, &mut scratch);
        outcome_of_bits(scratch.selected())
    });
    let outcome_of = outcome_of.collect();
    ObjectPermissions { objects: Arc::clone(labelled), entries: entries.clone(), outcome_of, outcomes }
}

/// What a set of entries gives; those of allow come first.
fn privileges_of(entries: &PermissionEntries, selected: &Bits) -> PrivilegeSet {
    let (mut given, mut taken) = (PrivilegeSet::EMPTY, PrivilegeSet::EMPTY);
    for entry in selected.iter() {
        match entry.checked_sub(entries.allow.len()) {
            None => given = given.union(entries.allow[entry].privileges),
            Some(entry) => taken = taken.union(entries.deny[entry].privileges),
        }
    }
    given.difference(taken)
}

impl ObjectPermissions {
    /// The objects on which the user gets something, with what it gets.
    pub fn iter(&self) -> impl Iterator<Item = (&DbObject, PrivilegeSet)> {
        let objects = self.objects.objects().iter().enumerate();
        objects
            .map(|(i, object)| (object, self.privileges(i)))
            .filter(|(_, privileges)| !privileges.is_empty())
    }

    /// The privileges on the object at `index`, as [`LabelledObjects::objects`] numbers them.
    pub fn privileges(&self, index: usize) -> PrivilegeSet {
        let (Some(outcome), Some(object)) = (self.outcome_of.get(index), self.objects.objects().get(index))
        else {
            return PrivilegeSet::EMPTY;
        };
        self.outcomes[*outcome as usize].intersection(PrivilegeSet::of_kind(object.kind))
    }

    /// How many objects the user gets each privilege on; privileges on none are left out.
    pub fn counts(&self) -> BTreeMap<Privilege, usize> {
        let mut counts = BTreeMap::new();
        for (_, privileges) in self.iter() {
            for privilege in privileges.iter() {
                *counts.entry(privilege).or_default() += 1;
            }
        }
        counts
    }

    /// Whether the user gets nothing.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The objects, with their labels.
    pub fn objects(&self) -> &Arc<LabelledObjects> {
        &self.objects
    }

    /// Why the user gets what it gets on the object at `index`.
    pub fn explain(&self, index: usize) -> ObjectExplanation {
        let labels = self.objects.labels(index);
        let kind = self.objects.objects().get(index).map(|object| object.kind);
        let granted = self.privileges(index);
        let (mut given, mut taken) = (BTreeMap::new(), BTreeMap::new());
        if let (Some(labels), Some(kind)) = (&labels, kind) {
            let of_kind = PrivilegeSet::of_kind(kind);
            collect(&self.entries.allow, labels, of_kind, &mut given);
            collect(&self.entries.deny, labels, of_kind, &mut taken);
        }
        let privileges = given.into_iter().map(|(privilege, given_by)| PrivilegeOrigin {
            privilege,
            granted: granted.contains(privilege),
            given_by,
            taken_by: taken.remove(&privilege).unwrap_or_default(),
        });
        ObjectExplanation {
            imported_by: self.objects.imported_by(index),
            labels: self.objects.explain(index),
            privileges: privileges.collect(),
        }
    }
}

/// Adds the entries that select an object with these labels to the privileges that they name.
fn collect(
    entries: &[Arc<PermissionEntry>],
    labels: &Labels,
    of_kind: PrivilegeSet,
    by_privilege: &mut BTreeMap<Privilege, Vec<EntryMatch>>,
) {
    for entry in entries {
        let Some(by) = entry.selector().explain(labels) else { continue };
        for privilege in entry.privileges.intersection(of_kind).iter() {
            let entry = EntryMatch { entry: entry.origin.clone(), by: by.clone() };
            by_privilege.entry(privilege).or_default().push(entry);
        }
    }
}

/// Why a user gets what it gets on an object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectExplanation {
    /// The mappings that import it; none: it is not imported, unless its labels were given with it.
    pub imported_by: Vec<MappingRef>,
    /// Its labels and where they come from.
    pub labels: Vec<LabelOrigin>,
    /// Every privilege that some allow entry gives on it and that its kind has.
    pub privileges: Vec<PrivilegeOrigin>,
}

/// What entries say about one privilege on an object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrivilegeOrigin {
    /// The privilege.
    pub privilege: Privilege,
    /// Whether the user gets it. Without one of `taken_by` it only does not where the object is in another
    /// logical database.
    pub granted: bool,
    /// The allow entries that give it.
    pub given_by: Vec<EntryMatch>,
    /// The deny entries that take it away.
    pub taken_by: Vec<EntryMatch>,
}

impl std::fmt::Display for PrivilegeOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} given by {}", self.privilege, Join(&self.given_by))?;
        if !self.taken_by.is_empty() {
            write!(f, ", taken by {}", Join(&self.taken_by))?;
        }
        Ok(())
    }
}

/// An entry that selects an object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryMatch {
    /// Where the entry is.
    pub entry: Origin,
    /// The labels that it selected by; empty where it selects every object.
    pub by: Vec<LabelMatch>,
}

impl std::fmt::Display for EntryMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.entry)?;
        if !self.by.is_empty() {
            write!(f, " ({})", Join(&self.by))?;
        }
        Ok(())
    }
}
