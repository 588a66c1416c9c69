//! Entries of `dbPermissions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::effect::Effect;
use crate::fault::Faults;
use crate::limits;
use crate::origin::Origin;
use crate::privilege::{Privilege, PrivilegeSet};
use crate::selector::{Selector, check_wildcard_key, is_everything};
use crate::spec::{PermissionSpec, SelectorSpec};

/// The entries in force for one user on one database.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PermissionEntries {
    /// What contributing roles give.
    #[serde(serialize_with = "serialize_shared")]
    pub allow: Vec<Arc<PermissionEntry>>,
    /// What any role of the user takes away.
    #[serde(serialize_with = "serialize_shared")]
    pub deny: Vec<Arc<PermissionEntry>>,
}

fn serialize_shared<S: Serializer>(
    entries: &[Arc<PermissionEntry>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(entries.iter().map(|entry| &**entry))
}

/// One entry, compiled.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionEntry {
    /// Where it is.
    pub origin: Origin,
    /// As written.
    pub spec: PermissionSpec,
    /// The privileges that it names; `*` is all of them.
    pub privileges: PrivilegeSet,
    #[serde(skip)]
    selector: Selector,
}

impl PermissionEntry {
    /// Compiles the entry at `index` of a role's `allow` or `deny`. What is wrong goes into `faults`; what is left
    /// is the entry without it.
    pub fn read(
        role: &str,
        effect: Effect,
        index: usize,
        spec: &PermissionSpec,
        faults: &mut Faults,
    ) -> Self {
        let path = format!("{}.dbPermissions[{index}]", effect.as_str());
        check_wildcard_key(&spec.matching, &format!("{path}.match"), faults);
        let selector = Selector::read(&spec.matching, &format!("{path}.match"), faults);
        let mut privileges = PrivilegeSet::EMPTY;
        let permissions_path = format!("{path}.permissions");
        let count = limits::entries(spec.permissions.len(), &permissions_path, faults);
        for (i, text) in spec.permissions.iter().take(count).enumerate() {
            let path = format_args!("{permissions_path}[{i}]");
            match (text.trim(), effect) {
                ("*", Effect::Deny) => privileges = PrivilegeSet::ALL,
                ("*", Effect::Allow) => {
                    faults.add(path, "* means every privilege only in deny: name them")
                }
                ("", _) => faults.add(path, "is empty: name a privilege, such as SELECT"),
                (name, _) => match Privilege::parse(name) {
                    Some(privilege) => privileges = privileges.union([privilege].into_iter().collect()),
                    None => faults.add(
                        path,
                        format_args!(
                            "{name:?} is no privilege of any kind of object: write one such as SELECT, USAGE or \
                             EXECUTE, or for MongoDB an action on collections such as find"
                        ),
                    ),
                },
            }
        }
        if spec.permissions.is_empty() {
            faults.add(permissions_path, "is empty: name at least one privilege");
        }
        let origin = Origin { role: role.to_owned(), path, text: describe(spec) };
        Self { origin, spec: spec.clone(), privileges, selector }
    }

    /// Which objects it selects.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// The selector in its canonical form; `None` where it selects nothing, whatever the labels are.
    fn canonical_match(&self) -> Option<SelectorSpec> {
        if self.selector.is_everything() {
            return Some([("*".to_owned(), vec!["*".to_owned()])].into());
        }
        let mut matching = self.spec.matching.clone();
        for patterns in matching.values_mut() {
            if patterns.iter().any(|pattern| pattern == "*") {
                *patterns = vec!["*".to_owned()];
            }
            patterns.sort();
            patterns.dedup();
        }
        (!matching.is_empty() && matching.values().all(|patterns| !patterns.is_empty())).then_some(matching)
    }
}

/// An entry in one line.
fn describe(spec: &PermissionSpec) -> String {
    let labels: Vec<String> =
        spec.matching.iter().map(|(key, values)| format!("{key}: [{}]", values.join(", "))).collect();
    format!("[{}] where {{{}}}", spec.permissions.join(", "), labels.join(", "))
}

