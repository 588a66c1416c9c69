//! What the last look at all objects of a logical database found, as far as a look at a few of them needs it. Pure.
//!
//! What a set should have on an object follows from that object alone, but for one thing: it may use a schema as long as it
//! has something in it. And the status counts objects. So for each object that a rule labels this keeps where it lies, which
//! rules label it, and what each set should have on it: not its name, and once for all objects that have it in common.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::iter::Peekable;
use std::sync::Arc;

use rolecall_engine::objects::Elsewhere;
use rolecall_engine::sets::DesiredSet;
use rolecall_engine::{Catalog, Engine, ObjectRef};
use rolecall_policy::{Database, ImportRules, LabelledObjects, Privilege, PrivilegeSet};
use tokio::time::Instant;

use super::state::Imported;

/// See the module.
#[derive(Debug)]
pub(super) struct Baseline {
    basis: Basis,
    /// When all objects are to be looked at again.
    due: Instant,
    /// Which of `facts` holds of an object that a rule labels.
    objects: HashMap<ObjectRef, u32>,
    facts: Vec<Facts>,
    numbers: HashMap<Facts, u32>,
    /// By schema: in how many objects of it each set should have something.
    used: HashMap<Arc<str>, Vec<u32>>,
    rules: BTreeMap<Arc<str>, u32>,
    /// For each set: on how many objects it should have each privilege.
    counts: Vec<BTreeMap<Privilege, u64>>,
}

/// What a baseline goes by.
#[derive(Clone, Debug)]
pub(super) struct Basis {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) database: Database,
    pub(super) rules: ImportRules,
    /// The roles of the sets. They are called after the permissions that they give.
    pub(super) roles: Vec<String>,
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Facts {
    schema: Arc<str>,
    /// The rules that label it.
    rules: Arc<[Arc<str>]>,
    /// What each set should have on it.
    wanted: Box<[PrivilegeSet]>,
}

impl Basis {
    /// Does what was found on one basis hold on another?
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.engine, &other.engine)
            && self.rules.are_the_same(&other.rules)
            && (&self.database, &self.roles) == (&other.database, &other.roles)
    }
}

impl Baseline {
    /// Of no objects so far.
    pub(super) fn new(basis: Basis) -> Self {
        Self {
            counts: basis.roles.iter().map(|_| BTreeMap::new()).collect(),
            basis,
            due: Instant::now(),
            objects: HashMap::new(),
            facts: Vec::new(),
            numbers: HashMap::new(),
            used: HashMap::new(),
            rules: BTreeMap::new(),
        }
    }

    /// The same, until all objects are to be looked at again.
    pub(super) fn until(self, due: Instant) -> Self {
        Self { due, ..self }
    }

    /// When all objects are to be looked at again.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Does it hold on this basis, and is it still some time until all objects are to be looked at?
    pub(super) fn holds(&self, basis: &Basis, now: Instant) -> bool {
        self.basis.is(basis) && now < self.due
    }

    /// Adds the objects of a catalogue. The desired sets are those of the basis, in its order.
    pub(super) fn add(&mut self, catalog: &Catalog, labelled: &LabelledObjects, desired: &[DesiredSet]) {
        let mut rules_of: HashMap<u32, Arc<[Arc<str>]>> = HashMap::new();
        let mut known: HashMap<u32, HashMap<Box<[PrivilegeSet]>, u32>> = HashMap::new();
        // They are in the order of the objects.
        let mut wanted: Vec<_> = desired.iter().map(|desired| desired.wanted.iter().peekable()).collect();
        let mut row = vec![PrivilegeSet::EMPTY; desired.len()];
        for (number, object) in catalog.objects.iter().enumerate() {
            let of_kind = PrivilegeSet::of_kind(object.kind).difference(catalog.unknown);
            for (has, wanted) in row.iter_mut().zip(&mut wanted) {
                *has = next(wanted, number).intersection(of_kind);
            }
            let (Some(group), Some(id)) = (labelled.group(number), ObjectRef::of(catalog, number)) else {
                continue;
            };
            let known = known.entry(group).or_default();
            let facts = match known.get(&*row) {
                Some(facts) => *facts,
                None => {
                    let rules = rules_of.entry(group).or_insert_with(|| rules(labelled, number));
                    let wanted: Box<[PrivilegeSet]> = row.as_slice().into();
                    let facts = self.number(Facts {
                        schema: Arc::clone(&object.schema),
                        rules: Arc::clone(rules),
                        wanted: wanted.clone(),
                    });
                    known.insert(wanted, facts);
                    facts
                }
            };
            self.forget([id]);
            self.objects.insert(id, facts);
            self.count(facts, true);
        }
    }

