//! A parser of Amazon Redshift's SQL that is not ours (sqlfluff, from PyPI).

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::pip;
use crate::cache;
use crate::error::{Error, Result};
use crate::progress::Progress;

const FILES: [(&str, &str); 2] = [
    ("requirements.txt", include_str!("../../components/redshift-grammar/requirements.txt")),
    ("parse.py", include_str!("../../components/redshift-grammar/parse.py")),
];

/// Parses a JSON list of statements. The answer is a JSON list of objects: `kinds`, those of the nodes under each
/// statement in the text, and `faults`, what could not be parsed.
///
/// # Errors
/// When Python or pip is missing, the packages cannot be fetched, or the parser fails.
pub fn parse_redshift(statements: &str) -> Result<String> {
    let name = "the parser of Redshift's SQL";
    // A wheel is made for one version of Python.
    let version = pip::python(name, "import sys; print(*sys.version_info[:2], sys.executable)")?;
    let inputs: Vec<_> = FILES.into_iter().chain([("python", version.as_str())]).collect();
    let dir = cache::ensure("redshift-grammar", &inputs, |dir| {
        let progress = Progress::start(format!("fetching {name}"));
        pip::install(name, FILES[0], dir)?;
        let path = dir.join(FILES[1].0);
        fs::write(&path, FILES[1].1).map_err(Error::io("writing", &path))?;
        progress.done();
        Ok(())
    })?;
    let program = version.splitn(3, ' ').nth(2).unwrap_or("python3");
    let packages: OsString = dir.join("package").into();
    let mut child = Command::new(program)
        .arg(dir.join(FILES[1].0))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", &dir)
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::io("running", Path::new(program)))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(statements.as_bytes()).map_err(Error::io("writing to", Path::new(program)))?;
    }
    let output = child.wait_with_output().map_err(Error::io("running", Path::new(program)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let detail = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Build { component: name.to_owned(), detail })
}
