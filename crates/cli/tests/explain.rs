//! `explain` and `ls` offline, as people and programs see them.

#![allow(clippy::expect_used, reason = "the fixtures are sound")]

use std::path::{Path, PathBuf};

use rolecall_cli::explain::{self, Explanation, Objects, Question};
use rolecall_cli::input::{Namespace, read_manifests, read_objects};
use rolecall_cli::ls;

fn shop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shop")
}

fn namespace() -> Namespace {
    let (namespace, notes) = read_manifests(&[shop()], None).expect("the fixtures are sound");
    assert_eq!(notes, ["objects of other kinds are left out: Deployment (1)"]);
    Namespace { cluster_name: "leaf".to_owned(), ..namespace }
}

fn ask(
    user: &str,
    database: &str,
    database_name: Option<&str>,
    requested: &[&str],
    objects: bool,
) -> Explanation {
    let requested: Vec<String> = requested.iter().map(|role| (*role).to_owned()).collect();
    let objects = objects.then(|| read_objects(&shop().join("objects.csv")).expect("the fixture is sound"));
    let objects = objects.map(Objects::of_file);
    let question = Question { user, database, database_name, requested: &requested, objects };
    explain::answer(&namespace(), question).expect("user and database exist")
}

fn table(explanation: &Explanation) -> String {
    explain::table(explanation, false)
}

#[test]
fn what_alice_may_do_and_why_not_more() {
    let explanation = ask("alice", "orders", Some("horizon"), &["reader"], true);
    insta::assert_snapshot!(table(&explanation));
    insta::assert_json_snapshot!(explanation);
}

#[test]
fn without_a_logical_database_any_is_meant() {
    insta::assert_snapshot!(table(&ask("alice", "orders", None, &[], false)));
}

#[test]
fn a_role_that_the_server_does_not_let_be_given() {
    let mut namespace = namespace();
    namespace.admins[0].spec.grantable_db_roles = vec!["team-*".to_owned()];
    let question = Question {
        user: "alice",
        database: "orders",
        database_name: Some("horizon"),
        requested: &[],
        objects: None,
    };
    let explanation = explain::answer(&namespace, question).expect("user and database exist");
    assert_eq!(explanation.blocked[0].reason, "DbRoleNotGrantable");
    insta::assert_snapshot!(table(&explanation));
}

#[test]
fn the_noes() {
    for (name, explanation) in [
        ("denied-name", ask("alice", "orders", Some("postgres"), &[], false)),
        ("role-not-allowed", ask("alice", "orders", Some("horizon"), &["writer"], false)),
        ("not-provisioned", ask("bob", "orders", Some("horizon"), &[], false)),
        ("nothing-selects", ask("bob", "people", None, &[], false)),
        ("suspended-and-denied", ask("carol", "orders", None, &[], false)),
        ("missing-and-broken-roles", ask("dave", "orders", Some("horizon"), &[], false)),
        ("suspended-database", ask("alice", "people", Some("horizon"), &[], false)),
    ] {
        assert!(!explanation.allowed, "{name}");
        insta::assert_snapshot!(name, table(&explanation));
    }
}

#[test]
fn users_of_other_clusters_have_another_name() {
    let explanation = ask("remote-erin-root", "orders", Some("horizon"), &[], false);
    assert_eq!(explanation.user.name, "erin");
    assert_eq!(explanation.user.username, "remote-erin-root");
    assert_eq!(explanation.user.origin_cluster.as_deref(), Some("root"));
}

#[test]
fn names_that_clash_and_names_that_are_too_long() {
    let mut namespace = namespace();
    let mut twin = namespace.users[0].clone();
    twin.metadata.name = Some("alice2".to_owned());
    namespace.users.push(twin);
    let question = || Question {
        user: "alice",
        database: "orders",
        database_name: Some("horizon"),
        requested: &[],
        objects: None,
    };
    let explanation = explain::answer(&namespace, question()).expect("user and database exist");
    assert!(
        explanation.allowed && explanation.notices[0].contains("alice and alice2"),
        "{:?}",
        explanation.notices
    );

    let born = |second: i64| Some(rolecall_api::Time(jiff::Timestamp::from_second(second).expect("a time")));
    for (user, second) in [("alice", 2), ("alice2", 1)] {
        let user =
            namespace.users.iter_mut().find(|u| u.metadata.name.as_deref() == Some(user)).expect("there");
        user.metadata.creation_timestamp = born(second);
        user.metadata.uid = Some(second.to_string());
    }
    let explanation = explain::answer(&namespace, question()).expect("user and database exist");
    assert_eq!(explanation.blocked[0].reason, "UsernameTaken");

    namespace.users.truncate(1);
    namespace.users[0].spec.username = Some("x".repeat(60));
    namespace.users[0].spec.origin_cluster = Some("root".to_owned());
    let explanation = explain::answer(&namespace, question()).expect("user and database exist");
    assert_eq!(explanation.blocked[0].reason, "InvalidUsername");

    for reserved in ["teleport-admin", "teleport-auto-user", "pg_monitor"] {
        namespace.users[0].spec.username = Some(reserved.to_owned());
        namespace.users[0].spec.origin_cluster = None;
        let explanation = explain::answer(&namespace, question()).expect("user and database exist");
        assert_eq!(explanation.blocked[0].reason, "InvalidUsername", "{reserved}");
    }
}

#[test]
fn a_missing_user_is_reported_with_the_existing_ones() {
    let ask = |user, database| {
        let question = Question { user, database, database_name: None, requested: &[], objects: None };
        explain::answer(&namespace(), question).expect_err("not there").to_string()
    };
    assert_eq!(
        ask("mallory", "orders"),
        "there is no DatabaseUser \"mallory\"; there are alice, bob, carol, dave, erin"
    );
    assert_eq!(
        ask("alice", "order"),
        "there is no DatabaseAdmin \"order\"; there are orders, people, events; did you mean orders?"
    );
}

#[test]
fn what_alice_reaches() {
    let listing = ls::list(&namespace(), "alice@example.com").expect("alice exists");
    insta::assert_snapshot!("ls", ls::table(&listing, false, false));
    insta::assert_snapshot!("ls-v", ls::table(&listing, true, false));
    insta::assert_json_snapshot!("ls-json", listing);
}

#[test]
fn ls_agrees_with_explain() {
    let namespace = namespace();
    for user in ["alice", "bob", "carol", "dave", "erin"] {
        let listing = ls::list(&namespace, user).expect("the user exists");
        for database in ["orders", "people", "events"] {
            let explanation = ask(user, database, None, &[], false);
            let policy_says_yes = explanation.mode.is_enabled();
            let listed = listing.items.iter().any(|item| item.database == database);
            assert_eq!(listed, policy_says_yes, "{user} {database}");
        }
    }
}
