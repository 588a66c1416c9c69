//! Which crate may depend on which.

use cargo_metadata::{DependencyKind, Package};

/// What a crate may depend on, of ours.
struct Border {
    package: &'static str,
    /// In the library and the binaries.
    may_use: &'static [&'static str],
    /// In tests and benchmarks as well.
    tests_may_use: &'static [&'static str],
}

const fn border(
    package: &'static str,
    may_use: &'static [&'static str],
    tests_may_use: &'static [&'static str],
) -> Border {
    Border { package, may_use, tests_may_use }
}

/// The whole picture; docs/architecture.md draws it. Nobody depends on the CLI, and on the operator only what runs it
/// in its own process: the end-to-end tests and the benchmarks.
const BORDERS: &[Border] = &[
    border("rolecall-api", &[], &[]),
    border("rolecall-policy", &[], &[]),
    // The format of the audit log, for who writes it and who reads it.
    border("rolecall-ledger", &[], &[]),
    // What is wrong with a certificate or a key is an error of the contract.
    border("rolecall-pki", &["rolecall-engine"], &[TESTBED]),
    border("rolecall-engine", &["rolecall-policy"], &[TESTBED]),
    border(
        "rolecall-engine-conformance",
        &["rolecall-engine", "rolecall-pki", "rolecall-policy"],
        // Where all engines meet: the suite runs on each.
        &["rolecall-aws", "rolecall-postgres", "rolecall-mongodb", "rolecall-redshift", TESTBED, AWS_TESTBED],
    ),
    // Host names, CAs and logins of AWS: pure but for AWS itself, and shared by whoever makes a configuration.
    border("rolecall-aws", &["rolecall-engine", "rolecall-pki"], &[AWS_TESTBED]),
    border("rolecall-postgres", ENGINE_NEEDS, ENGINE_TESTS_NEED),
    border("rolecall-mongodb", ENGINE_NEEDS, ENGINE_TESTS_NEED),
    border("rolecall-redshift", ENGINE_NEEDS, ENGINE_TESTS_NEED),
    // The configuration of an engine follows from the DatabaseAdmin, for the operator and the CLI alike.
    border("rolecall-resolve", RESOLVE_NEEDS, &[]),
    border("rolecall-operator", PROGRAM_NEEDS, &["rolecall-engine-conformance", TESTBED, AWS_TESTBED]),
    border("rolecall-cli", PROGRAM_NEEDS, &[TESTBED, AWS_TESTBED]),
    border(TESTBED, &[], &[]),
    border(AWS_TESTBED, &[TESTBED], &[]),
    // What judges the operator shares nothing with it.
    border("rolecall-chaos", &[TESTBED], &[]),
    border(
        "rolecall-xtask",
        &["rolecall-api", "rolecall-chaos", TESTBED, AWS_TESTBED],
        &["rolecall-operator"],
    ),
    border(
        "rolecall-tests",
        &["rolecall-api", "rolecall-engine", "rolecall-ledger", "rolecall-operator", TESTBED, AWS_TESTBED],
        &["rolecall-aws", "rolecall-pki"],
    ),
];

const TESTBED: &str = "rolecall-testbed";
const AWS_TESTBED: &str = "rolecall-aws-testbed";
const ENGINE_NEEDS: &[&str] = &["rolecall-engine", "rolecall-pki", "rolecall-policy"];
const ENGINE_TESTS_NEED: &[&str] = &["rolecall-engine-conformance", TESTBED, AWS_TESTBED];
const RESOLVE_NEEDS: &[&str] = &[
    "rolecall-api",
    "rolecall-aws",
    "rolecall-policy",
    "rolecall-engine",
    "rolecall-pki",
    "rolecall-postgres",
    "rolecall-mongodb",
    "rolecall-redshift",
];
const PROGRAM_NEEDS: &[&str] = &[
    "rolecall-api",
    "rolecall-aws",
    "rolecall-policy",
    "rolecall-resolve",
    "rolecall-engine",
    "rolecall-ledger",
    "rolecall-pki",
    "rolecall-postgres",
    "rolecall-mongodb",
    "rolecall-redshift",
];

/// What is wrong with the dependencies between the packages of the workspace.
pub(super) fn faults(packages: &[Package]) -> Vec<String> {
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    packages.iter().flat_map(|package| faults_of(package, &ours)).collect()
}

fn faults_of(package: &Package, ours: &[&str]) -> Vec<String> {
    let name = package.name.as_str();
    let Some(border) = BORDERS.iter().find(|border| border.package == name) else {
        return vec![format!(
            "{name}: crates/xtask/src/imports/borders.rs does not say what it may depend on"
        )];
    };
    let dependencies =
        package.dependencies.iter().filter(|dependency| ours.contains(&dependency.name.as_str()));
    dependencies
        .filter_map(|dependency| {
            let on = dependency.name.as_str();
            let in_tests = dependency.kind == DependencyKind::Development;
            if border.may_use.contains(&on) || (in_tests && border.tests_may_use.contains(&on)) {
                return None;
            }
            let how = if border.tests_may_use.contains(&on) {
                "depends on {on}, which only its tests may use"
            } else if in_tests {
                "tests depend on {on}, which they must not know"
            } else {
                "depends on {on}, which it must not know"
            };
            Some(format!("{name} {}", how.replace("{on}", on)))
        })
        .collect()
}
