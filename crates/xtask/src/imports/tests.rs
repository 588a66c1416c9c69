use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::borders;
use super::circles;
use super::crates::Crate;
use super::layers;

/// The circles of a library `sample` with these files, as text.
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let parsed = parse(files);
    circles::find(&parsed).iter().map(ToString::to_string).collect()
}

fn parse(files: &[(&str, &str)]) -> Crate {
    let texts: HashMap<PathBuf, String> =
        files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    let read = |path: &Path| texts.get(path).cloned();
    let binaries: Vec<PathBuf> = texts.keys().filter(|path| path.ends_with("main.rs")).cloned().collect();
    Crate::load("sample", Some(Path::new("lib.rs")), &binaries, &read).unwrap()
}

/// Which file uses which, as `from -> to`.
fn uses(files: &[(&str, &str)]) -> Vec<String> {
    let parsed = parse(files);
    let shown = |file| parsed.path(file).display().to_string();
    let mut uses: Vec<String> =
        parsed.uses().keys().map(|(from, to)| format!("{} -> {}", shown(*from), shown(*to))).collect();
    uses.sort();
    uses
}

const LIB: (&str, &str) = ("lib.rs", "mod a; mod b;");

#[test]
fn two_files_that_use_each_other_are_a_circle_however_the_path_is_written() {
    for (a, b) in [
        ("use crate::b::B; pub struct A;", "use crate::a::A; pub struct B;"),
        ("pub struct A(super::b::B);", "pub fn b() -> u8 { crate::a::A::new() }\npub struct B;"),
        ("use crate::b; pub struct A; fn f() { b::go() }", "pub fn go() { super::a::A; }"),
        ("use crate::{b::{B as Other, self}}; pub struct A;", "pub struct B; fn f() { use crate::a::A; }"),
        ("pub struct A; fn f() { vec![crate::b::B]; }", "pub struct B; fn f() { x!(y, super::a::A { z }) }"),
        ("use super::b::*; pub struct A; fn f(_: B) {}", "pub struct B(crate::a::A);"),
        ("use crate::b::B; pub trait A {}", "pub struct B; impl crate::a::A for B {}"),
    ] {
        let found = circles_of(&[LIB, ("a.rs", a), ("b.rs", b)]);
        assert_eq!(found.len(), 1, "{a}\n{b}\n{found:?}");
    }
}

#[test]
fn a_path_in_an_attribute_counts() {
    let found = circles_of(&[
        LIB,
        ("a.rs", "#[serde(with = \"crate::b::text\")] pub struct A;"),
        ("b.rs", "use crate::a::A; pub fn text() {}"),
    ]);
    assert_eq!(found.len(), 1);
}

#[test]
fn a_circle_is_told_with_file_line_and_path() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "\nuse crate::b::B;\npub struct A;"),
        ("b.rs", "use crate::c::C;\npub struct B;"),
        ("c.rs", "use crate::a::A; use crate::d::D;\npub struct C;"),
        ("d.rs", "use crate::c::C; pub struct D;"),
    ]);
    assert_eq!(
        found,
        ["4 files use each other in a circle, for example\n    \
          c.rs:1 uses d.rs (crate::d::D)\n    d.rs:1 uses c.rs (crate::c::C)\n    all of them: a, b, c, d"]
    );
}

#[test]
fn a_module_and_what_lies_inside_it_may_use_each_other() {
    let files = [
        ("lib.rs", "mod a; pub struct Root; fn f() { a::go() }"),
        ("a.rs", "mod x; mod y; pub struct A; pub fn go() { x::X; y::Y; }"),
        ("a/x.rs", "use super::A; use super::y::Y; pub struct X;"),
        ("a/y.rs", "pub struct Y; fn f(_: crate::Root, _: super::A) {}"),
    ];
    assert_eq!(circles_of(&files), Vec::<String>::new());
}

#[test]
fn what_lies_inside_a_module_is_a_circle_without_it() {
    let found = circles_of(&[
        ("lib.rs", "mod a;"),
        ("a.rs", "mod x; mod y; pub struct A; fn f() { x::X; }"),
        ("a/x.rs", "use super::A; use super::y::Y; pub struct X;"),
        ("a/y.rs", "use super::x::X; pub struct Y;"),
    ]);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("2 files"), "{found:?}");
}

#[test]
fn a_circle_through_the_inside_of_another_module_is_one() {
    let down = [
        LIB,
        ("a.rs", "pub struct A; fn f() { crate::b::go() }"),
        ("b.rs", "mod x; pub fn go() { x::go() }"),
        ("b/x.rs", "pub fn go() { crate::a::A; }"),
    ];
    assert_eq!(circles_of(&down).len(), 1, "down");
    let up = [
        LIB,
        ("a.rs", "pub struct A; fn f() { crate::b::x::go() }"),
        ("b.rs", "pub mod x; pub fn up() { crate::a::A; }"),
        ("b/x.rs", "pub fn go() { super::up() }"),
    ];
    assert_eq!(circles_of(&up).len(), 1, "up");
}

#[test]
fn a_name_that_is_passed_on_is_used_where_it_is_defined() {
    let files = [
        LIB,
        ("a.rs", "use crate::b::X; pub struct A;"),
        ("b.rs", "mod x; mod y; pub use x::X; pub use y::*;"),
        ("b/x.rs", "pub struct X;"),
        ("b/y.rs", "use crate::a::A; pub struct Y;"),
    ];
    assert_eq!(uses(&files), ["a.rs -> b/x.rs", "b/y.rs -> a.rs"]);
    assert_eq!(circles_of(&files), Vec::<String>::new());
}

