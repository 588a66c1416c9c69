//! `audit verify` and `report` as shells see them.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use jiff::{SignedDuration, Timestamp};
use rolecall_ledger::{Chain, Entry, Event, Key};
use rolecall_testbed::environment;
use serde_json::Value;

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"));
    command
        .env_clear()
        .envs(environment(Path::new("/nonexistent")))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"))
        .args(args);
    command
}

fn run(args: &[&str], input: &str) -> Output {
    let mut child = program(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it has a standard input");
    // It may end before it has read everything.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The audit log of an operator that gave alice an access and ended it, and gave bob one.
fn log(key: Option<Key>) -> Vec<String> {
    let access = |event, user: &str| Entry {
        namespace: "shop".into(),
        session: format!("{user}-orders"),
        uid: format!("uid-of-{user}"),
        user: user.into(),
        database: "orders".into(),
        database_name: "horizon".into(),
        username: format!("{user}@example.com"),
        why: "=HYPERLINK(\"x\")".into(),
        requested_by: user.into(),
        roles: vec!["developer".into()],
        db_roles: vec!["reader".into()],
        ..Entry::new(event)
    };
    let mut chain = Chain::new("c0ffee", key);
    let start = Entry { algorithm: chain.algorithm().into(), ..Entry::new(Event::Start) };
    let entries = [
        start,
        access(Event::Granting, "alice"),
        access(Event::Active, "alice"),
        Entry { reason: "Expired".into(), proven: true, ..access(Event::Ended, "alice") },
        access(Event::Granting, "bob"),
        access(Event::Active, "bob"),
    ];
    let begun: Timestamp = "2026-11-01T12:00:00Z".parse().expect("a time");
    let mut lines = Vec::new();
    for (number, entry) in (0..).zip(&entries) {
        let sealed = chain.seal(entry, begun + SignedDuration::from_mins(number)).expect("it can be made");
        chain.accept(&sealed.head);
        lines.push(sealed.text);
    }
    lines
}

#[test]
fn a_whole_log_is_status_0_a_fault_2_and_what_cannot_be_checked_1() {
    let lines = log(None);
    let whole = run(&["audit", "verify", "-"], &lines.join("\n"));
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stderr));
    assert!(text(&whole.stdout).contains("whole:"), "{}", text(&whole.stdout));
    let without = [&lines[..2], &lines[3..]].concat().join("\n");
    let cut = run(&["audit", "verify", "-"], &without);
    assert_eq!(cut.status.code(), Some(2));
    let said = text(&cut.stdout);
    assert!(said.contains("line 3 of chain c0ffee is missing: after line 2 (-:2) comes line 4"), "{said}");
    assert_eq!(run(&["audit", "verify", "-"], "").status.code(), Some(2), "nothing is not whole");
    assert_eq!(run(&["audit", "verify", "/nonexistent"], "").status.code(), Some(1));
    let key = Key::new(b"0123456789abcdef").expect("it is long enough");
    let sealed = run(&["audit", "verify", "-"], &log(Some(key)).join("\n"));
    assert_eq!(sealed.status.code(), Some(1));
    assert!(text(&sealed.stderr).contains("--key-file"), "{}", text(&sealed.stderr));
}

#[test]
fn what_was_published_has_to_be_there() {
    let lines = log(None);
    let whole = run(&["audit", "verify", "-", "-o", "json"], &lines.join("\n"));
    let answer: Value = serde_json::from_slice(&whole.stdout).expect("it is JSON");
    assert_eq!((&answer["kind"], &answer["ok"]), (&"AuditVerification".into(), &true.into()));
    let head = answer["chains"][0]["head"].as_str().expect("a line").to_owned();
    assert_eq!(run(&["audit", "verify", "-", "--head", &head], &lines.join("\n")).status.code(), Some(0));
    let cut = run(&["audit", "verify", "-", "--head", &head, "-o", "json"], &lines[..4].join("\n"));
    assert_eq!(cut.status.code(), Some(2));
    let answer: Value = serde_json::from_slice(&cut.stdout).expect("it is JSON");
    assert_eq!(answer["faults"][0]["kind"], "missing");
}

#[test]
fn a_sealed_log_is_checked_with_its_key() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("key");
    std::fs::write(&file, "0123456789abcdef\n").expect("it is written");
    let file = file.display().to_string();
    let key = Key::new(b"0123456789abcdef").expect("it is long enough");
    let check = |lines: &[String]| {
        run(&["audit", "verify", "-", "--key-file", &file], &lines.join("\n")).status.code()
    };
    assert_eq!(check(&log(Some(key))), Some(0));
    assert_eq!(check(&log(None)), Some(2), "somebody wrote it anew, without the key");
}

#[test]
fn files_are_taken_in_the_order_in_which_they_were_begun() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let lines = log(None);
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("audit.jsonl.1"), lines[..3].join("\n")).expect("it is written");
    std::fs::write(path("audit.jsonl"), lines[3..].join("\n")).expect("it is written");
    let checked = run(&["audit", "verify", &path("audit.jsonl"), &path("audit.jsonl.1")], "");
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
}

#[test]
fn a_report_is_made_from_the_log_alone_and_says_what_it_lacks() {
    let all = log(None).join("\n");
    let report = |more: &[&str]| {
        let out = run(&[&["report", "--offline", "-f", "-"], more].concat(), &all);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        text(&out.stdout)
    };
    let table = report(&[]);
    insta::assert_snapshot!(table);
    let json: Value = serde_json::from_str(&report(&["-o", "json"])).expect("it is JSON");
    assert_eq!(json["accesses"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["accesses"][0]["endedAt"], "2026-11-01T12:03:00Z");
    assert!(json["missing"].as_array().is_some_and(|missing| missing.len() == 2), "{json:#}");
    assert!(!report(&["--user", "bob"]).contains("alice"));
    assert!(
        report(&["--since", "2026-11-01T12:03:30Z"]).lines().filter(|line| line.contains("orders")).count()
            == 1
    );
    let csv = report(&["-o", "csv"]);
    assert!(csv.contains("\"'=HYPERLINK(\"\"x\"\")\""), "{csv}");
    let reach = report(&["--reach", "--manifests", "shop"]);
    assert!(reach.contains("alice") && reach.contains("orders"), "{reach}");
    let same = report(&["--reach", "--manifests", "shop", "--compare", "shop"]);
    assert!(same.contains("No changes."), "{same}");
}

#[test]
fn a_report_without_any_source_is_an_error() {
    let out = run(&["report", "--offline"], "");
    assert_eq!(out.status.code(), Some(1));
}
