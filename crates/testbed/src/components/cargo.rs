//! Tools that cargo installs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// The program of the crate `name` at exactly `version`, built unless it is in the cache (minutes).
///
/// # Errors
/// When the build fails.
pub fn cargo_tool(name: &str, version: &str) -> Result<PathBuf> {
    let dir = cache::ensure(name, &[("version", version)], |dir| install(name, version, &[], dir))?;
    Ok(dir.join("bin").join(name))
}

const MDBOOK_VERSION: &str = "0.5.4";

/// mdBook, which builds the book, without what serves and searches it; built unless it is in the cache (minutes).
///
/// # Errors
/// When the build fails.
pub fn mdbook() -> Result<PathBuf> {
    let build = |dir: &Path| install("mdbook", MDBOOK_VERSION, &["--no-default-features"], dir);
    Ok(cache::ensure("mdbook", &[("version", MDBOOK_VERSION)], build)?.join("bin/mdbook"))
}

fn install(name: &str, version: &str, options: &[&str], dir: &Path) -> Result<()> {
    let progress = Progress::start(format!("building {name} {version}"));
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["install", "--locked", "--quiet", "--version", version, "--root"])
        .arg(dir)
        .args(options)
        .arg(name)
        // Neither the settings nor the toolchain of this workspace are the tool's business.
        .current_dir(dir)
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("running", Path::new("cargo")))?;
    if !output.status.success() {
        let detail = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Build { component: name.to_owned(), detail });
    }
    progress.done();
    Ok(())
}
