//! The operator runs from the image's root file system as a container would run it, and does its work.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rolecall_api::{DatabaseSession, EndReason};
use rolecall_testbed::components::images;
use rolecall_tests::{Process, TestEnv, cluster};
use serde_json::json;

use crate::root::{Root, path, script};

/// Sessions start and end by the operator in this root; `emulator` runs it where it is for another machine.
pub(crate) async fn assert_works(root: &Root, emulator: Option<&Path>) -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    let kubeconfig = root.beside().join("kubeconfig");
    fs::write(&kubeconfig, cluster::operator_kubeconfig().await?)?;
    let bubblewrap = tokio::task::spawn_blocking(images::bubblewrap).await??;
    let mut command = tokio::process::Command::new(script("run.sh"));
    command
        .arg(root.path())
        .arg(&kubeconfig)
        .arg(format!("--watch-namespace={}", env.namespace))
        .args(["--leader-elect=false", "--listen=127.0.0.1:0"])
        .env("PATH", path(&[&bubblewrap])?)
        .env_remove("ROLECALL_EMULATOR");
    if let Some(emulator) = emulator {
        command.env("ROLECALL_EMULATOR", emulator);
    }
    let process = Process::of(command).await?;
    process.log().wait_for("rolecall_operator: ready").await?;
    assert_confined(&root.program(), if emulator.is_some() { "emulator" } else { "rolecall-operat" })?;
    env.session("standing", json!({})).await?;
    env.session("timed", json!({"ttl": "3s"})).await?;
    env.active("standing").await.with_context(|| process.log().text())?;
    env.login("standing").await?;
    env.ended("timed", EndReason::Expired).await?;
    env.delete_and_wait::<DatabaseSession>("standing").await?;
    ensure!(env.account().await?.is_some_and(|account| account.is_disabled()), "the login is open");
    Ok(())
}

/// What the kernel says of the processes of this name that have this program in their root: user, rights, root.
fn assert_confined(program: &Path, name: &str) -> Result<()> {
    let wanted = fs::metadata(program)?.len();
    let mut found = 0;
    for process in fs::read_dir("/proc")?.flatten() {
        let inside = process.path().join("root/rolecall-operator");
        // Its own parent, bubblewrap, is in the same root.
        let own = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let of_image = fs::metadata(&inside).is_ok_and(|file| file.len() == wanted);
        if !of_image || own.trim_end() != name {
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
    ensure!(found > 0, "no process {name} runs from the image's root");
    Ok(())
}
