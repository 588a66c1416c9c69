//! Properties of every input.
#![allow(clippy::expect_used, reason = "a test says what went wrong")]

mod arbitrary;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arbitrary::{Case, case, nonsense};
use proptest::prelude::*;
use proptest::sample::Index;
use rolecall_policy::spec::{Labels, PermissionSpec, RoleSpec};
use rolecall_policy::{
    DatabaseNames, Decision, Effect, Faults, ImportRule, ImportRules, LabelledObjects, ObjectPermissions,
    PermissionEntries, PermissionEntry, PrivilegeSet, Reason, Roles, User, compute_permissions,
    decide_access, decide_objects, label_objects, list_reach,
};

/// A decision without its provenance.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    reason: Option<Reason>,
    mode: rolecall_policy::Mode,
    ttl: Option<std::time::Duration>,
    db_roles: Vec<String>,
    canonical: rolecall_policy::CanonicalPermissions,
    objects: BTreeMap<String, PrivilegeSet>,
}

struct Decided {
    decision: Decision,
    labelled: Arc<LabelledObjects>,
    permissions: ObjectPermissions,
}

fn user(case: &Case) -> User {
    let mut roles = Roles::new();
    case.roles.iter().for_each(|(name, spec)| roles.insert(name, spec));
    User::resolve(&case.user, &roles)
}

fn rules(case: &Case) -> ImportRules {
    ImportRules::of_namespace(case.rules.iter().map(|(name, spec)| Arc::new(ImportRule::read(name, spec))))
}

fn decide(case: &Case) -> Decided {
    let decision = decide_access(&user(case), &case.database, Some(&case.database_name), &case.requested);
    let rules = rules(case);
    let labelled = Arc::new(label_objects(&rules, &case.database, case.objects.clone().into()));
    let entries = &decision.provisioning.permissions;
    let permissions = decide_objects(&rules, &case.database, Some(&case.database_name), entries, &labelled)
        .expect("generated rules are valid");
    Decided { decision, labelled, permissions }
}

fn outcome(case: &Case) -> Outcome {
    let Decided { decision, permissions, .. } = decide(case);
    Outcome {
        reason: decision.denial.as_ref().map(|denial| denial.reason),
        mode: decision.provisioning.mode,
        ttl: decision.provisioning.max_session_ttl.as_ref().map(|limit| limit.ttl),
        db_roles: decision.provisioning.db_role_names().into_iter().map(str::to_owned).collect(),
        canonical: decision.provisioning.permissions.canonical(),
        objects: permissions.iter().map(|(object, privileges)| (object.to_string(), privileges)).collect(),
    }
}

/// Whether nothing is in the first that is not in the second.
fn no_wider(narrow: &Outcome, wide: &Outcome) -> bool {
    let allowed = narrow.reason.is_some() || wide.reason.is_none();
    let roles = narrow.db_roles.iter().all(|role| wide.db_roles.contains(role));
    let objects = narrow.objects.iter().all(|(object, privileges)| {
        let had = wide.objects.get(object).copied().unwrap_or_default();
        privileges.difference(had).is_empty()
    });
    allowed && narrow.mode <= wide.mode && roles && objects
}

/// A deny that is added to a role: an entry of a list, or a value of a selector that is there already.
#[derive(Clone, Debug)]
enum Deny {
    Name(String),
    Role(String),
    Permission(PermissionSpec),
    Label(Index, String),
}

fn deny() -> impl Strategy<Value = Deny> {
    prop_oneof![
        arbitrary::database_name().prop_map(Deny::Name),
        arbitrary::db_role().prop_map(Deny::Role),
        arbitrary::permission(true).prop_map(Deny::Permission),
        (any::<Index>(), arbitrary::pattern()).prop_map(|(index, pattern)| Deny::Label(index, pattern)),
    ]
}

