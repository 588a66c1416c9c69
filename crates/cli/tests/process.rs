//! The program as shells see it: streams and exit status.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rolecall_testbed::environment;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"));
    command
        .env_clear()
        .envs(environment(Path::new("/nonexistent")))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"));
    command
}

fn run(args: &[&str]) -> Output {
    program().args(args).output().expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn exit_status() {
    let explain = ["explain", "-f", "shop", "-u", "alice", "-d", "orders", "--database-name"];
    let with = |more: &[&str]| run(&[&explain[..], more].concat()).status.code();
    assert_eq!(with(&["horizon", "--exit-code"]), Some(0));
    assert_eq!(with(&["postgres"]), Some(0));
    assert_eq!(with(&["postgres", "--exit-code"]), Some(2));
    assert_eq!(run(&["explain", "-f", "shop", "-u", "nobody", "-d", "orders"]).status.code(), Some(1));
    assert_eq!(run(&["explain", "--no-such-flag"]).status.code(), Some(1));
    assert_eq!(run(&["convert", "-f", "documents/db-admin-user-text.yaml"]).status.code(), Some(0));
    assert_eq!(
        run(&["convert", "--strict", "-f", "documents/db-admin-user-text.yaml"]).status.code(),
        Some(2)
    );
    assert_eq!(run(&["convert", "--strict", "-f", "documents/role-mongodb.yaml"]).status.code(), Some(0));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn what_the_cluster_would_refuse_is_an_error_where_that_is_asked_for() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let names: Vec<String> = (0..300).map(|number| format!("db{number}")).collect();
    let role = format!(
        "{{kind: role, metadata: {{name: r}}, spec: {{allow: {{db_names: [{}]}}}}}}",
        names.join(", ")
    );
    let path = directory.path().join("role.yaml");
    std::fs::write(&path, role).expect("it is written");
    let path = path.display().to_string();
    let refused = format!(
        ": the cluster would refuse {path}, document 1: role r: spec.allow.dbNames: it has 300 entries, and at most 256 \
         are taken\n"
    );
    let lenient = run(&["convert", "-f", &path]);
    assert_eq!((lenient.status.code(), stderr(&lenient)), (Some(0), format!("warning{refused}")));
    let strict = run(&["convert", "--strict", "-f", &path]);
    assert_eq!((strict.status.code(), stderr(&strict)), (Some(2), format!("error{refused}")));
    assert_eq!(lenient.stdout, strict.stdout);
}

#[test]
fn a_directory_may_be_a_kustomization() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let write =
        |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("it is written");
    let path = directory.path().display().to_string();
    write("kustomization.yaml", "resources: [role.yaml]\n");
    let only = run(&["convert", "-f", &path]);
    assert!(stderr(&only).contains(&format!("kubectl kustomize {path}")), "{}", stderr(&only));
    write("role.yaml", "{kind: role, metadata: {name: r}, spec: {allow: {db_names: [a]}}}");
    let converted = run(&["convert", "-f", &path, "-o", "table"]);
    assert!(converted.status.success(), "{}", stderr(&converted));
    assert_eq!(String::from_utf8_lossy(&converted.stdout), "KIND               NAME\nProvisioningRole   r\n");
    let note = format!(
        "note: {path}/kustomization.yaml is left out; for what it puts together: kubectl kustomize {path}"
    );
    assert!(stderr(&converted).starts_with(&note), "{}", stderr(&converted));
    // explain and ls read directories likewise.
    write(
        "role.yaml",
        "{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseUser, metadata: {name: a}, spec: {}}",
    );
    let listed = run(&["ls", "--user", "a", "-f", &path]);
    assert!(listed.status.success() && stderr(&listed).starts_with(&note), "{}", stderr(&listed));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    for args in [
        &["--help"][..],
        &["convert", "-f", "documents"],
        &["explain", "-f", "shop", "-u", "alice", "-d", "orders", "-o", "json"],
    ] {
        let mut child = program()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert!(
            output.status.success() && !stderr(&output).contains("panicked"),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn standard_input_is_a_file() {
    let mut child = program()
        .args(["convert", "-f", "-", "-o", "table"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"{kind: role, version: v7, metadata: {name: my_role}}").expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "KIND               NAME\nProvisioningRole   my-role\n"
    );
    assert!(
        stderr(&output).starts_with("note: standard input, document 1: role my_role: metadata.name: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("binary.yaml"), b"a: \xff").expect("it is written");
    let huge = std::fs::File::create(path("huge.yaml")).expect("it is made");
    huge.set_len(64 << 20).expect("it is sparse");
    std::fs::create_dir(path("empty")).expect("it is made");
    for (name, expected) in [
        ("missing.yaml", "No such file or directory"),
        ("binary.yaml", "is not text in UTF-8 (at byte 3)"),
        ("huge.yaml", "is larger than 32 MiB; name the files that matter, one by one"),
        ("empty", "there is no *.yaml, *.yml or *.json in"),
    ] {
        for command in [&["convert", "-f"][..], &["ls", "--user", "a", "-f"]] {
            let output = run(&[command, &[path(name).as_str()]].concat());
            assert_eq!(output.status.code(), Some(1));
            let message = stderr(&output);
            assert!(
                message.starts_with("error: ") && message.contains(expected) && message.contains(&path(name)),
                "{message}"
            );
        }
    }
}

#[test]
fn yaml_says_what_json_says() {
    let args = [
        "explain",
        "-f",
        "shop",
        "-u",
        "alice",
        "-d",
        "orders",
        "--database-name",
        "horizon",
        "--objects",
        "shop/objects.csv",
    ];
    let (json, yaml) =
        (run(&[&args[..], &["-o", "json"]].concat()), run(&[&args[..], &["-o", "yaml"]].concat()));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON comes out");
    let yaml: serde_json::Value = serde_saphyr::from_slice(&yaml.stdout).expect("YAML comes out");
    assert_eq!(json, yaml);
}
