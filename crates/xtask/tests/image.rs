//! The image: what is in it, and that it is the one that the chart runs.

#![allow(clippy::expect_used, reason = "a test says what went wrong")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rolecall_xtask::root;

const DOCKERFILE: &str = include_str!("../../../Dockerfile");

/// Every file and directory below `dir`: permissions, time of change, content.
fn files(dir: &Path, below: &Path, found: &mut BTreeMap<PathBuf, (u32, i64, Vec<u8>)>) {
    for entry in fs::read_dir(dir.join(below)).expect("a directory").flatten() {
        let path = below.join(entry.file_name());
        let metadata = entry.metadata().expect("it exists");
        let content = if metadata.is_dir() { Vec::new() } else { fs::read(entry.path()).expect("a file") };
        found.insert(path.clone(), (metadata.permissions().mode() & 0o7777, metadata.mtime(), content));
        if metadata.is_dir() {
            files(dir, &path, found);
        }
    }
}

fn build(program: &Path) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
    let dir = tempfile::tempdir().expect("a directory");
    let output = Command::new(root().join("deploy/image/root.sh"))
        .arg(dir.path())
        .env("ROLECALL_OPERATOR", program)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = BTreeMap::new();
    files(dir.path(), Path::new(""), &mut found);
    found
}

#[test]
fn the_image_holds_one_program_and_the_authorities_and_is_the_same_each_time() {
    let program = tempfile::NamedTempFile::new().expect("a file");
    fs::write(program.path(), "program").expect("a file");
    let found = build(program.path());
    let names: Vec<&str> = found.keys().filter_map(|path| path.to_str()).collect();
    let expected = [
        "etc",
        "etc/group",
        "etc/passwd",
        "etc/ssl",
        "etc/ssl/certs",
        "etc/ssl/certs/ca-certificates.crt",
        "rolecall-operator",
        "tmp",
    ];
    assert_eq!(names, expected);
    let of = |name: &str| &found[Path::new(name)];
    assert_eq!(of("rolecall-operator"), &(0o555, 0, b"program".to_vec()));
    assert_eq!(of("tmp").0, 0o1777);
    assert!(
        of("etc/passwd").2.starts_with(b"root:") && of("etc/ssl/certs/ca-certificates.crt").2.len() > 100_000
    );
    assert!(found.values().all(|(_, time, _)| *time == 0), "a time would make each build another one");
    assert!(found == build(program.path()), "two builds differ");
}

#[test]
fn the_dockerfile_is_about_the_image_that_the_chart_runs() {
    let line = |start: &str| DOCKERFILE.lines().find_map(|line| line.strip_prefix(start)).expect("a line");
    let values = fs::read_to_string(root().join("charts/rolecall/values.yaml")).expect("values");
    let user = line("USER ").split(':').next().expect("a user");
    assert!(values.contains(&format!("runAsUser: {user}\n")), "{user}");
    let template =
        fs::read_to_string(root().join("charts/rolecall/templates/deployment.yaml")).expect("a template");
    assert!(template.contains(&format!("containerPort: {}\n", line("EXPOSE "))));
    let toolchain = fs::read_to_string(root().join("rust-toolchain.toml")).expect("a toolchain");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).expect("a channel");
    let image = line("FROM rust:").split('-').next().expect("a version");
    assert!(channel.trim_matches('"').starts_with(&format!("{image}.")), "{channel} is not of {image}");
}
