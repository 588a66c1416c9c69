//! A temporary directory that disappears even when its owner is killed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::account::Account;
use crate::environment;
use crate::error::{Error, Result};

/// Unix socket addresses end at 107 bytes, of which a socket's own name takes up to 30.
const LONGEST_PARENT: usize = 60;

/// A temporary directory of one server. A small shell removes it when this value is dropped or its process is gone.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    sweeper: Child,
}

impl Scratch {
    /// Makes an empty directory that only `account` (and root) may enter.
    ///
    /// # Errors
    /// When the directory or its sweeper cannot be made.
    pub(crate) fn new(name: &str, account: Account) -> Result<Self> {
        let mut parent = std::env::temp_dir();
        if parent.as_os_str().len() > LONGEST_PARENT {
            parent = PathBuf::from("/tmp");
        }
        let path = tempfile::Builder::new()
            .prefix(&format!("rolecall-{name}-"))
            .tempdir_in(&parent)
            .map_err(Error::io("creating a directory in", &parent))?
            .keep();
        let sweeper = Command::new("sh")
            .args(["-c", include_str!("sweep.sh"), "rolecall-sweep"])
            .arg(&path)
            .env_clear()
            .envs(environment(&path))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal is sent to the whole group; the sweeper has to outlive it.
            .process_group(0)
            .spawn()
            .map_err(Error::io("starting the sweeper of", &path))?;
        let scratch = Self { path, sweeper };
        fs::set_permissions(&scratch.path, Permissions::from_mode(0o700))
            .map_err(Error::io("closing", &scratch.path))?;
        account.own(&scratch.path)?;
        Ok(scratch)
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.sweeper.stdin.take());
        // A directory that stays behind is not a reason to panic in a destructor.
        let _ = self.sweeper.wait();
    }
}

/// Copies the content of the directory `from` into the new directory `to`, which `account` then owns.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn copy_tree(from: &Path, to: &Path, account: Account) -> Result<()> {
    fs::create_dir(to).map_err(Error::io("creating", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("reading", from))? {
        let entry = entry.map_err(Error::io("reading", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(Error::io("reading", &source))?.is_dir() {
            copy_tree(&source, &target, account)?;
        } else {
            fs::copy(&source, &target).map_err(Error::io("copying", &source))?;
            account.own(&target)?;
        }
    }
    let mode = fs::metadata(from).map_err(Error::io("reading", from))?.permissions();
    fs::set_permissions(to, mode).map_err(Error::io("closing", to))?;
    account.own(to)
}
