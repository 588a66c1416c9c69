//! Running kubectl.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::environment;
use crate::error::{Error, Result};

/// Runs kubectl with this kubeconfig and input, and returns its standard output.
///
/// # Errors
/// When it cannot be started or fails.
pub(super) async fn run(kubectl: &Path, kubeconfig: &Path, args: &[&str], input: &str) -> Result<String> {
    let io = || Error::io("running", kubectl);
    let mut child = Command::new(kubectl)
        .args(args)
        .env_clear()
        // Its home contains its discovery cache and preferences.
        .envs(environment(kubeconfig.parent().unwrap_or(Path::new("/"))))
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(io())?;
    if let Some(mut stdin) = child.stdin.take() {
        // kubectl may end before it has read everything; its own message says why.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(io())?;
    if !output.status.success() {
        let command = format!("kubectl {}", args.join(" "));
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Command { command, stderr });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
