//! The image: built, packed, and run as a container would run it.
//!
//! A static release build takes a quarter of an hour, so these tests run only with `cargo xtask test --full`. They need
//! what the scripts in `deploy/image` need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rolecall_api::{DatabaseSession, EndReason};
use rolecall_testbed::components::{bubblewrap, cargo_tool};
use rolecall_tests::{Process, TestEnv, cluster};
use serde_json::{Value, json};

const CARGO_CYCLONEDX_VERSION: &str = "0.5.9";
/// What a registry stores, and a node downloads.
const MOST_BYTES: u64 = 25_000_000;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/image").join(name)
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} failed:\n{error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The caller's search path, with these directories before it.
fn path(first: &[&Path]) -> Result<std::ffi::OsString> {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let all = first.iter().map(|dir| dir.to_path_buf()).chain(std::env::split_paths(&others));
    Ok(std::env::join_paths(all)?)
}

#[tokio::test]
#[ignore = "it builds a release: cargo xtask test --full"]
async fn the_operator_works_from_the_root_file_system_of_its_image_which_is_packed_the_same_each_time()
-> Result<()> {
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("root");
    run(Command::new(script("root.sh")).arg(&root))?;
    let program = root.join("rolecall-operator");
    assert_has_no_kill_points(&program)?;
    assert_packed_the_same(&program, dir.path())?;

    let env = TestEnv::builder().without_operator().start().await?;
    let kubeconfig = dir.path().join("kubeconfig");
    fs::write(&kubeconfig, cluster::operator_kubeconfig().await?)?;
    let mut command = tokio::process::Command::new(script("run.sh"));
    command
        .arg(&root)
        .arg(&kubeconfig)
        .arg(format!("--watch-namespace={}", env.namespace))
        .args(["--leader-elect=false", "--listen=127.0.0.1:0"])
        .env("PATH", path(&[bubblewrap()?.parent().context("a directory")?])?);
    let process = Process::of(command).await?;
    process.log().wait_for("rolecall_operator: ready").await?;
    assert_confined(&program)?;
    env.session("standing", json!({})).await?;
    env.session("timed", json!({"ttl": "3s"})).await?;
    env.active("standing").await.with_context(|| process.log().text())?;
    env.login("standing").await?;
    env.ended("timed", EndReason::Expired).await?;
    env.delete_and_wait::<DatabaseSession>("standing").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

/// What lets a test kill the program at a certain point is not in what is shipped.
fn assert_has_no_kill_points(program: &Path) -> Result<()> {
    const VARIABLE: &[u8] = b"ROLECALL_KILL_POINT";
    let found = fs::read(program)?.windows(VARIABLE.len()).any(|part| part == VARIABLE);
    ensure!(!found, "the program reads the variable of kill points");
    Ok(())
}

/// What the kernel says of the process that runs this program: its user, its rights, its root.
fn assert_confined(program: &Path) -> Result<()> {
    let wanted = fs::metadata(program)?.len();
    let mut found = 0;
    for process in fs::read_dir("/proc")?.flatten() {
        let inside = process.path().join("root/rolecall-operator");
        // Its own parent, bubblewrap, is in the same root.
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let of_image = fs::metadata(&inside).is_ok_and(|file| file.len() == wanted);
        if !of_image || !name.starts_with("rolecall-oper") {
            continue;
        }
        found += 1;
        let status = fs::read_to_string(process.path().join("status"))?;
        let line =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            ensure!(line(set).trim_matches('0').is_empty(), "{set} {}", line(set));
        }
        ensure!(line("NoNewPrivs:") == "1", "it can get privileges");
        let users = fs::read_to_string(process.path().join("uid_map"))?;
        ensure!(users.split_whitespace().next() == Some("65532"), "it is user {users}");
        let mounts = fs::read_to_string(process.path().join("mounts"))?;
        let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap_or_default();
        ensure!(
            root.split(' ').nth(3).is_some_and(|options| options.split(',').any(|o| o == "ro")),
            "{root}"
        );
    }
    ensure!(found > 0, "no process runs from the image's root");
    Ok(())
}

/// Two layouts of one program are one image, which is small, is not root's, and holds what was laid out.
fn assert_packed_the_same(program: &Path, dir: &Path) -> Result<()> {
    let machine = std::env::consts::ARCH;
    let cyclonedx = cargo_tool("cargo-cyclonedx", CARGO_CYCLONEDX_VERSION)?;
    let programs = dir.join("programs");
    fs::create_dir(&programs)?;
    fs::copy(program, programs.join(format!("rolecall-operator.{machine}")))?;
    let layouts = ["first", "second"].map(|name| dir.join(name));
    for layout in &layouts {
        run(Command::new(script("oci.sh"))
            .args([layout.as_os_str(), "test".as_ref()])
            .env("ROLECALL_MACHINES", machine)
            .env("ROLECALL_OPERATORS", &programs)
            .env("PATH", path(&[cyclonedx.parent().context("a directory")?])?))?;
    }
    let read = |layout: &Path, name: &str| -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(layout.join(name)).with_context(|| name.to_owned())?)?)
    };
    let [first, second] = &layouts;
    ensure!(read(first, "index.json")? == read(second, "index.json")?, "two builds differ");
    let blob = |of: &Value| -> Result<Value> {
        read(first, &format!("blobs/{}", of["digest"].as_str().unwrap_or_default().replace(':', "/")))
    };
    let index = blob(&read(first, "index.json")?["manifests"][0])?;
    let manifest = blob(&index["manifests"][0])?;
    let config = blob(&manifest["config"])?;
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], json!(["/rolecall-operator"]));
    assert_eq!(config["os"], "linux");
    let size: u64 =
        manifest["layers"].as_array().into_iter().flatten().filter_map(|l| l["size"].as_u64()).sum();
    println!("the layers of the image take {size} bytes");
    ensure!(size < MOST_BYTES && size > 1_000_000, "{size} bytes");
    let parts = fs::read(format!("{}.cdx.json", first.display()))?;
    ensure!(parts == fs::read(format!("{}.cdx.json", second.display()))?, "two lists of parts differ");
    let parts: Value = serde_json::from_slice(&parts)?;
    let names: Vec<&str> = parts["components"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|part| part["name"].as_str())
        .collect();
    ensure!(names.contains(&"tokio") && names.contains(&"aws-lc-rs"), "{names:?}");
    ensure!(!names.contains(&"proptest"), "what only tests need is not in it");
    Ok(())
}
