//! Conformance: every case of the vectors that concern policy.
//!
//! Reads `<kind>.json` files from `tests/vectors`, or from the directory that `ROLECALL_VECTORS` names. Runs all
//! cases before it fails, and prints each failing id and a count per kind.
#![allow(clippy::panic)]

mod access;
mod check;
mod file;
mod import;
mod parts;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use serde_json::Value;

use check::{Actual, compare};
use file::File;

/// What a kind makes of a case's input, or what of the input it cannot read.
type Run = fn(Value) -> Result<Actual, String>;

/// The kinds that policy decides.
const KINDS: [(&str, Run); 19] = [
    ("mode_of_role", parts::mode_of_role),
    ("mode_combination", parts::mode_combination),
    ("label_match", parts::label_match),
    ("pattern_match", parts::pattern_match),
    ("template_expansion", parts::template_expansion),
    ("role_trait_application", parts::role_trait_application),
    ("label_template", parts::label_template),
    ("import_rule_object_match", import::object_match),
    ("import_rule_scope_match", import::scope_match),
    ("import_rule_filter", import::filter),
    ("import_dbname_filter", import::dbname_filter),
    ("import_rule_labelling", import::labelling),
    ("access_check", access::access_check),
    ("role_evaluation", access::role_evaluation),
    ("permission_computation", access::permission_computation),
    ("pg_permission_validation", parts::pg_permission_validation),
    ("remote_username", parts::remote_username),
    ("validation", parts::validation),
    ("decision", access::decision),
];

/// The kinds that other crates check.
const ELSEWHERE: [&str; 16] = [
    "auto_user_support",
    "admin_user_resolution",
    "pg_activate",
    "pg_deactivate",
    "pg_delete",
    "pg_role_preparation",
    "pg_permission_mode",
    "pg_permission_conversion",
    "pg_object_enumeration",
    "pg_update_permissions",
    "pg_remove_permissions",
    "retry_classification",
    "redshift_lifecycle",
    "mongo_role_parse",
    "mongo_lifecycle",
    "session_integration",
];

fn main() -> ExitCode {
    let directory = file::directory(env!("CARGO_MANIFEST_DIR"));
    let mut failures = Vec::new();
    let mut checked = 0;
    for path in file::files(&directory) {
        let file: File<BTreeMap<String, Value>> = match file::read(&path) {
            Ok(file) => file,
            Err(error) => {
                failures.push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        if ELSEWHERE.contains(&file.kind.as_str()) {
            println!("{}: skipped, checked by the engine", file.kind);
            continue;
        }
        let Some((kind, run)) = KINDS.iter().find(|(kind, _)| *kind == file.kind) else {
            failures.push(format!("{}: nothing checks kind {}", path.display(), file.kind));
            continue;
        };
        checked += 1;
        let total = file.cases.len();
        let mut passed = 0;
        for case in file.cases {
            match catch_unwind(AssertUnwindSafe(|| compare(&case.expect, run(case.input)))) {
                Ok(Ok(())) => passed += 1,
                Ok(Err(difference)) => failures.push(format!("{}: {difference}", case.id)),
                Err(_) => failures.push(format!("{}: panicked", case.id)),
            }
        }
        println!("{kind}: {passed}/{total}");
    }
    if checked == 0 {
        failures.push(format!("{}: no vectors of a policy kind", directory.display()));
    }
    for failure in &failures {
        println!("FAILED {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
