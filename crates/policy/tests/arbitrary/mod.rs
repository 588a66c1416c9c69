//! Random users, roles, rules and objects, small enough that things match.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use rolecall_policy::spec::{
    ImportRuleSpec, MappingSpec, MatchSpec, PermissionSpec, RoleConditions, RoleOptions, RoleSpec, ScopeSpec,
    SelectorSpec, Traits, UserSpec,
};
use rolecall_policy::{Database, DbObject, Mode, ObjectKind, Protocol};

/// Everything that a decision depends on.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) user: UserSpec,
    pub(crate) roles: Vec<(String, RoleSpec)>,
    pub(crate) database: Database,
    pub(crate) database_name: String,
    pub(crate) requested: Vec<String>,
    pub(crate) rules: Vec<(String, ImportRuleSpec)>,
    pub(crate) objects: Vec<DbObject>,
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(words).prop_map(str::to_owned)
}

fn words(words: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(word(words), 0..=most)
}

pub(crate) fn pattern() -> impl Strategy<Value = String> {
    word(&["prod", "dev", "hr", "*", "p*", "*r", "d*v", "^prod|dev$", "^h.*$", "{{external.team}}", "t1"])
}

fn selector() -> impl Strategy<Value = SelectorSpec> {
    let everything = Just(BTreeMap::from([("*".to_owned(), vec!["*".to_owned()])]));
    let key = word(&["env", "team", "dept", "name", "object_kind", "{{external.key}}"]);
    let keys = prop::collection::btree_map(key, prop::collection::vec(pattern(), 0..3), 0..3);
    prop_oneof![3 => everything, 2 => keys]
}

fn object_selector() -> impl Strategy<Value = SelectorSpec> {
    let everything = Just(BTreeMap::from([("*".to_owned(), vec!["*".to_owned()])]));
    let value = word(&["table", "view", "hr", "h*", "t*", "*", "*", "t1", "^t[12]$", "public", "^t|1$"]);
    let key = word(&["dept", "name", "name", "object_kind", "schema"]);
    let keys = prop::collection::btree_map(key, prop::collection::vec(value, 1..4), 1..3);
    prop_oneof![1 => everything, 4 => keys]
}

pub(crate) fn database_name() -> impl Strategy<Value = String> {
    word(&["app", "crm", "postgres", "{{external.team}}"])
}

pub(crate) fn db_role() -> impl Strategy<Value = String> {
    word(&["reader", "writer", "{{external.team}}_rw", "{{internal.db_roles}}", "dba"])
}

pub(crate) fn permission(deny: bool) -> impl Strategy<Value = PermissionSpec> {
    let privileges: &'static [&'static str] = if deny {
        &["SELECT", "insert", "USAGE", " update ", "*"]
    } else {
        &["SELECT", "insert", "USAGE", " update ", "EXECUTE"]
    };
    (object_selector(), prop::collection::vec(word(privileges), 1..4))
        .prop_map(|(matching, permissions)| PermissionSpec { matching, permissions })
}

pub(crate) fn conditions(deny: bool) -> impl Strategy<Value = RoleConditions> {
    let expression = prop::option::weighted(
        0.25,
        word(&[
            "labels[\"env\"] == \"prod\"",
            "labels.team in traits.team",
            "int(labels.env) > 1",
            "traits.team.exists(t, labels[t] != \"\")",
        ]),
    );
    let roles: &'static [&'static str] = if deny { &["writer", "dba", "*"] } else { &["writer", "dba"] };
    let db_roles = (prop::collection::vec(db_role(), 0..3), words(roles, 1)).prop_map(|(mut a, b)| {
        a.extend(b);
        a
    });
    // Allow mostly means every logical database, and deny rarely does.
    let star = if deny { 1 } else { 6 };
    let names = prop_oneof![
        star => Just(vec!["*".to_owned()]),
        4 => prop::collection::vec(database_name(), 0..3),
    ];
    // A deny that selects closes everything, so most have no selector.
    let labels =
        if deny { prop::option::weighted(0.3, selector()) } else { prop::option::weighted(0.9, selector()) };
    (labels, expression, names, db_roles, prop::collection::vec(permission(deny), 0..3)).prop_map(
        |(labels, expression, db_names, db_roles, db_permissions)| RoleConditions {
            db_labels: labels.unwrap_or_default(),
            db_labels_expression: expression,
            db_names,
            db_users: Vec::new(),
            db_roles,
            db_permissions,
        },
    )
}

