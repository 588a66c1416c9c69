//! `-o json`: what is printed is what the documentation says is printed.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod documented;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory as _;
use documented::{names_every_field, page};
use rolecall_testbed::environment;
use serde_json::Value;

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).display().to_string()
}

fn json(args: &[&str]) -> Value {
    let home = tempfile::tempdir().expect("a directory can be made");
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"))
        .args(args)
        .args(["-o", "json"])
        .env_clear()
        .envs(environment(home.path()))
        .output()
        .expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {stderr}"))
}

#[test]
fn every_field_that_is_printed_offline_is_documented() {
    let (shop, proposal, objects) = (fixture("shop"), fixture("proposal"), fixture("shop/objects.csv"));
    let question = ["-u", "alice", "-d", "orders", "--database-name", "horizon", "-f", &shop];
    let explained = json(&[&["explain", "--objects", &objects][..], &question].concat());
    names_every_field("explain-json.md", &explained);
    names_every_field("explain-json.md", &json(&["ls", "--user", "alice", "-f", &shop]));
    let change = ["plan", "-f", &proposal, "--against", &shop, "--objects", &objects];
    names_every_field("plan-json.md", &json(&change));
    let back = ["plan", "-f", &shop, "--against", &proposal, "--objects", &objects];
    names_every_field("plan-json.md", &json(&back));
    let table = ["who-can", "orders", "horizon.recruitment.hr_scratchpad", "--all", "-f", &shop];
    names_every_field("who-can-json.md", &json(&table));
    for list in ["databases", "users", "roles", "rules"] {
        names_every_field("get-json.md", &json(&["get", list, "-f", &shop]));
    }
}

#[test]
fn every_command_has_its_line_and_its_page() {
    let index = page("json.md");
    let rows: Vec<&str> = index.lines().filter(|line| line.starts_with("| `")).collect();
    let mut listed = BTreeSet::new();
    for row in &rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        listed.extend(
            cells[1].split('`').skip(1).step_by(2).map(|name| name.split(' ').next().unwrap_or(name)),
        );
        let link = cells[3].split(['(', ')']).nth(1).unwrap_or_else(|| panic!("no link in {row}"));
        let kind = cells[2].split('`').nth(1).unwrap_or_else(|| panic!("no kind in {row}"));
        assert!(
            page(link).contains(&format!("`{kind}`")) || page(link).contains(&format!("kind: {kind}`")),
            "{row}"
        );
    }
    let command = rolecall_cli::args::Cli::command();
    let without = ["completion", "man"];
    for name in command.get_subcommands().map(clap::Command::get_name) {
        assert_eq!(listed.contains(name), !without.contains(&name), "{name}");
        assert!(index.contains(&format!("`{name}`")) || listed.contains(name), "{name}");
    }
}
