//! The step `imports` of `cargo xtask test`: the direction of imports, between crates and between files.

mod borders;
mod circles;
mod crates;
mod mentions;
mod modules;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use cargo_metadata::MetadataCommand;

use circles::Circle;
use crates::Crate;

/// A circle that may stay.
struct Leftover {
    /// The package.
    package: &'static str,
    /// The module below which every file of the circle lies, for example `account`; empty: the whole crate.
    below: &'static str,
    /// Why it may stay.
    reason: &'static str,
}

/// What may stay. An entry that no circle needs any more is an error, so that the list only gets shorter.
const LEFTOVERS: &[Leftover] =
    &[Leftover { package: "rolecall-xtask", below: "demo", reason: "the two tours become one" }];

/// Checks the imports of the whole workspace.
///
/// # Errors
/// When a crate depends on one that it must not know, when files import each other in a circle, or when sources cannot
/// be read.
pub(crate) fn check() -> anyhow::Result<()> {
    let manifest = crate::root().join("Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(&manifest)
        .no_deps()
        .exec()
        .with_context(|| format!("asking cargo for the crates of {}", manifest.display()))?;
    let mut faults = borders::faults(&metadata.packages);
    let mut used = vec![false; LEFTOVERS.len()];
    let mut files = 0;
    for package in &metadata.packages {
        let read = |path: &Path| fs::read_to_string(path).ok();
        let parsed = Crate::of_package(package, &read)?;
        files += parsed.files().len();
        for circle in circles::find(&parsed) {
            match leftover(&package.name, &circle) {
                Some(index) => {
                    used[index] = true;
                    eprintln!("may stay ({}): {}: {circle}", LEFTOVERS[index].reason, package.name);
                }
                None => faults.push(format!("{}: {circle}", package.name)),
            }
        }
    }
    faults.extend(LEFTOVERS.iter().zip(used).filter(|(_, used)| !used).map(|(leftover, _)| {
        format!(
            "LEFTOVERS allows a circle below `{}` of {} ({}), and there is none: remove the entry",
            leftover.below, leftover.package, leftover.reason
        )
    }));
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

/// The entry that allows a circle.
fn leftover(package: &str, circle: &Circle) -> Option<usize> {
    LEFTOVERS.iter().position(|leftover| leftover.package == package && circle.is_below(leftover.below))
}
