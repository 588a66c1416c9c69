//! From the privileges that a set should have and those it has to what has to change: pure, printable.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use rolecall_policy::{ObjectKind, Privilege, PrivilegeSet};

use super::DesiredSet;
use crate::objects::{Catalog, ObjectClass, ObjectGrant, SetState};

/// Objects in one group, and so in one statement. More would gain nothing, and hold row locks for longer.
pub const MOST_OBJECTS: usize = 500;

/// What has to change so that a set has what it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetPlan {
    /// Its role has to be made.
    pub create: bool,
    /// Its record has to be written.
    pub record: bool,
    /// CONNECT has to be granted.
    pub connect: bool,
    /// Something that no set has must be removed: see [`SetState::foreign_grants`].
    pub sweep: bool,
    /// What is taken away, first.
    pub revokes: Vec<RevokeGroup>,
    /// What is granted.
    pub grants: Vec<GrantGroup>,
}

/// Objects that get the same privileges, in one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantGroup {
    /// How they are named.
    pub class: ObjectClass,
    /// The privileges.
    pub privileges: PrivilegeSet,
    /// The objects, ascending.
    pub objects: Vec<usize>,
}

/// Objects that lose the same privileges, in one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeGroup {
    /// How they are named.
    pub class: ObjectClass,
    /// The privileges.
    pub privileges: PrivilegeSet,
    /// Whose grants they are.
    pub grantor: Arc<str>,
    /// Only the right to pass them on is taken away.
    pub option_only: bool,
    /// The objects, ascending.
    pub objects: Vec<usize>,
}

impl SetPlan {
    /// Is there nothing to do?
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The step from what a set has to what it should have.
///
/// Privileges that a desired set names are granted also where everybody has them, so that taking them from everybody takes
/// nothing from the set. What a desired set needs without naming it, CONNECT and USAGE of the schemas, is granted where not
/// everybody has it.
pub fn plan_set(desired: &DesiredSet, catalog: &Catalog) -> SetPlan {
    plan_from(desired, catalog, catalog.sets.get(&desired.role))
}

/// As [`plan_set`], from another state of the set than that in the catalogue.
pub fn plan_from(desired: &DesiredSet, catalog: &Catalog, state: Option<&SetState>) -> SetPlan {
    let nothing = SetState::default();
    let grants = &state.unwrap_or(&nothing).grants;
    let (wanted, allowed) = expected(desired, catalog);
    let mut plan = SetPlan {
        create: state.is_none(),
        record: state.is_none_or(|state| state.record.as_ref() != Some(&desired.record)),
        connect: !state.map_or(catalog.open, |state| state.connects),
        sweep: state.is_some_and(|state| state.foreign_grants),
        ..SetPlan::default()
    };
    let class = |object: usize| ObjectClass::of(catalog.objects[object].kind);
    let mut has = vec![PrivilegeSet::EMPTY; catalog.objects.len()];
    let mut revokes: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for ObjectGrant { object, grantor, privileges, grantable } in grants {
        let may = allowed[*object];
        let (kept, excess) = (privileges.intersection(may), privileges.difference(may));
        let option = grantable.intersection(may);
        for (taken, option_only) in [(excess, false), (option, true)] {
            if !taken.is_empty() {
                let key = (class(*object), taken, Arc::clone(grantor), option_only);
                revokes.entry(key).or_default().push(*object);
            }
        }
        has[*object] = has[*object].union(kept);
    }
    plan.revokes = chunked(revokes)
        .map(|((class, privileges, grantor, option_only), objects)| RevokeGroup {
            class,
            privileges,
            grantor,
            option_only,
            objects,
        })
        .collect();
    let mut grants: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (object, (wanted, has)) in wanted.into_iter().zip(has).enumerate() {
        let lacking = wanted.difference(has);
        if !lacking.is_empty() {
            grants.entry((class(object), lacking)).or_default().push(object);
        }
    }
    plan.grants = chunked(grants)
        .map(|((class, privileges), objects)| GrantGroup { class, privileges, objects })
        .collect();
    plan
}

/// What the set must be granted on each object, and what it may.
fn expected(desired: &DesiredSet, catalog: &Catalog) -> (Vec<PrivilegeSet>, Vec<PrivilegeSet>) {
    let usage = PrivilegeSet::from_iter([Privilege::Usage]);
    let mut wanted = vec![PrivilegeSet::EMPTY; catalog.objects.len()];
    let mut schemas: HashSet<&str> = HashSet::new();
    for (object, privileges) in &desired.wanted {
        let Some(facts) = catalog.objects.get(*object) else { continue };
        wanted[*object] =
            privileges.intersection(PrivilegeSet::of_kind(facts.kind)).difference(catalog.unknown);
        if !wanted[*object].is_empty() {
            schemas.insert(&facts.schema);
        }
    }
    let elsewhere =
        catalog.elsewhere.as_ref().and_then(|elsewhere| elsewhere.used_schemas.get(&desired.role));
    let is_used = |number: usize, schema: &str| {
        schemas.contains(schema) || elsewhere.is_some_and(|used| used.contains(&number))
    };
    let mut allowed = wanted.clone();
    for (number, object) in catalog.objects.iter().enumerate() {
        if object.kind == ObjectKind::Schema && is_used(number, &object.schema) {
            allowed[number] = allowed[number].union(usage);
            if !catalog.open_schemas.contains(&number) {
                wanted[number] = wanted[number].union(usage);
            }
        }
    }
    (wanted, allowed)
}

fn chunked<K: Clone>(groups: BTreeMap<K, Vec<usize>>) -> impl Iterator<Item = (K, Vec<usize>)> {
    groups.into_iter().flat_map(|(key, mut objects)| {
        objects.sort_unstable();
        objects.chunks(MOST_OBJECTS).map(|chunk| (key.clone(), chunk.to_vec())).collect::<Vec<_>>()
    })
}

impl fmt::Display for SetPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (is, what) in [
            (self.create, "create the role"),
            (self.record, "write its record"),
            (self.connect, "grant CONNECT"),
            (self.sweep, "remove what no set has"),
        ] {
            if is {
                writeln!(f, "{what}")?;
            }
        }
        for group in &self.revokes {
            let option = if group.option_only { "GRANT OPTION FOR " } else { "" };
            let RevokeGroup { class, privileges, grantor, objects, .. } = group;
            writeln!(f, "revoke {option}{privileges} on {class} {objects:?} granted by {grantor:?}")?;
        }
        for GrantGroup { class, privileges, objects } in &self.grants {
            writeln!(f, "grant {privileges} on {class} {objects:?}")?;
        }
        Ok(())
    }
}
