//! What the demo and the benchmarks share.

pub mod measure;
pub mod metrics;
pub mod operator;

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    // This crate lies in crates/xtask.
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}
