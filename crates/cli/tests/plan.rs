//! `plan`, as people and programs see it, without a cluster.

#![allow(clippy::expect_used, reason = "the fixtures are sound")]

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rolecall_api::DatabaseSession;
use rolecall_cli::input::{Namespace, read_manifests, read_objects};
use rolecall_cli::plan::{
    AccessChange, KnownObjects, PlanView, Question, SessionEffect, When, compare, markdown, table,
};
use serde_json::{Value, json};

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn manifests(name: &str) -> Namespace {
    let (namespace, _) = read_manifests(&[fixtures(name)], None).expect("the fixtures are sound");
    Namespace { cluster_name: "leaf".to_owned(), ..namespace }
}

/// The shop as a cluster has it: its objects have uids.
fn shop() -> Namespace {
    let mut namespace = manifests("shop");
    for admin in &mut namespace.admins {
        admin.metadata.uid = Some(format!("uid-of-{}", admin.metadata.name.clone().unwrap_or_default()));
    }
    namespace
}

/// The shop with something put over it.
fn with(change: impl FnOnce(&mut Namespace)) -> Namespace {
    let mut namespace = shop();
    change(&mut namespace);
    namespace
}

/// The shop with the proposal put over it.
fn proposed() -> Namespace {
    with(|namespace| {
        let proposal = manifests("proposal");
        for role in proposal.roles {
            namespace.roles.retain(|other| other.metadata.name != role.metadata.name);
            namespace.roles.push(role);
        }
        for user in proposal.users {
            namespace.users.retain(|other| other.metadata.name != user.metadata.name);
            namespace.users.push(user);
        }
    })
}

fn session(name: &str, spec: Value, status: Value) -> DatabaseSession {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec, "status": status}))
        .expect("it is one")
}

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().expect("it is a time")
}

fn plan(after: &Namespace, sessions: &[DatabaseSession], objects: &[KnownObjects]) -> PlanView {
    let before = shop();
    compare(Question { before: &before, after, sessions, objects, now: now() })
}

fn access<'a>(plan: &'a PlanView, user: &str, database: &str) -> &'a AccessChange {
    let found = plan.accesses.iter().find(|access| access.user == user && access.database == database);
    found.expect("the access changes")
}

fn role<'a>(namespace: &'a mut Namespace, name: &str) -> &'a mut rolecall_api::ProvisioningRole {
    let found = namespace.roles.iter_mut().find(|role| role.metadata.name.as_deref() == Some(name));
    found.expect("the role is there")
}

fn active() -> Value {
    json!({"phase": "Active", "startedAt": "2026-01-01T11:30:00Z", "expiresAt": "2026-01-01T19:30:00Z"})
}

fn sessions() -> Vec<DatabaseSession> {
    let spec = |user: &str, more: Value| {
        let mut spec = json!({"user": user, "database": "orders", "databaseName": "horizon", "ttl": "8h"});
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        spec
    };
    vec![
        session("alice-1", spec("alice", json!({"dbRoles": ["reader"]})), active()),
        session("alice-2", spec("alice", json!({"dbRoles": ["reader"], "databaseName": "other"})), active()),
        session("alice-old", spec("alice", json!({})), json!({"phase": "Ended"})),
        session("erin-1", spec("erin", json!({"dbRoles": ["team-green"]})), active()),
        session("bob-waits", spec("bob", json!({})), json!({"phase": "Pending"})),
    ]
}

fn known_objects() -> Vec<KnownObjects> {
    let list = read_objects(&fixtures("shop").join("objects.csv")).expect("the fixture is sound").into();
    vec![KnownObjects { database: Some("orders".to_owned()), list }]
}

#[test]
fn a_proposal_with_live_sessions_and_objects() {
    let plan = plan(&proposed(), &sessions(), &known_objects());
    insta::assert_snapshot!("table", table(&plan, false));
    insta::assert_snapshot!("markdown", markdown(&plan));
    insta::assert_json_snapshot!("json", plan);
}

