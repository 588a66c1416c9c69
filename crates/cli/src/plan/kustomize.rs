//! What kustomize puts together, by the program that people use for it.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

/// The manifests of a directory with a kustomization.
///
/// # Errors
///
/// Neither kubectl nor kustomize is there; what they say.
pub(super) async fn build(directory: &Path) -> anyhow::Result<String> {
    let shown = directory.display();
    for (program, verb) in [("kubectl", "kustomize"), ("kustomize", "build")] {
        let run = Command::new(program).arg(verb).arg(directory).stdin(Stdio::null()).output().await;
        let output = match run {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            run => run.with_context(|| format!("running {program} {verb} {shown}"))?,
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{program} {verb} {shown}: {}", said.trim());
        }
        return String::from_utf8(output.stdout)
            .with_context(|| format!("reading what {program} {verb} {shown} printed"));
    }
    bail!(
        "--kustomize needs kubectl or kustomize on the PATH; else: kustomize build {shown} | kubectl rolecall plan -f -"
    )
}
