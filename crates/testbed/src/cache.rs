//! Where built components live, and how two processes avoid building the same one twice.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fmt::Write};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::progress;

/// The directory of all built components.
///
/// `ROLECALL_CACHE_DIR` when set. Otherwise `$XDG_CACHE_HOME/rolecall` or `~/.cache/rolecall`; for root
/// `/var/cache/rolecall`, because servers that refuse to run as root must read it too and root's home is often closed.
///
/// # Errors
/// When no home directory is known.
pub fn dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("ROLECALL_CACHE_DIR").filter(|dir| !dir.is_empty()) {
        return std::path::absolute(&dir).map_err(Error::io("resolving", Path::new(&dir)));
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/cache/rolecall"));
    }
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache"))).map_or_else(
        || {
            let source = std::io::Error::new(ErrorKind::NotFound, "neither XDG_CACHE_HOME nor HOME is set");
            Err(Error::Io { what: "finding the cache directory".to_owned(), source })
        },
        |cache| Ok(cache.join("rolecall")),
    )
}

/// The directory of the component `name` whose content follows from `inputs` (its lock files): built with `build`
/// when it is not there yet.
///
/// `build` gets an empty directory, which becomes the component's when it succeeds, so that a build cut short never
/// looks finished.
///
/// # Errors
/// Those of `build`, and of the file system.
pub(crate) fn ensure(
    name: &str,
    inputs: &[(&str, &str)],
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let cache = dir()?;
    let entry = format!("{name}-{}", key(inputs));
    let path = cache.join(&entry);
    if path.is_dir() {
        return Ok(path);
    }
    fs::create_dir_all(&cache).map_err(Error::io("creating", &cache))?;
    let _lock = lock(&cache.join(format!(".{entry}.lock")), name)?;
    if path.is_dir() {
        return Ok(path);
    }
    // A build that was killed leaves its directory behind; we hold the lock, so nobody is using it.
    let unfinished = cache.join(format!(".{entry}.part"));
    remove(&unfinished)?;
    fs::create_dir(&unfinished).map_err(Error::io("creating", &unfinished))?;
    // Readable by the account that runs the servers, whatever the umask says.
    for dir in [&cache, &unfinished] {
        fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(Error::io("opening", dir))?;
    }
    if let Err(error) = build(&unfinished) {
        remove(&unfinished)?;
        return Err(error);
    }
    fs::rename(&unfinished, &path).map_err(Error::io("finishing", &path))?;
    Ok(path)
}

/// Short hash of the inputs, the operating system and the processor.
fn key(inputs: &[(&str, &str)]) -> String {
    let mut hash = Sha256::new();
    let platform = ("platform", concat!(env!("CARGO_PKG_NAME"), "/1"));
    let machine = (env::consts::OS, env::consts::ARCH);
    for (name, text) in [platform, machine].iter().chain(inputs) {
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().iter().take(6).fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Holds the lock file at `path` until dropped; says so when another process holds it.
fn lock(path: &Path, name: &str) -> Result<File> {
    let file = File::create(path).map_err(Error::io("creating", path))?;
    if file.try_lock().is_err() {
        progress::say(&format!("waiting for another process that prepares {name}"));
        file.lock().map_err(Error::io("locking", path))?;
    }
    Ok(file)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("removing", dir)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_depends_on_names_and_texts() {
        let one = key(&[("go.mod", "a"), ("go.sum", "b")]);
        assert_eq!(one.len(), 12);
        assert_eq!(one, key(&[("go.mod", "a"), ("go.sum", "b")]));
        assert_ne!(one, key(&[("go.mod", "ab"), ("go.sum", "")]));
        assert_ne!(one, key(&[("go.mod", "a"), ("go.sum", "c")]));
    }
}
