//! From what a set should hold and what it holds to what has to change: pure, printable.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use rolecall_policy::{ObjectKind, Privilege, PrivilegeSet};

use super::SetWish;
use crate::objects::{Catalog, Held, ObjectClass, SetState};

/// Objects in one group, and so in one statement. More gain nothing, and hold row locks for longer.
pub const MOST_OBJECTS: usize = 500;

/// What has to change so that a set holds what it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetPlan {
    /// Its role has to be made.
    pub create: bool,
    /// Its record has to be written.
    pub record: bool,
    /// CONNECT has to be granted.
    pub connect: bool,
    /// What no set has has to be taken away: see [`SetState::strays`].
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

/// The step from what a set holds to what it should hold.
///
/// Privileges that a wish names are granted also where everybody has them, so that taking them from everybody takes
/// nothing from the set. What a wish needs without naming it, CONNECT and USAGE of the schemas, is granted where not
/// everybody has it.
pub fn plan_set(wish: &SetWish, catalog: &Catalog) -> SetPlan {
    plan_from(wish, catalog, catalog.sets.get(&wish.role))
}

/// As [`plan_set`], from another state of the set than that in the catalogue.
pub(crate) fn plan_from(wish: &SetWish, catalog: &Catalog, state: Option<&SetState>) -> SetPlan {
    let nothing = SetState::default();
    let held = &state.unwrap_or(&nothing).held;
    let (wanted, allowed) = expected(wish, catalog);
    let mut plan = SetPlan {
        create: state.is_none(),
        record: state.is_none_or(|state| state.record.as_ref() != Some(&wish.record)),
        connect: !state.map_or(catalog.open, |state| state.connects),
        sweep: state.is_some_and(|state| state.strays),
        ..SetPlan::default()
    };
    let class = |object: usize| ObjectClass::of(catalog.objects[object].kind);
    let mut has: HashMap<usize, PrivilegeSet> = HashMap::with_capacity(held.len());
    let mut revokes: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for Held { object, grantor, privileges, grantable } in held {
        let may = allowed.get(object).copied().unwrap_or_default();
        let (kept, excess) = (privileges.intersection(may), privileges.difference(may));
        let option = grantable.intersection(may);
        for (taken, option_only) in [(excess, false), (option, true)] {
            if !taken.is_empty() {
                let key = (class(*object), taken, Arc::clone(grantor), option_only);
                revokes.entry(key).or_default().push(*object);
            }
        }
        let has = has.entry(*object).or_default();
        *has = has.union(kept);
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
    for (object, privileges) in wanted {
        let lacking = privileges.difference(has.get(&object).copied().unwrap_or_default());
        if !lacking.is_empty() {
            grants.entry((class(object), lacking)).or_default().push(object);
        }
    }
    plan.grants = chunked(grants)
        .map(|((class, privileges), objects)| GrantGroup { class, privileges, objects })
        .collect();
    plan
}

/// What the set must hold, ascending by object, and what it may.
fn expected(
    wish: &SetWish,
    catalog: &Catalog,
) -> (BTreeMap<usize, PrivilegeSet>, BTreeMap<usize, PrivilegeSet>) {
    let usage = PrivilegeSet::from_iter([Privilege::Usage]);
    let mut wanted: BTreeMap<usize, PrivilegeSet> = BTreeMap::new();
    let mut schemas: BTreeSet<&str> = BTreeSet::new();
    for (object, privileges) in &wish.wanted {
        let Some(facts) = catalog.objects.get(*object) else { continue };
        let privileges =
            privileges.intersection(PrivilegeSet::of_kind(facts.kind)).difference(catalog.unknown);
        if !privileges.is_empty() {
            wanted.insert(*object, privileges);
            schemas.insert(&facts.schema);
        }
    }
    let mut allowed = wanted.clone();
    let objects = catalog.objects.iter().enumerate();
    for (object, _) in objects.filter(|(_, o)| o.kind == ObjectKind::Schema && schemas.contains(&*o.schema)) {
        for (map, implied) in [(&mut allowed, true), (&mut wanted, !catalog.open_schemas.contains(&object))] {
            if implied {
                let privileges = map.entry(object).or_default();
                *privileges = privileges.union(usage);
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
            (self.sweep, "sweep what no set has"),
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
