//! Files that a client program reads, and of which nothing is left, however this program ends.

#[cfg(not(target_os = "linux"))]
pub(super) use directory::Files;
#[cfg(target_os = "linux")]
pub(super) use memory::Files;

/// On Linux they lie in memory. The client program reads them as open files of this process, so that they are gone with
/// it even where it is killed.
#[cfg(target_os = "linux")]
mod memory {
    use std::collections::BTreeMap;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::path::PathBuf;

    use anyhow::Context;
    use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
    use rustix::io::{DupFlags, Errno, dup3};

    /// Files by name.
    #[derive(Debug, Default)]
    pub(in crate::connect) struct Files(BTreeMap<&'static str, OwnedFd>);

    impl Files {
        /// No files yet.
        pub(in crate::connect) fn new() -> anyhow::Result<Self> {
            Ok(Self::default())
        }

        /// Writes a file that nobody else can read. A file of that name is replaced as a whole, so that nobody
        /// reads half of it, and its path stays.
        pub(in crate::connect) fn put(&mut self, name: &'static str, content: &[u8]) -> anyhow::Result<()> {
            let writing = || format!("keeping {name} in memory");
            let mut file = File::from(create(name).with_context(writing)?);
            // Clients refuse a key that others may read.
            fchmod(&file, Mode::RUSR | Mode::WUSR).with_context(writing)?;
            file.write_all(content).with_context(writing)?;
            match self.0.get_mut(name) {
                Some(before) => dup3(&file, before, DupFlags::CLOEXEC).with_context(writing)?,
                None => {
                    self.0.insert(name, file.into());
                }
            }
            let path = self.path(name);
            File::open(&path)
                .map(drop)
                .with_context(|| format!("the client program could not read {name} from {}", path.display()))
        }

        /// Where a client program finds it.
        pub(in crate::connect) fn path(&self, name: &str) -> PathBuf {
            let number = self.0.get(name).map_or(-1, AsRawFd::as_raw_fd);
            PathBuf::from(format!("/proc/{}/fd/{number}", std::process::id()))
        }
    }

    fn create(name: &str) -> rustix::io::Result<OwnedFd> {
        match memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
            // Before Linux 6.3 there is no such flag.
            Err(Errno::INVAL) => memfd_create(name, MemfdFlags::CLOEXEC),
            created => created,
        }
    }
}

/// Elsewhere they lie in a directory that nobody else can read, and go with it.
#[cfg(not(target_os = "linux"))]
mod directory {
    use std::fs::{OpenOptions, Permissions};
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    use std::path::PathBuf;

    use anyhow::Context;
    use tempfile::TempDir;

    /// Files by name.
    #[derive(Debug)]
    pub(in crate::connect) struct Files(TempDir);

    impl Files {
        /// No files yet.
        pub(in crate::connect) fn new() -> anyhow::Result<Self> {
            let directory = tempfile::Builder::new()
                .prefix("rolecall-")
                .permissions(Permissions::from_mode(0o700))
                .tempdir()
                .context("making a directory for the key")?;
            Ok(Self(directory))
        }

        /// Writes a file that nobody else can read. A file of that name is replaced as a whole, so that nobody
        /// reads half of it, and its path stays.
        pub(in crate::connect) fn put(&mut self, name: &'static str, content: &[u8]) -> anyhow::Result<()> {
            let path = self.path(name);
            let writing = || format!("writing {}", path.display());
            let new = self.0.path().join(format!("{name}.new"));
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)
                .with_context(writing)?;
            file.write_all(content).with_context(writing)?;
            std::fs::rename(&new, &path).with_context(writing)
        }

        /// Where a client program finds it.
        pub(in crate::connect) fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_private_and_is_replaced_under_its_path() {
        let mut files = Files::new().expect("files can be kept");
        files.put("tls.crt", b"one and more").expect("it is written");
        files.put("tls.key", b"key").expect("it is written");
        let path = files.path("tls.crt");
        let open = std::fs::File::open(&path).expect("it is there");
        files.put("tls.crt", b"two").expect("it is replaced");
        assert_eq!(files.path("tls.crt"), path);
        assert_eq!(std::fs::read(&path).expect("it is there"), b"two");
        // A program that was reading the old one reads it to its end.
        assert_eq!(std::io::read_to_string(open).expect("it is read"), "one and more");
        let key = files.path("tls.key");
        assert_eq!(std::fs::read(&key).expect("it is there"), b"key");
        assert_eq!(key.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
        assert!(key.metadata().expect("it is there").is_file(), "libpq takes no other");
        drop(files);
        assert!(!key.exists() && !path.exists());
    }
}