/// Entries in a form in which equal effects are written equally: what a permission set is keyed by.
///
/// It does not depend on the order of roles and entries, on their names, on spelling, or on entries that
/// cannot do anything, be it because others do all of it.
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
    #[serde(serialize_with = "all_or_names")]
    pub privileges: PrivilegeSet,
}

/// Written so, "all of them" stays the same when a privilege is added.
fn all_or_names<S: Serializer>(privileges: &PrivilegeSet, serializer: S) -> Result<S::Ok, S::Error> {
    if *privileges == PrivilegeSet::ALL {
        serializer.collect_seq(["*"])
    } else {
        privileges.serialize(serializer)
    }
}

impl PermissionEntries {
    /// Whether nothing is given, whatever the objects are.
    pub fn is_empty(&self) -> bool {
        !self.allow.iter().any(|entry| !entry.privileges.is_empty() && entry.canonical_match().is_some())
    }

    /// The form to compare and hash. Without anything given nothing is taken away either.
    pub fn canonical(&self) -> CanonicalPermissions {
        let allow = canonical(&self.allow);
        let deny = if allow.is_empty() { Vec::new() } else { canonical(&self.deny) };
        CanonicalPermissions { allow, deny }
    }
}

impl CanonicalPermissions {
    /// Does this give all that `other` gives, whatever the objects and their labels are? Decided entry by
    /// entry, so that a "no" may be wrong, and a "yes" never is.
    pub fn covers(&self, other: &Self) -> bool {
        is_each_within(&other.allow, &self.allow) && is_each_within(&self.deny, &other.deny)
    }
}

/// Is each privilege of each of these entries in one of those, for all objects that it selects?
fn is_each_within(narrow: &[CanonicalEntry], wide: &[CanonicalEntry]) -> bool {
    narrow.iter().all(|entry| entry.privileges.difference(covered_by(wide, &entry.matching)).is_empty())
}

/// The privileges that these entries have on all that a selector selects.
fn covered_by<'a>(
    entries: impl IntoIterator<Item = &'a CanonicalEntry>,
    selector: &SelectorSpec,
) -> PrivilegeSet {
    let wider = entries.into_iter().filter(|entry| selects_all_of(&entry.matching, selector));
    wider.fold(PrivilegeSet::EMPTY, |all, entry| all.union(entry.privileges))
}

/// Does the one selector select whatever the other does?
fn selects_all_of(wide: &SelectorSpec, narrow: &SelectorSpec) -> bool {
    // The wildcard key has special rules.
    if wide.contains_key("*") || narrow.contains_key("*") {
        return wide == narrow || is_everything(wide);
    }
    wide.iter().all(|(key, patterns)| {
        let any = patterns.iter().any(|pattern| pattern == "*");
        narrow.get(key).is_some_and(|narrow| any || narrow.iter().all(|pattern| patterns.contains(pattern)))
    })
}

