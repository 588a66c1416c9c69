//! What docs/audit.md says of lines is so.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use rolecall_ledger::{Chain, Entry, Event, Lines, verify};

const DOCUMENT: &str = include_str!("../../../docs/audit.md");

/// Fields by their names, each with its type as the document calls it.
fn documented() -> BTreeMap<String, String> {
    let tables = DOCUMENT.split("\n\n").filter(|block| block.starts_with("| field | type |"));
    let rows = tables.flat_map(|table| table.lines().skip(2));
    rows.flat_map(|row| {
        let mut cells = row.split(" | ");
        let names = cells.next().unwrap_or_default().to_owned();
        let kind = cells.next().unwrap_or_default().to_owned();
        let names = names.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        names.into_iter().map(move |name| (name, kind.clone()))
    })
    .collect()
}

/// An entry with every field.
fn whole() -> Entry {
    let text = || "x".to_owned();
    Entry {
        event: Event::Active,
        namespace: text(),
        session: text(),
        uid: text(),
        user: text(),
        database: text(),
        database_name: text(),
        username: text(),
        reason: text(),
        proven: true,
        why: text(),
        requested_by: text(),
        approved_by: vec![text()],
        by: text(),
        request_hash: text(),
        roles: vec![text()],
        db_roles: vec![text()],
        permissions: BTreeMap::from([(text(), 1)]),
        started_at: Some(Timestamp::UNIX_EPOCH),
        expires_at: Some(Timestamp::UNIX_EPOCH),
        action: text(),
        cause: text(),
        version: text(),
        writer: text(),
        algorithm: text(),
        follows: text(),
        published: text(),
        lines: Some(1),
    }
}

#[test]
fn every_field_is_documented_with_its_type() {
    let line = Chain::new("c", None).seal(&whole(), Timestamp::UNIX_EPOCH).expect("it can be made").text;
    let line: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    let line = line.as_object().expect("it is an object");
    let documented = documented();
    for (name, value) in line {
        let kind = documented.get(name).unwrap_or_else(|| panic!("docs/audit.md lacks the field {name}"));
        let fits = match value {
            serde_json::Value::Number(_) => kind == "integer",
            serde_json::Value::Bool(_) => kind == "boolean",
            serde_json::Value::String(_) => kind.starts_with("string"),
            serde_json::Value::Array(_) => kind == "list of strings",
            serde_json::Value::Object(_) => kind == "object of integers",
            serde_json::Value::Null => false,
        };
        assert!(fits, "{name} is {value} and documented as {kind}");
    }
    for name in documented.keys() {
        assert!(line.contains_key(name), "docs/audit.md has a field {name}, which no line has");
    }
}

#[test]
fn every_event_is_documented() {
    let table =
        DOCUMENT.split("\n\n").find(|block| block.starts_with("| `event` |")).expect("a table of events");
    for event in Event::ALL {
        assert!(table.contains(&format!("`{event}`")), "docs/audit.md lacks the event {event}");
    }
    let named: usize = table
        .lines()
        .skip(2)
        .map(|row| row.split(" | ").next().map_or(0, |cell| cell.matches('`').count() / 2))
        .sum();
    assert_eq!(named, Event::ALL.len(), "docs/audit.md has events that are never written");
}

/// An operator begins, gives an access and ends it.
fn example() -> String {
    let access = |event| Entry {
        namespace: "shop".into(),
        session: "alice-orders".into(),
        uid: "6d1f0b3e-3c1c-4a53-9a0f-1f4a0c8f7c11".into(),
        user: "alice".into(),
        database: "orders".into(),
        database_name: "horizon".into(),
        username: "alice@example.com".into(),
        why: "INC-1234".into(),
        requested_by: "alice@example.com".into(),
        ..Entry::new(event)
    };
    let roles = || (vec!["developer".to_owned()], vec!["reader".to_owned()]);
    let expires_at = "2026-11-30T13:00:01.5Z".parse().ok();
    let (by, has) = roles();
    let granting =
        Entry { reason: "Starting".into(), roles: by, db_roles: has, expires_at, ..access(Event::Granting) };
    let (by, has) = roles();
    let permissions = BTreeMap::from([("SELECT".to_owned(), 12)]);
    let active = Entry {
        reason: "Active".into(),
        proven: true,
        roles: by,
        db_roles: has,
        permissions,
        expires_at,
        ..access(Event::Active)
    };
    let started_at = "2026-11-30T12:00:01.4Z".parse().ok();
    let ended = Entry { reason: "Expired".into(), proven: true, started_at, ..access(Event::Ended) };
    let start = Entry {
        version: "0.1.0".into(),
        writer: "rolecall-operator-7d9c6b5f4-x2x7k".into(),
        algorithm: "SHA-256".into(),
        ..Entry::new(Event::Start)
    };
    let mut chain = Chain::new("6f0c1a2b3c4d5e6f", None);
    let mut text = String::new();
    for (entry, time) in [
        (start, "2026-11-30T12:00:00Z"),
        (granting, "2026-11-30T12:00:01.2Z"),
        (active, "2026-11-30T12:00:01.5Z"),
        (ended, "2026-11-30T13:00:01.6Z"),
    ] {
        let sealed = chain.seal(&entry, time.parse().expect("a time")).expect("it can be made");
        chain.accept(&sealed.head);
        text.push_str(&sealed.text);
        text.push('\n');
    }
    text
}

#[test]
fn the_example_is_a_chain_that_is_whole() {
    let example = example();
    assert!(
        DOCUMENT.contains(&format!("```json\n{example}```")),
        "docs/audit.md lacks the example:\n{example}"
    );
    let mut lines = Lines::default();
    lines.add("docs/audit.md", DOCUMENT);
    assert_eq!(lines.found.len(), 4);
    assert!(verify(&lines, &Default::default()).is_ok_and(|found| found.ok));
}
