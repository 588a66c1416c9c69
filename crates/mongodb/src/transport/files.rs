//! Certificates and the key, where the driver can read them.
//!
//! The driver takes paths and nothing else, and reads them again for every member that it finds. On Linux the text lies
//! in a file that exists in memory only and has no name in any directory, so that the key never reaches a disk and a
//! container needs no place to write. Elsewhere it lies in a private directory until this is dropped.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A text that can be read by its path while this lives.
#[derive(Debug)]
pub(crate) struct PrivateFile {
    path: PathBuf,
    #[cfg(target_os = "linux")]
    _file: std::fs::File,
    #[cfg(not(target_os = "linux"))]
    _directory: tempfile::TempDir,
}

impl PrivateFile {
    #[cfg(target_os = "linux")]
    pub(crate) fn new(text: &str) -> std::io::Result<Self> {
        use std::os::fd::AsRawFd;

        use rustix::fs::{MemfdFlags, Mode, SealFlags};

        let descriptor =
            rustix::fs::memfd_create("rolecall", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::fchmod(&descriptor, Mode::RUSR)?;
        let mut file = std::fs::File::from(descriptor);
        file.write_all(text.as_bytes())?;
        rustix::fs::fcntl_add_seals(
            &file,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
        )?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { path, _file: file })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new(text: &str) -> std::io::Result<Self> {
        // The directory is 0700 and its name is new.
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("pem");
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path)?.write_all(text.as_bytes())?;
        Ok(Self { path, _directory: directory })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_read_again_and_again_until_it_is_dropped() {
        let file = PrivateFile::new("text").unwrap();
        let path = file.path().to_owned();
        for _ in 0..2 {
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
        }
        assert!(std::fs::write(&path, "other").is_err());
        drop(file);
        // The number may mean another file by now.
        assert!(std::fs::read_to_string(&path).map_or(true, |text| text != "text"));
    }
}