fn canonical(entries: &[Arc<PermissionEntry>]) -> Vec<CanonicalEntry> {
    let mut merged: BTreeMap<SelectorSpec, PrivilegeSet> = BTreeMap::new();
    for entry in entries {
        if let Some(matching) = entry.canonical_match()
            && !entry.privileges.is_empty()
        {
            let privileges = merged.entry(matching).or_default();
            *privileges = privileges.union(entry.privileges);
        }
    }
    let merged: Vec<CanonicalEntry> =
        merged.into_iter().map(|(matching, privileges)| CanonicalEntry { matching, privileges }).collect();
    let reduced = merged.iter().map(|entry| {
        let others = merged.iter().filter(|other| other.matching != entry.matching);
        let covered = covered_by(others, &entry.matching);
        CanonicalEntry { matching: entry.matching.clone(), privileges: entry.privileges.difference(covered) }
    });
    reduced.filter(|entry| !entry.privileges.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(effect: Effect, matching: &[(&str, &[&str])], permissions: &[&str]) -> Arc<PermissionEntry> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let spec = PermissionSpec {
            matching: matching.iter().map(|(key, values)| ((*key).to_owned(), texts(values))).collect(),
            permissions: texts(permissions),
        };
        Arc::new(PermissionEntry::read("r", effect, 0, &spec, &mut Faults::new()))
    }

    #[test]
    fn spelling_order_and_idle_entries_do_not_show_in_the_canonical_form() {
        let plain = PermissionEntries {
            allow: vec![entry(Effect::Allow, &[("a", &["1", "2"])], &["SELECT", "UPDATE"])],
            deny: vec![],
        };
        let spelled = PermissionEntries {
            allow: vec![
                entry(Effect::Allow, &[("b", &[])], &["DELETE"]),
                entry(Effect::Allow, &[("a", &["2", "1", "2"])], &[" update "]),
                entry(Effect::Allow, &[("a", &["1", "2"])], &["select"]),
            ],
            deny: vec![entry(Effect::Deny, &[], &["*"])],
        };
        assert_eq!(plain.canonical(), spelled.canonical());
    }

    #[test]
    fn what_other_entries_do_anyway_does_not_show_in_the_canonical_form() {
        let wide = entry(Effect::Allow, &[("a", &["1", "2"])], &["SELECT"]);
        let within = entry(Effect::Allow, &[("a", &["1"]), ("b", &["x"])], &["SELECT"]);
        let more = entry(Effect::Allow, &[("a", &["1"])], &["SELECT", "UPDATE"]);
        let of = |allow: &[&Arc<PermissionEntry>]| {
            let allow = allow.iter().map(|entry| Arc::clone(entry)).collect();
            PermissionEntries { allow, deny: vec![] }.canonical()
        };
        assert_eq!(of(&[&wide, &within]), of(&[&wide]));
        let update = entry(Effect::Allow, &[("a", &["1"])], &["UPDATE"]);
        assert_eq!(of(&[&more, &wide, &within]), of(&[&wide, &update]));
        assert_ne!(of(&[&wide, &more]), of(&[&wide]));
    }

    #[test]
    fn entries_cover_others_that_name_less_or_select_less() {
        let of = |allow: &[(&str, &[&str])], permissions: &[&str], deny: &[(&str, &[&str])]| {
            let deny = (!deny.is_empty()).then(|| entry(Effect::Deny, deny, &["UPDATE"]));
            PermissionEntries {
                allow: vec![entry(Effect::Allow, allow, permissions)],
                deny: deny.into_iter().collect(),
            }
            .canonical()
        };
        let hr = of(&[("schema", &["hr"])], &["SELECT"], &[]);
        let wider = [
            of(&[("schema", &["hr"])], &["SELECT", "UPDATE"], &[]),
            of(&[("schema", &["hr", "sales"])], &["SELECT"], &[]),
            of(&[("schema", &["*"])], &["SELECT"], &[]),
            of(&[("*", &["*"])], &["SELECT"], &[]),
        ];
        for wider in &wider {
            assert!(wider.covers(&hr) && !hr.covers(wider), "{wider:?}");
        }
        let narrower = [
            of(&[("schema", &["hr"]), ("name", &["employees"])], &["SELECT"], &[]),
            of(&[("schema", &["hr"])], &["SELECT"], &[("name", &["pay"])]),
        ];
        for narrower in &narrower {
            assert!(hr.covers(narrower) && !narrower.covers(&hr), "{narrower:?}");
        }
        let nothing = CanonicalPermissions::default();
        assert!(hr.covers(&nothing) && hr.covers(&hr) && !nothing.covers(&hr));
    }

    #[test]
    fn a_deny_shows_in_the_canonical_form() {
        let allow = vec![entry(Effect::Allow, &[("*", &["*"])], &["SELECT"])];
        let deny = vec![entry(Effect::Deny, &[("a", &["*"])], &["*"])];
        let with = PermissionEntries { allow: allow.clone(), deny: deny.clone() };
        assert_ne!(with.canonical(), PermissionEntries { allow, deny: vec![] }.canonical());
        assert_eq!(PermissionEntries { allow: vec![], deny }.canonical(), CanonicalPermissions::default());
    }
}