#[test]
fn nothing_changes_where_nothing_differs() {
    let plan = plan(&shop(), &sessions(), &known_objects());
    assert!(!plan.grows && plan.accesses.is_empty() && plan.changes.is_empty());
    assert_eq!(table(&plan, false), "Nobody's access changes.\n");
}

#[test]
fn what_only_takes_away_does_not_grow() {
    let after = with(|namespace| {
        role(namespace, "orders-reader").spec.allow.db_roles.retain(|role| !role.starts_with("team-"))
    });
    let plan = plan(&after, &[], &[]);
    assert!(!plan.grows, "{plan:#?}");
    let alice = access(&plan, "alice", "orders");
    assert_eq!(alice.lost.db_roles.keys().collect::<Vec<_>>(), ["team-blue"]);
    assert!(alice.gained.is_empty());
    assert_eq!(alice.statements.when, When::NextSession);
}

#[test]
fn the_way_back_of_a_loss_is_a_gain() {
    let (before, after) = (proposed(), shop());
    let there = plan(&before, &[], &known_objects());
    let objects = known_objects();
    let back =
        compare(Question { before: &before, after: &after, sessions: &[], objects: &objects, now: now() });
    for access in &there.accesses {
        let other = self::access(&back, &access.user, &access.database);
        assert_eq!(
            (&access.gained.database_names, &access.gained.permissions),
            (&other.lost.database_names, &other.lost.permissions),
            "{}",
            access.user
        );
        let names = |difference: &rolecall_cli::plan::Difference| {
            difference.db_roles.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(names(&access.gained), names(&other.lost));
        assert_eq!(names(&access.lost), names(&other.gained));
    }
}

#[test]
fn everything_that_can_grow_grows() {
    type Change = fn(&mut Namespace);
    let cases: &[(&str, Change)] = &[
        ("a database role", |n| role(n, "orders-reader").spec.allow.db_roles.push("auditor".into())),
        ("a deny that goes", |n| {
            role(n, "careful").spec.deny.db_roles.clear();
            n.admins[0].spec.grantable_db_roles.push("writer".into());
        }),
        ("a denied logical database", |n| role(n, "orders-reader").spec.deny.db_names.clear()),
        ("a longer session", |n| role(n, "orders-reader").spec.options.max_session_ttl = None),
        ("more on objects", |n| role(n, "hr").spec.allow.db_permissions[0].permissions.push("UPDATE".into())),
        ("less denied on objects", |n| role(n, "hr").spec.deny.db_permissions.clear()),
        ("other labels of a database", |n| {
            n.admins[2].metadata.labels = Some([("env".to_owned(), "staging".to_owned())].into());
        }),
        ("another address", |n| n.admins[0].spec.uri = "elsewhere.shop.svc:5432".into()),
        ("a server that is suspended no more", |n| n.admins[1].spec.suspend = false),
        ("more that can be granted", |n| {
            n.admins[0].spec.grantable_db_roles = vec!["*".into()];
            role(n, "orders-reader").spec.allow.db_roles.push("boss".into());
        }),
        ("a role of a user", |n| n.users[1].spec.roles.push("hr".into())),
        ("a trait of a user", |n| {
            n.users[0].spec.traits.insert("team".into(), vec!["blue".into(), "red".into()]);
        }),
        ("a user that is suspended no more", |n| {
            n.users[2].spec.suspend = false;
            n.users[2].spec.roles = vec!["hr".into()];
        }),
        ("no missing role any more", |n| n.users[3].spec.roles = vec!["hr".into()]),
        ("a new label of objects", |n| n.rules.truncate(1)),
    ];
    for (name, change) in cases {
        assert!(plan(&with(change), &[], &[]).grows, "{name}");
    }
}

#[test]
fn sessions_end_change_start_and_expire() {
    let effects = |after: &Namespace| -> Vec<(String, SessionEffect)> {
        let plan = plan(after, &sessions(), &[]);
        let sessions = plan.accesses.into_iter().flat_map(|access| access.sessions);
        sessions.map(|session| (session.name, session.effect)).collect()
    };
    let suspended = with(|namespace| namespace.admins[0].spec.suspend = true);
    let ends = |name: &str| (name.to_owned(), SessionEffect::Ends);
    assert_eq!(effects(&suspended), [ends("alice-1"), ends("alice-2"), ends("erin-1")]);
    // An hour after its start, which was half an hour ago.
    let shorter = with(|namespace| {
        role(namespace, "orders-reader").spec.options.max_session_ttl = Some("1h".parse().expect("a time"));
    });
    assert!(effects(&shorter).contains(&("alice-1".to_owned(), SessionEffect::ExpiresEarlier)));
    let over = with(|namespace| {
        role(namespace, "orders-reader").spec.options.max_session_ttl = Some("10m".parse().expect("a time"));
    });
    assert!(effects(&over).contains(&ends("alice-1")));
    let starts = effects(&proposed());
    assert!(starts.contains(&("bob-waits".to_owned(), SessionEffect::Starts)), "{starts:?}");
    let gone = with(|namespace| namespace.users.retain(|user| user.metadata.name.as_deref() != Some("erin")));
    assert_eq!(effects(&gone), [ends("erin-1")]);
    // Without a ttl it waits for its access to come back.
    let standing = session(
        "standing",
        json!({"user": "erin", "database": "orders", "databaseName": "horizon", "dbRoles": ["team-green"]}),
        active(),
    );
    let waits = plan(&gone, &[standing], &[]).accesses.into_iter().flat_map(|access| access.sessions);
    assert!(waits.map(|session| (session.effect, session.waits)).eq([(SessionEffect::Ends, true)]));
}

#[test]
fn a_name_that_is_free_again_is_somebody_elses_gain() {
    let twins = |namespace: &mut Namespace| {
        let mut twin = namespace.users[0].clone();
        twin.metadata.name = Some("twin".to_owned());
        namespace.users.push(twin);
        for (seconds, user) in [(1, "alice"), (2, "twin")] {
            let user = namespace.users.iter_mut().find(|other| other.metadata.name.as_deref() == Some(user));
            let metadata = &mut user.expect("there").metadata;
            metadata.uid = Some(seconds.to_string());
            metadata.creation_timestamp =
                Some(rolecall_api::Time(Timestamp::from_second(seconds).expect("a time")));
        }
    };
    let (before, after) = (
        with(twins),
        with(|namespace| {
            twins(namespace);
            namespace.users.retain(|user| user.metadata.name.as_deref() != Some("alice"));
        }),
    );
    let plan = compare(Question { before: &before, after: &after, sessions: &[], objects: &[], now: now() });
    assert!(access(&plan, "twin", "orders").grows && !access(&plan, "alice", "orders").allowed_after);
}

#[test]
fn each_kind_of_server_has_its_own_statements() {
    let after = with(|namespace| {
        // Everybody may use both, with a role that its server can have.
        let role = role(namespace, "hr");
        role.spec.allow.db_roles = vec!["read@horizon".into()];
        for admin in &mut namespace.admins {
            admin.spec.grantable_db_roles.push("read@horizon".into());
        }
    });
    let plan = plan(&after, &[], &[]);
    let of = |database: &str| access(&plan, "alice", database).statements.statements.join("\n");
    assert_eq!(of("orders"), "GRANT \"read@horizon\" TO \"alice@example.com\"");
    assert!(of("events").starts_with("db.getSiblingDB(\"$external\").runCommand("), "{}", of("events"));
}

#[test]
fn other_import_rules_change_what_a_set_has_and_not_the_set() {
    // Without the rule that gives departments only what is selected by name is left.
    let after = with(|namespace| namespace.rules.truncate(1));
    let plan = plan(&after, &sessions(), &known_objects());
    let statements = &access(&plan, "alice", "orders").statements;
    let on_sets: Vec<&str> = statements.statements.iter().map(String::as_str).collect();
    assert_eq!(statements.when, When::Now);
    assert!(
        on_sets.iter().any(|one| one.starts_with("REVOKE ") && one.contains("\"hr_scratchpad\"")),
        "{on_sets:#?}"
    );
    let new = on_sets.iter().any(|one| one.starts_with("CREATE ROLE") || one.starts_with("GRANT"));
    assert!(!new && !on_sets.is_empty(), "{on_sets:#?}");
}