fn options() -> impl Strategy<Value = RoleOptions> {
    let mode = prop::option::weighted(0.8, select(vec![Mode::Keep, Mode::BestEffortDrop, Mode::Disabled]));
    (mode, prop::option::of(any::<bool>()), prop::option::of(1..5_u64)).prop_map(|(mode, switch, hours)| {
        RoleOptions {
            create_db_user_mode: mode,
            create_db_user: switch,
            max_session_ttl: hours.map(|hours| std::time::Duration::from_secs(3600 * hours)),
            owned_objects: None,
            // They decide nothing about access.
            approval: None,
            max_sessions: None,
        }
    })
}

/// A role that lets people in and gives them objects, so that there is something to lose.
fn generous_role() -> impl Strategy<Value = RoleSpec> {
    let allow = prop::collection::vec(permission(false), 1..5);
    let deny = prop::collection::vec(permission(true), 0..2);
    (options(), prop::collection::vec(db_role(), 0..4), allow, deny).prop_map(
        |(options, db_roles, allow, deny)| RoleSpec {
            options: RoleOptions { create_db_user_mode: Some(Mode::Keep), ..options },
            allow: RoleConditions {
                db_labels: BTreeMap::from([("*".to_owned(), vec!["*".to_owned()])]),
                db_names: vec!["*".to_owned()],
                db_roles,
                db_permissions: allow,
                ..RoleConditions::default()
            },
            deny: RoleConditions { db_permissions: deny, ..RoleConditions::default() },
        },
    )
}

fn any_role() -> impl Strategy<Value = RoleSpec> {
    let deny = prop_oneof![4 => Just(RoleConditions::default()), 1 => conditions(true)];
    (options(), conditions(false), deny).prop_map(|(options, allow, deny)| RoleSpec { options, allow, deny })
}

fn role() -> impl Strategy<Value = RoleSpec> {
    prop_oneof![1 => generous_role(), 1 => any_role()]
}

fn mapping() -> impl Strategy<Value = MappingSpec> {
    let names: &'static [&'static str] = &["*", "*", "t*", "t1", "*1", "^t[12]$", "a*b*c", "*a*"];
    let label =
        word(&["hr", "sales", "{{obj.name}}", "{{obj.schema}}", "x-{{obj.name}}", "{{obj.object_kind}}"]);
    let labels = prop::collection::btree_map(word(&["dept", "name", "object_kind", "schema"]), label, 0..4);
    let scope = prop_oneof![2 => Just(Vec::new()), 1 => words(&["public", "h*"], 2)];
    let some = |most| prop::collection::vec(word(names), 1..=most);
    (some(2), words(names, 2), words(names, 1), words(&["app", "a*", "*"], 1), scope, labels).prop_map(
        |(tables, views, schemas, database_names, schema_names, add_labels)| MappingSpec {
            matching: MatchSpec {
                table_names: tables,
                view_names: views.clone(),
                sequence_names: views,
                schema_names: schemas,
                ..MatchSpec::default()
            },
            scope: ScopeSpec { database_names, schema_names },
            add_labels,
        },
    )
}

fn rule() -> impl Strategy<Value = ImportRuleSpec> {
    (-1..2_i64, selector(), prop::collection::vec(mapping(), 1..4)).prop_map(
        |(priority, labels, mappings)| ImportRuleSpec { priority, database_labels: Some(labels), mappings },
    )
}

pub(crate) fn database() -> impl Strategy<Value = Database> {
    let label = (word(&["env", "team", "dept"]), word(&["prod", "dev", "hr", "1", "2"]));
    (
        prop::collection::vec(label, 0..4),
        select(vec![Protocol::Postgres, Protocol::Redshift, Protocol::Mongodb]),
    )
        .prop_map(|(labels, protocol)| Database {
            name: "orders".to_owned(),
            protocol,
            labels: labels.into_iter().collect(),
        })
}

fn object() -> impl Strategy<Value = DbObject> {
    let kind = select(vec![
        ObjectKind::Table,
        ObjectKind::View,
        ObjectKind::Sequence,
        ObjectKind::Schema,
        ObjectKind::Function,
    ]);
    let schema = word(&["public", "public", "hr", "hr", "pg_catalog", "pg_temp_1"]);
    let name = word(&["t1", "t2", "t3", "abc", "axbxc", "u1", "t\n1"]);
    (kind, word(&["app", "app", "app", "crm"]), schema, name)
        .prop_map(|(kind, database, schema, name)| DbObject::new(kind, database, schema, name))
}

