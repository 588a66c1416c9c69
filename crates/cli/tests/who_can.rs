//! `who-can`, as people and programs see it, without a cluster.

#![allow(clippy::expect_used, reason = "the fixtures are sound")]

use std::path::Path;

use rolecall_cli::explain;
use rolecall_cli::input::{Namespace, read_manifests};
use rolecall_cli::who_can::{Question, WhoCan, answer, table};
use rolecall_policy::{DbObject, ObjectKind, Privilege};

fn namespace() -> Namespace {
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shop");
    let (namespace, _) = read_manifests(&[shop], None).expect("the fixtures are sound");
    Namespace { cluster_name: "leaf".to_owned(), ..namespace }
}

fn ask(question: Question<'_>) -> WhoCan {
    answer(&namespace(), question).expect("the database exists")
}

fn employees() -> Option<DbObject> {
    Some(DbObject::new(ObjectKind::Table, "horizon", "recruitment", "hr_scratchpad"))
}

#[test]
fn who_gets_in() {
    let who = ask(Question { database: "orders", ..Question::default() });
    insta::assert_snapshot!("database", table(&who, false));
    insta::assert_json_snapshot!("database-json", who);
}

#[test]
fn who_may_do_what_with_a_table() {
    let who = ask(Question { database: "orders", object: employees(), ..Question::default() });
    insta::assert_snapshot!("object", table(&who, false));
    insta::assert_json_snapshot!("object-json", who);
}

#[test]
fn who_has_a_privilege() {
    let names = |privilege| {
        let question = Question {
            database: "orders",
            object: employees(),
            privilege: Some(privilege),
            ..Question::default()
        };
        ask(question).items.into_iter().map(|item| item.user).collect::<Vec<_>>()
    };
    assert_eq!(names(Privilege::Update), ["alice"]);
    assert_eq!(names(Privilege::Truncate), Vec::<String>::new());
}

#[test]
fn it_agrees_with_explain() {
    let namespace = namespace();
    for database in ["orders", "people", "events"] {
        for name in [None, Some("horizon"), Some("postgres")] {
            let who = ask(Question { database, database_name: name, ..Question::default() });
            for user in &namespace.users {
                let user = user.metadata.name.as_deref().unwrap_or_default();
                let question =
                    explain::Question { user, database, database_name: name, requested: &[], objects: None };
                let explained = explain::answer(&namespace, question).expect("both exist");
                let item = who.items.iter().find(|item| item.user == user);
                assert_eq!(item.is_some(), explained.allowed, "{user} {database} {name:?}");
                if let Some(item) = item {
                    assert_eq!(item.mode, explained.mode);
                    let given: Vec<_> = item.db_roles.iter().map(|role| role.name.clone()).collect();
                    let explained: Vec<_> =
                        explained.db_roles.iter().map(|role| role.role.name.clone()).collect();
                    assert_eq!(given, explained);
                }
            }
        }
    }
}
