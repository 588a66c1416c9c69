//! `get`, as people and programs see it, without a cluster.

#![allow(clippy::expect_used, reason = "the fixtures are sound")]

use std::path::Path;

use rolecall_cli::args::Kind;
use rolecall_cli::get::{RowList, rows, table};
use rolecall_cli::input::{Namespace, read_manifests};
use rolecall_cli::ls;

fn namespace() -> Namespace {
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shop");
    let (namespace, _) = read_manifests(&[shop], None).expect("the fixtures are sound");
    Namespace { cluster_name: "leaf".to_owned(), ..namespace }
}

fn list(kind: Kind) -> RowList {
    rows(&namespace(), kind, &[], None).expect("all of them are there")
}

#[test]
fn every_list_narrow_and_wide() {
    for (name, kind) in [
        ("databases", Kind::Databases),
        ("users", Kind::Users),
        ("roles", Kind::Roles),
        ("rules", Kind::Rules),
    ] {
        let list = list(kind);
        insta::assert_snapshot!(
            name,
            format!("{}\n{}", table(&list, false, false), table(&list, true, false))
        );
        insta::assert_json_snapshot!(format!("{name}-json"), list);
    }
}

#[test]
fn it_agrees_with_ls() {
    for row in list(Kind::Users).items {
        let reached = ls::list(&namespace(), &row.name).expect("the user exists").items.len();
        let column =
            row.columns.iter().find(|(name, _)| *name == "databases").map(|(_, value)| value.clone());
        assert_eq!(column, Some(reached.to_string()), "{}", row.name);
    }
}

#[test]
fn only_what_is_named_is_listed() {
    let named = |name: &str| rows(&namespace(), Kind::Users, &[name.to_owned()], None);
    let names: Vec<_> = named("bob").expect("he exists").items.into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["bob"]);
    let error = named("bop").expect_err("nobody is called so").to_string();
    assert_eq!(error, "there is none called \"bop\"; there are alice, bob, carol, dave, erin");
}
