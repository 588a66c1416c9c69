//! Counting the privileges of sets, for their outcomes.

use std::collections::BTreeMap;

use rolecall_policy::{DbObject, Privilege, PrivilegeSet};

use super::{DesiredSet, MOST_NAMED, SyncedSet};
use crate::objects::{Catalog, ObjectGrant, SetState};

/// The outcome of a set that had what it should.
pub fn complete(desired: &DesiredSet, catalog: &Catalog, connects: bool) -> SyncedSet {
    SyncedSet {
        role: desired.role.clone(),
        granted: granted(desired, catalog, |_| PrivilegeSet::EMPTY),
        near_limit: near_limit(desired, catalog),
        connects,
        ..SyncedSet::default()
    }
}

/// On how many objects a set has each privilege that it should have, but for those that it lacks.
pub fn granted(
    desired: &DesiredSet,
    catalog: &Catalog,
    lacking: impl Fn(usize) -> PrivilegeSet,
) -> BTreeMap<Privilege, usize> {
    let mut counts = BTreeMap::new();
    for (object, privileges) in &desired.wanted {
        let Some(facts) = catalog.objects.get(*object) else { continue };
        let has = privileges
            .intersection(PrivilegeSet::of_kind(facts.kind))
            .difference(catalog.unknown)
            .difference(lacking(*object));
        for privilege in has.iter() {
            *counts.entry(privilege).or_default() += 1;
        }
    }
    counts
}

/// On how many objects a set lost privileges.
pub fn revoked(before: &SetState, after: &SetState) -> BTreeMap<Privilege, usize> {
    let objects = before.grants.iter().map(|grant| grant.object + 1).max().unwrap_or(0);
    let (before, after) = (by_object(before, objects), by_object(after, objects));
    let mut counts = BTreeMap::new();
    for (before, after) in before.into_iter().zip(after) {
        for privilege in before.difference(after).iter() {
            *counts.entry(privilege).or_default() += 1;
        }
    }
    counts
}

/// The privileges of a set on each of the first objects.
fn by_object(state: &SetState, objects: usize) -> Vec<PrivilegeSet> {
    let mut by_object = vec![PrivilegeSet::EMPTY; objects];
    for ObjectGrant { object, privileges, .. } in &state.grants {
        if let Some(has) = by_object.get_mut(*object) {
            *has = has.union(*privileges);
        }
    }
    by_object
}

fn near_limit(desired: &DesiredSet, catalog: &Catalog) -> Vec<(DbObject, u32)> {
    if catalog.crowded.is_empty() {
        return Vec::new();
    }
    let crowded = desired.wanted.iter().filter_map(|(object, _)| {
        Some((catalog.objects.get(*object)?.clone(), *catalog.crowded.get(object)?))
    });
    crowded.take(MOST_NAMED).collect()
}