#[test]
fn what_only_tests_use_does_not_count() {
    let files = [
        LIB,
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; } #[cfg(test)] use crate::a::A;"),
    ];
    assert_eq!(circles_of(&files), Vec::<String>::new());
    let files = [
        LIB,
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "pub struct B; #[cfg(not(test))] use crate::a::A;"),
    ];
    assert_eq!(circles_of(&files).len(), 1);
}

#[test]
fn names_of_other_crates_and_of_a_binary_lead_where_they_should() {
    let files = [
        ("lib.rs", "pub mod a; use tracing; use serde::a as a2; use time::time; use self::a::*;"),
        (
            "a.rs",
            "use crate::*; use tracing::info; pub struct A; fn f() { time::now(); tracing::x::y(); std::mem::take(); }",
        ),
        ("main.rs", "mod own; use sample::a::A; fn main() { own::go() }"),
        ("own.rs", "pub fn go() { std::process::exit(0) }"),
    ];
    assert_eq!(uses(&files), ["main.rs -> a.rs", "main.rs -> own.rs"]);
}

#[test]
fn a_file_that_is_missing_or_no_rust_is_named() {
    let load = |text: &str| {
        let text = text.to_owned();
        let read = move |path: &Path| (path == Path::new("lib.rs")).then(|| text.clone());
        format!("{:#}", Crate::load("sample", Some(Path::new("lib.rs")), &[], &read).err().unwrap())
    };
    assert!(load("mod gone;").contains("gone/mod.rs"));
    assert!(load("fn {").starts_with("parsing lib.rs"));
}

/// What is wrong with a package of this name that depends on another one of ours.
fn border_faults(name: &str, on: &str, kind: Option<&str>) -> Vec<String> {
    let package = |name: &str, dependencies: serde_json::Value| {
        serde_json::from_value(serde_json::json!({
            "name": name, "version": "0.1.0", "id": name, "dependencies": dependencies, "targets": [], "features": {},
            "manifest_path": "/Cargo.toml",
        }))
        .unwrap()
    };
    let dependency = serde_json::json!({
        "name": on, "req": "*", "kind": kind, "optional": false, "uses_default_features": true, "features": [],
    });
    borders::faults(&[package(name, serde_json::json!([dependency])), package(on, serde_json::json!([]))])
}

#[test]
fn a_dependency_across_a_border_is_named() {
    for (name, on, kind, fault) in [
        ("rolecall-policy", "rolecall-api", None, "depends on rolecall-api, which it must not know"),
        (
            "rolecall-postgres",
            "rolecall-mongodb",
            None,
            "depends on rolecall-mongodb, which it must not know",
        ),
        (
            "rolecall-resolve",
            "rolecall-operator",
            None,
            "depends on rolecall-operator, which it must not know",
        ),
        (
            "rolecall-api",
            "rolecall-cli",
            Some("dev"),
            "tests depend on rolecall-cli, which they must not know",
        ),
        (
            "rolecall-operator",
            "rolecall-engine-conformance",
            None,
            "depends on rolecall-engine-conformance, which only its tests may use",
        ),
        (
            "rolecall-operator",
            "rolecall-aws-testbed",
            None,
            "depends on rolecall-aws-testbed, which only its tests may use",
        ),
    ] {
        assert_eq!(border_faults(name, on, kind), [format!("{name} {fault}")]);
    }
    for (name, on, kind) in [
        ("rolecall-engine", "rolecall-policy", None),
        ("rolecall-operator", "rolecall-engine-conformance", Some("dev")),
    ] {
        assert_eq!(border_faults(name, on, kind), Vec::<String>::new());
    }
}

#[test]
fn a_package_without_a_border_is_named() {
    let faults = border_faults("rolecall-new", "rolecall-engine", None);
    assert!(faults.len() == 1 && faults[0].starts_with("rolecall-new: "), "{faults:?}");
}

/// What is wrong between the layers of the MongoDB engine, where `statements` is this.
fn layer_faults(statements: &str) -> Vec<String> {
    let files = [
        ("lib.rs", "mod execution; mod reads; mod statements; mod transport;"),
        (
            "execution.rs",
            "use crate::{reads::R, statements::S, transport::T, transport::request::Q}; pub struct E;",
        ),
        ("reads.rs", "use crate::statements::S; use crate::transport::T; pub struct R;"),
        ("statements.rs", statements),
        ("transport.rs", "pub mod request; use request::Q; pub struct T;"),
        ("transport/request.rs", "pub struct Q;"),
    ];
    layers::faults("rolecall-mongodb", &parse(&files))
}

#[test]
fn a_use_against_the_direction_of_the_layers_is_named() {
    assert_eq!(layer_faults("use crate::transport::request::Q; pub struct S;"), Vec::<String>::new());
    assert_eq!(
        layer_faults("use crate::transport::T; pub struct S;"),
        ["statements.rs:1 uses crate::transport::T: statements may not use transport"]
    );
    assert_eq!(
        layer_faults("pub struct S(crate::execution::E);"),
        ["statements.rs:1 uses crate::execution::E: statements may not use execution"]
    );
    assert_eq!(layers::faults("rolecall-policy", &parse(&[("lib.rs", "")])), Vec::<String>::new());
}

#[test]
fn a_layer_that_is_not_there_is_named() {
    let faults =
        layers::faults("rolecall-mongodb", &parse(&[("lib.rs", "mod transport;"), ("transport.rs", "")]));
    assert!(faults.iter().any(|fault| fault.ends_with("names reads, which is not there")), "{faults:?}");
}