fn add(spec: &mut RoleSpec, deny: Deny) {
    match deny {
        Deny::Name(name) => spec.deny.db_names.push(name),
        Deny::Role(role) => spec.deny.db_roles.push(role),
        Deny::Permission(entry) => spec.deny.db_permissions.push(entry),
        Deny::Label(index, pattern) => {
            // A key with no other value than `*` stays as it is.
            let keys: Vec<String> = spec.deny.db_labels.keys().filter(|key| *key != "*").cloned().collect();
            if !keys.is_empty() {
                spec.deny.db_labels.entry(index.get(&keys).clone()).or_default().push(pattern);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_deny_added_to_a_role_never_widens(case in case(), at in any::<Index>(), denies in prop::collection::vec(deny(), 1..3)) {
        let mut narrowed = case.clone();
        let roles = narrowed.roles.len();
        for deny in denies {
            add(&mut narrowed.roles[at.index(roles)].1, deny);
        }
        prop_assert!(no_wider(&outcome(&narrowed), &outcome(&case)));
    }

    #[test]
    fn a_role_that_only_denies_never_widens(case in case(), deny in arbitrary::conditions(true)) {
        let mut narrowed = case.clone();
        narrowed.roles.push(("deny-only".to_owned(), RoleSpec { deny, ..RoleSpec::default() }));
        narrowed.user.roles.push("deny-only".to_owned());
        prop_assert!(no_wider(&outcome(&narrowed), &outcome(&case)));
    }

    #[test]
    fn order_and_repetition_do_not_matter(case in case(), seed in any::<u64>()) {
        let mut shuffled = case.clone();
        arbitrary::shuffle(&mut shuffled, seed);
        prop_assert_eq!(outcome(&shuffled), outcome(&case));
    }

    #[test]
    fn decisions_do_not_depend_on_how_objects_are_batched(case in case(), at in any::<Index>()) {
        let whole = outcome(&case).objects;
        let cut = at.index(case.objects.len() + 1);
        let mut parts = BTreeMap::new();
        for objects in [&case.objects[..cut], &case.objects[cut..]] {
            parts.extend(outcome(&Case { objects: objects.to_vec(), ..case.clone() }).objects);
        }
        prop_assert_eq!(&parts, &whole);
        let labelled = decide(&case).labelled;
        for (i, object) in case.objects.iter().enumerate() {
            let alone = decide(&Case { objects: vec![object.clone()], ..case.clone() });
            prop_assert_eq!(alone.labelled.labels(0), labelled.labels(i));
            prop_assert_eq!(alone.permissions.privileges(0), whole.get(&object.to_string()).copied().unwrap_or_default());
        }
    }

    #[test]
    fn provenance_and_decision_agree(case in case()) {
        let Decided { decision, labelled, permissions } = decide(&case);
        let provisioning = &decision.provisioning;
        prop_assert_eq!(decision.is_allowed(), provisioning.mode.is_enabled());
        prop_assert!(!decision.is_allowed() || !decision.allowed_by.is_empty());
        prop_assert_eq!(provisioning.mode.is_enabled(), !provisioning.contributing.is_empty());
        prop_assert!(provisioning.db_roles.iter().all(|role| !role.given_by.is_empty()));
        for withheld in &provisioning.withheld_db_roles {
            prop_assert!(!withheld.given_by.is_empty());
            prop_assert!(!withheld.taken_by.is_empty() || !case.requested.contains(&withheld.name));
            prop_assert!(!provisioning.db_role_names().contains(&withheld.name.as_str()));
        }
        for (i, object) in labelled.objects().iter().enumerate() {
            let explanation = permissions.explain(i);
            let explained: Labels =
                explanation.labels.iter().map(|label| (label.key.clone(), label.value.clone())).collect();
            prop_assert_eq!(labelled.labels(i).unwrap_or_default(), explained);
            prop_assert_eq!(labelled.labels(i).is_some(), !explanation.imported_by.is_empty());
            let here = *object.database == case.database_name;
            let granted: PrivilegeSet = explanation
                .privileges
                .iter()
                .filter(|privilege| here && privilege.taken_by.is_empty() && !privilege.given_by.is_empty())
                .map(|privilege| privilege.privilege)
                .collect();
            prop_assert_eq!(permissions.privileges(i), granted);
            prop_assert!(explanation.privileges.iter().all(|p| p.granted == granted.contains(p.privilege)));
        }
    }

    #[test]
    fn indexes_find_what_each_entry_by_itself_selects(
        case in case(),
        allow in prop::collection::vec(arbitrary::permission(false), 0..8),
        deny in prop::collection::vec(arbitrary::permission(true), 0..4),
    ) {
        let read = |effect, specs: &[PermissionSpec]| -> Vec<Arc<PermissionEntry>> {
            let read = |(i, spec)| Arc::new(PermissionEntry::read("r", effect, i, spec, &mut Faults::new()));
            specs.iter().enumerate().map(read).collect()
        };
        let entries = PermissionEntries { allow: read(Effect::Allow, &allow), deny: read(Effect::Deny, &deny) };
        let labelled = Arc::new(label_objects(&rules(&case), &case.database, case.objects.clone().into()));
        let permissions = compute_permissions(&entries, &labelled, None);
        for (i, object) in case.objects.iter().enumerate() {
            let selected = |entries: &[Arc<PermissionEntry>]| {
                let labels = labelled.labels(i);
                let selects = |entry: &&Arc<PermissionEntry>| labels.as_ref().is_some_and(|l| entry.selector().matches(l));
                entries.iter().filter(selects).fold(PrivilegeSet::EMPTY, |all, entry| all.union(entry.privileges))
            };
            let expected = selected(&entries.allow).difference(selected(&entries.deny));
            prop_assert_eq!(permissions.privileges(i), expected.intersection(PrivilegeSet::of_kind(object.kind)));
        }
    }

    #[test]
    fn entries_that_cover_others_give_all_that_those_give(
        case in case(),
        allow in prop::collection::vec((arbitrary::permission(false), 0..3_u8), 1..5),
        deny in prop::collection::vec((arbitrary::permission(true), 0..3_u8), 0..4),
    ) {
        // Each entry is in the one, in the other, or in both.
        let read = |effect, specs: &[(PermissionSpec, u8)], of: u8| -> Vec<Arc<PermissionEntry>> {
            let read = |(i, spec)| Arc::new(PermissionEntry::read("r", effect, i, spec, &mut Faults::new()));
            specs.iter().filter(|(_, which)| *which == of || *which == 2).map(|(spec, _)| spec).enumerate().map(read).collect()
        };
        let entries = |of| PermissionEntries { allow: read(Effect::Allow, &allow, of), deny: read(Effect::Deny, &deny, of) };
        let (wide, narrow) = (entries(0), entries(1));
        if wide.canonical().covers(&narrow.canonical()) {
            let labelled = Arc::new(label_objects(&rules(&case), &case.database, case.objects.clone().into()));
            let (wide, narrow) = (compute_permissions(&wide, &labelled, None), compute_permissions(&narrow, &labelled, None));
            for i in 0..case.objects.len() {
                prop_assert!(narrow.privileges(i).difference(wide.privileges(i)).is_empty());
            }
        }
    }

    #[test]
    fn labels_given_with_objects_decide_like_labels_of_rules(case in case()) {
        let Decided { decision, labelled, permissions } = decide(&case);
        let entries = &decision.provisioning.permissions;
        let objects = labelled.objects().iter().enumerate();
        let given = objects.filter_map(|(i, object)| Some((object.clone(), labelled.labels(i)?)));
        let given = compute_permissions(entries, &Arc::new(LabelledObjects::from_labels(given)), Some(&case.database_name));
        let collect = |permissions: &ObjectPermissions| -> BTreeMap<String, PrivilegeSet> {
            permissions.iter().map(|(object, privileges)| (object.to_string(), privileges)).collect()
        };
        prop_assert_eq!(collect(&given), collect(&permissions));
    }

    #[test]
    fn lists_agree_with_single_decisions(case in case(), others in prop::collection::vec(arbitrary::database(), 0..6)) {
        let user = user(&case);
        let databases: Vec<_> = others.into_iter().chain([case.database.clone()]).collect();
        let names: BTreeSet<&str> = ["app", "crm", "postgres", "somewhere"].into();
        for (database, reach) in databases.iter().zip(list_reach(&user, &databases)) {
            if !database.protocol.needs_database_name() {
                let decision = decide_access(&user, database, None, &[]);
                prop_assert_eq!(reach.denial.is_none(), decision.is_allowed());
            }
            for name in &names {
                let decision = decide_access(&user, database, Some(name), &[]);
                let listed = match &reach.database_names {
                    DatabaseNames::AllExcept(except) => !except.iter().any(|other| other == name),
                    DatabaseNames::Only(only) => only.iter().any(|other| other == name),
                };
                prop_assert_eq!(reach.denial.is_none() && listed, decision.is_allowed());
                if decision.is_allowed() {
                    prop_assert_eq!(&reach.db_roles, &decision.provisioning.db_role_names());
                    prop_assert_eq!(reach.mode, decision.provisioning.mode);
                }
            }
        }
    }

    #[test]
    fn nothing_panics(mut case in case(), texts in prop::collection::vec(nonsense(), 40)) {
        arbitrary::corrupt(&mut case, &texts);
        let user = user(&case);
        let _ = decide_access(&user, &case.database, Some(&case.database_name), &case.requested);
        let _ = list_reach(&user, [&case.database]);
        let rules = rules(&case);
        let labelled = Arc::new(label_objects(&rules, &case.database, case.objects.clone().into()));
        let entries = decide_access(&user, &case.database, None, &[]).provisioning.permissions;
        let _ = decide_objects(&rules, &case.database, None, &entries, &labelled);
        let permissions = compute_permissions(&entries, &labelled, None);
        for i in 0..=case.objects.len() {
            let _ = permissions.explain(i);
        }
    }
}
