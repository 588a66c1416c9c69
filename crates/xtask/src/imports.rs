//! The step `imports` of `cargo xtask test`: the direction of imports, between crates, between the parts of a crate, and
//! between files.

mod borders;
mod circles;
mod crates;
mod layers;
mod mentions;
mod modules;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use cargo_metadata::MetadataCommand;

use crates::Crate;

/// Checks the imports of the whole workspace.
///
/// # Errors
/// When a crate depends on one that it must not know, when a part of one uses another that it must not, when files
/// import each other in a circle, or when sources cannot be read.
pub(crate) fn check() -> anyhow::Result<()> {
    let manifest = crate::root().join("Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(&manifest)
        .no_deps()
        .exec()
        .with_context(|| format!("asking cargo for the crates of {}", manifest.display()))?;
    let mut faults = borders::faults(&metadata.packages);
    let mut files = 0;
    for package in &metadata.packages {
        let read = |path: &Path| fs::read_to_string(path).ok();
        let parsed = Crate::of_package(package, &read)?;
        files += parsed.files().len();
        let circles = circles::find(&parsed);
        faults.extend(layers::faults(&package.name, &parsed));
        faults.extend(circles.iter().map(|circle| format!("{}: {circle}", package.name)));
    }
    if faults.is_empty() {
        eprintln!("{files} files in {} crates", metadata.packages.len());
        return Ok(());
    }
    let mut list = String::new();
    for fault in &faults {
        let _ = write!(list, "\n- {fault}");
    }
    bail!("imports that must not be:{list}")
}