    /// Forgets objects: they are looked at, and added again as far as they are still there.
    pub(super) fn forget(&mut self, objects: impl IntoIterator<Item = ObjectRef>) {
        for object in objects {
            if let Some(facts) = self.objects.remove(&object) {
                self.count(facts, false);
            }
        }
    }

    /// The schemas that these objects were in: what a set may do there can depend on whether they still are.
    pub(super) fn schemas_of(&self, objects: &BTreeSet<ObjectRef>) -> BTreeSet<Arc<str>> {
        let facts = objects.iter().filter_map(|object| self.facts.get(*self.objects.get(object)? as usize));
        facts.map(|facts| Arc::clone(&facts.schema)).collect()
    }

    /// What is known of the objects that a catalogue of some does not show. Those that it shows have to be forgotten
    /// before.
    pub(super) fn elsewhere(&self, catalog: &Catalog) -> Elsewhere {
        let mut used_schemas: BTreeMap<String, HashSet<usize>> = BTreeMap::new();
        for (number, object) in catalog.objects.iter().enumerate() {
            let used = self.used.get(&object.schema).map(Vec::as_slice).unwrap_or_default();
            for (role, _) in self.basis.roles.iter().zip(used).filter(|(_, used)| **used > 0) {
                used_schemas.entry(role.clone()).or_default().insert(number);
            }
        }
        Elsewhere { used_schemas }
    }

    /// How many objects each set has each privilege on: all that it should have, as only what is complete is kept.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, BTreeMap<String, u64>)> {
        let counts = self.counts.iter().map(|counts| {
            counts.iter().map(|(privilege, objects)| (privilege.as_str().to_owned(), *objects)).collect()
        });
        self.basis.roles.iter().map(String::as_str).zip(counts)
    }

    /// What there is, for counting.
    pub(super) fn imported(&self) -> Imported {
        Imported {
            objects: u32::try_from(self.objects.len()).unwrap_or(u32::MAX),
            by_rule: self.rules.iter().map(|(rule, objects)| (rule.to_string(), *objects)).collect(),
            crowded: Vec::new(),
        }
    }

    fn number(&mut self, facts: Facts) -> u32 {
        if let Some(number) = self.numbers.get(&facts) {
            return *number;
        }
        // There are fewer of them than objects, and those have numbers of 32 bits.
        let number = u32::try_from(self.facts.len()).unwrap_or(u32::MAX);
        self.facts.push(facts.clone());
        self.numbers.insert(facts, number);
        number
    }

    /// Counts an object for which these facts hold, or does so no longer.
    fn count(&mut self, facts: u32, is: bool) {
        let Self { facts: all, used, rules, counts, .. } = self;
        let Some(facts) = all.get(facts as usize) else { return };
        let used = used.entry(Arc::clone(&facts.schema)).or_insert_with(|| vec![0; counts.len()]);
        for ((wanted, used), counts) in facts.wanted.iter().zip(used).zip(counts) {
            if wanted.is_empty() {
                continue;
            }
            *used = if is { used.saturating_add(1) } else { used.saturating_sub(1) };
            for privilege in wanted.iter() {
                step(counts, privilege, is);
            }
        }
        for rule in &*facts.rules {
            step(rules, Arc::clone(rule), is);
        }
    }
}

/// Counts one more, or one less; what is none is left out.
fn step<
    K: Ord,
    N: Copy + Default + From<u8> + PartialEq + std::ops::Add<Output = N> + std::ops::Sub<Output = N>,
>(
    counts: &mut BTreeMap<K, N>,
    key: K,
    more: bool,
) {
    let one = N::from(1);
    let before = counts.get(&key).copied().unwrap_or_default();
    if more {
        counts.insert(key, before + one);
    } else if before == one || before == N::default() {
        counts.remove(&key);
    } else {
        counts.insert(key, before - one);
    }
}

/// What is wanted on the object of this number, where something is.
fn next<'a>(
    wanted: &mut Peekable<impl Iterator<Item = &'a (usize, PrivilegeSet)>>,
    number: usize,
) -> PrivilegeSet {
    wanted.next_if(|(object, _)| *object == number).map_or(PrivilegeSet::EMPTY, |(_, privileges)| *privileges)
}

/// The names of the rules that label an object.
fn rules(labelled: &LabelledObjects, object: usize) -> Arc<[Arc<str>]> {
    let names: BTreeSet<String> =
        labelled.imported_by(object).into_iter().map(|mapping| mapping.rule).collect();
    names.into_iter().map(Arc::from).collect()
}
