//! The pure step: no server needed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rolecall_engine::Catalog;
use rolecall_engine::objects::{ObjectGrant, SetState};
use rolecall_engine::sets::{DesiredSet, MOST_OBJECTS, SetRecord, plan_set};
use rolecall_policy::{DbObject, ObjectKind, Privilege, PrivilegeSet};

fn set(list: &[Privilege]) -> PrivilegeSet {
    list.iter().copied().collect()
}

fn catalog(objects: Vec<DbObject>) -> Catalog {
    let ids = (0..objects.len() as u32).collect();
    Catalog { database: "shop".to_owned(), objects: objects.into(), ids, ..Catalog::default() }
}

fn object(kind: ObjectKind, schema: &str, name: &str) -> DbObject {
    DbObject::new(kind, "shop", schema, name)
}

fn shop() -> Catalog {
    catalog(vec![
        object(ObjectKind::Table, "app", "t1"),
        object(ObjectKind::Table, "app", "t2"),
        object(ObjectKind::View, "app", "v"),
        object(ObjectKind::Sequence, "app", "s"),
        object(ObjectKind::Function, "app", "f"),
        object(ObjectKind::Table, "open", "t"),
        object(ObjectKind::Schema, "app", "app"),
        object(ObjectKind::Schema, "open", "open"),
    ])
}

fn desired(wanted: Vec<(usize, PrivilegeSet)>) -> DesiredSet {
    DesiredSet { role: "rolecall:x".to_owned(), record: SetRecord::default(), wanted }
}

fn grant(object: usize, grantor: &str, privileges: &[Privilege], grantable: &[Privilege]) -> ObjectGrant {
    ObjectGrant { object, grantor: grantor.into(), privileges: set(privileges), grantable: set(grantable) }
}

#[test]
fn a_new_set_gets_all_in_few_statements() {
    use Privilege::{Execute, Select, Update, Usage};
    let mut catalog = shop();
    catalog.open_schemas = HashSet::from([7]);
    let all = vec![
        (0, set(&[Select])),
        (1, set(&[Select, Update])),
        (2, set(&[Select, Execute])),
        (3, set(&[Usage])),
        (4, set(&[Execute])),
        (5, set(&[Select])),
    ];
    insta::assert_snapshot!(plan_set(&desired(all), &catalog), @r"
    create the role
    write its record
    grant CONNECT
    grant USAGE on SCHEMA [6]
    grant SELECT on TABLE [0, 2, 5]
    grant SELECT, UPDATE on TABLE [1]
    grant USAGE on SEQUENCE [3]
    grant EXECUTE on ROUTINE [4]
    ");
}

#[test]
fn what_is_too_much_goes_grantor_by_grantor() {
    use Privilege::{Create, Insert, Select, Usage};
    let mut catalog = shop();
    let state = SetState {
        record: Some(SetRecord::default()),
        connects: true,
        grants: vec![
            grant(0, "owner", &[Select, Insert], &[Select]),
            grant(0, "dba", &[Insert], &[]),
            grant(1, "owner", &[Select], &[]),
            grant(6, "owner", &[Usage, Create], &[]),
            grant(7, "owner", &[Usage], &[]),
        ],
        foreign_grants: false,
    };
    catalog.sets = BTreeMap::from([("rolecall:x".to_owned(), state)]);
    insta::assert_snapshot!(plan_set(&desired(vec![(0, set(&[Select]))]), &catalog), @r#"
    revoke CREATE on SCHEMA [6] granted by "owner"
    revoke USAGE on SCHEMA [7] granted by "owner"
    revoke INSERT on TABLE [0] granted by "dba"
    revoke INSERT on TABLE [0] granted by "owner"
    revoke SELECT on TABLE [1] granted by "owner"
    revoke GRANT OPTION FOR SELECT on TABLE [0] granted by "owner"
    "#);
}

#[test]
fn what_a_server_does_not_know_and_numbers_of_nothing_are_left_out() {
    let mut catalog = shop();
    catalog.open = true;
    catalog.unknown = set(&[Privilege::Maintain]);
    let plan = plan_set(&desired(vec![(0, set(&[Privilege::Maintain])), (99, PrivilegeSet::ALL)]), &catalog);
    assert!(plan.grants.is_empty() && !plan.connect, "{plan}");
}

#[test]
fn statements_are_bounded() {
    let tables = 3 * MOST_OBJECTS + 1;
    let catalog = catalog((0..tables).map(|i| object(ObjectKind::Table, "app", &format!("t{i}"))).collect());
    let all = (0..tables).map(|i| (i, set(&[Privilege::Select]))).collect();
    let plan = plan_set(&desired(all), &catalog);
    let sizes: Vec<usize> = plan.grants.iter().map(|group| group.objects.len()).collect();
    assert_eq!(sizes, [MOST_OBJECTS, MOST_OBJECTS, MOST_OBJECTS, 1]);
}

/// What a plan makes of a state, as a server would.
fn carried_out(desired: &DesiredSet, catalog: &mut Catalog) {
    let plan = plan_set(desired, catalog);
    let state = catalog.sets.entry(desired.role.clone()).or_default();
    for group in &plan.revokes {
        for grant in state
            .grants
            .iter_mut()
            .filter(|h| group.objects.contains(&h.object) && h.grantor == group.grantor)
        {
            grant.grantable = grant.grantable.difference(group.privileges);
            if !group.option_only {
                grant.privileges = grant.privileges.difference(group.privileges);
            }
        }
    }
    for group in &plan.grants {
        let grants = group.objects.iter().map(|object| ObjectGrant {
            object: *object,
            grantor: Arc::from("admin"),
            privileges: group.privileges,
            grantable: PrivilegeSet::EMPTY,
        });
        state.grants.extend(grants);
    }
    (state.record, state.connects, state.foreign_grants) = (Some(desired.record.clone()), true, false);
}

proptest::proptest! {
    /// A plan that was carried out leaves nothing to do, whatever was there.
    #[test]
    fn a_plan_leaves_nothing_to_do(
        wanted in proptest::collection::btree_map(0_usize..8, 0_u8..=255, 0..8),
        found in proptest::collection::vec((0_usize..8, 0_u8..=255, 0_u8..=255, proptest::bool::ANY), 0..12),
        open in proptest::bool::ANY,
    ) {
        let all = [Privilege::Select, Privilege::Insert, Privilege::Update, Privilege::Delete,
            Privilege::Usage, Privilege::Create, Privilege::Execute, Privilege::Maintain];
        let of = |bits: u8| -> PrivilegeSet {
            all.into_iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0).map(|(_, one)| one).collect()
        };
        let mut catalog = shop();
        catalog.unknown = set(&[Privilege::Maintain]);
        if open {
            catalog.open_schemas = HashSet::from([6, 7]);
        }
        let desired = desired(wanted.into_iter().map(|(object, bits)| (object, of(bits))).collect());
        let grants = found.into_iter().map(|(object, bits, option, owner)| {
            let privileges = of(bits).intersection(PrivilegeSet::of_kind(catalog.objects[object].kind));
            let grantor = if owner { "owner" } else { "dba" };
            ObjectGrant { object, grantor: grantor.into(), privileges, grantable: privileges.intersection(of(option)) }
        }).collect();
        catalog.sets.insert(desired.role.clone(), SetState { grants, foreign_grants: true, ..SetState::default() });
        carried_out(&desired, &mut catalog);
        let left = plan_set(&desired, &catalog);
        proptest::prop_assert!(left.is_nothing(), "{}", left);
    }
}