fn traits() -> impl Strategy<Value = Traits> {
    let name = word(&["team", "db_roles", "key"]);
    let value = word(&["prod", "dev", "env", "team", "reader", "app", "", "p*", "*"]);
    prop::collection::btree_map(name, prop::collection::vec(value, 0..3), 0..4)
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
    let roles = prop::collection::vec(role(), 1..5);
    let rules = prop::collection::vec(rule(), 0..4);
    let objects = prop::collection::vec(object(), 0..16);
    let requested = prop_oneof![8 => Just(Vec::new()), 1 => words(&["reader", "writer"], 2)];
    let name = word(&["app", "app", "app", "crm", "postgres"]);
    (traits(), roles, database(), name, requested, rules, objects).prop_map(
        |(traits, roles, database, database_name, requested, rules, objects)| {
            let named = |prefix: &str, i: usize| format!("{prefix}-{i}");
            Case {
                user: UserSpec {
                    username: "alice".to_owned(),
                    traits,
                    roles: (0..roles.len()).map(|i| named("role", i)).collect(),
                },
                roles: roles.into_iter().enumerate().map(|(i, role)| (named("role", i), role)).collect(),
                database,
                database_name,
                requested,
                rules: rules
                    .into_iter()
                    .enumerate()
                    .map(|(i, mut rule)| {
                        // Import rules know no traits: what looks like a template is a pattern there.
                        rule.database_labels
                            .iter_mut()
                            .for_each(|labels| labels.retain(|key, _| !key.contains('{')));
                        (named("rule", i), rule)
                    })
                    .collect(),
                objects,
            }
        },
    )
}

/// Brings everything whose order has no meaning into another order, and repeats some of it.
pub(crate) fn shuffle(case: &mut Case, seed: u64) {
    let mut state = seed;
    let user_roles = case.user.roles.clone();
    case.user.roles.extend(user_roles);
    rearrange(&mut case.user.roles, &mut state);
    rearrange(&mut case.roles, &mut state);
    rearrange(&mut case.rules, &mut state);
    rearrange(&mut case.objects, &mut state);
    rearrange(&mut case.requested, &mut state);
    for (_, role) in &mut case.roles {
        for conditions in [&mut role.allow, &mut role.deny] {
            let repeated = conditions.db_roles.clone();
            conditions.db_roles.extend(repeated);
            rearrange(&mut conditions.db_names, &mut state);
            rearrange(&mut conditions.db_roles, &mut state);
            rearrange(&mut conditions.db_permissions, &mut state);
            let repeated = conditions.db_permissions.first().cloned();
            conditions.db_permissions.extend(repeated);
            conditions
                .db_permissions
                .iter_mut()
                .for_each(|entry| rearrange(&mut entry.permissions, &mut state));
            conditions.db_labels.values_mut().for_each(|values| rearrange(values, &mut state));
        }
    }
}

fn rearrange<T>(items: &mut [T], state: &mut u64) {
    for i in (1..items.len()).rev() {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(i, (*state >> 33) as usize % (i + 1));
    }
}

/// Text that may break something.
pub(crate) fn nonsense() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        "[{}.\"a()*^$\\[\\]]{0,16}",
        word(&[
            "",
            "*",
            "{{",
            "^($",
            "{{external.a}}",
            "{{obj.name}}",
            "\u{0}",
            "\n",
            "^.*$",
            "((((",
            "labels.a == 1"
        ]),
    ]
}

/// Replaces parts of a case by nonsense.
pub(crate) fn corrupt(case: &mut Case, texts: &[String]) {
    let mut texts = texts.iter().cycle().cloned();
    let mut next = || texts.next().unwrap_or_default();
    for (_, role) in &mut case.roles {
        for conditions in [&mut role.allow, &mut role.deny] {
            conditions.db_names.push(next());
            conditions.db_roles.push(next());
            conditions.db_users.push(next());
            conditions.db_labels.insert(next(), vec![next(), next()]);
            conditions.db_labels_expression.get_or_insert_with(&mut next);
            let matching = [(next(), vec![next()])].into();
            conditions.db_permissions.push(PermissionSpec { matching, permissions: vec![next()] });
        }
    }
    for (_, rule) in &mut case.rules {
        rule.database_labels.get_or_insert_default().insert(next(), vec![next()]);
        for mapping in &mut rule.mappings {
            mapping.matching.table_names.push(next());
            mapping.scope.schema_names.push(next());
            mapping.add_labels.insert(next(), next());
        }
    }
    case.user.traits.insert(next(), vec![next(), next()]);
    case.user.traits.insert("team".to_owned(), vec![next(), next()]);
    case.database.labels.insert(next(), next());
    case.database_name = next();
    case.requested.push(next());
    case.objects.push(DbObject::new(ObjectKind::Table, next(), next(), next()));
}
