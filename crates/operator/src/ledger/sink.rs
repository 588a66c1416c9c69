//! Where lines go: standard error, or a file.

use std::fmt::Debug;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// How much of a file's end is read for its last line.
const TAIL: u64 = 1 << 20;

/// Takes lines.
pub(super) trait Sink: Debug + Send {
    /// Appends bytes. How many were taken before it failed, and how it failed.
    fn append(&mut self, bytes: &[u8]) -> (usize, io::Result<()>);

    /// What was taken survives a crash of the machine, as far as this kind of sink allows.
    fn sync(&mut self) -> io::Result<()>;

    /// The end of what is there already, where it can be read.
    fn tail(&mut self) -> Option<String>;
}

/// Standard error: what reads it has a line as soon as it was written.
#[derive(Debug)]
pub(super) struct Stderr;

impl Sink for Stderr {
    fn append(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        // Under its lock: no line of the log gets in between.
        append(&mut io::stderr().lock(), bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }

    fn tail(&mut self) -> Option<String> {
        None
    }
}

/// A file. It is only ever appended to.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    open: Option<fs::File>,
}

impl File {
    /// Nothing is opened yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// The file of that name, which may be another one than a moment ago.
    fn file(&mut self) -> io::Result<&mut fs::File> {
        let is_current = match (&self.open, fs::metadata(&self.path)) {
            (Some(open), Ok(there)) => {
                let open = open.metadata()?;
                (open.dev(), open.ino()) == (there.dev(), there.ino())
            }
            _ => false,
        };
        match &mut self.open {
            Some(_) if is_current => {}
            open => {
                // Only its owner may read it: who had access to what is nobody else's business.
                let file =
                    fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path);
                *open = Some(file?);
            }
        }
        self.open.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Sink for File {
    fn append(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        match self.file() {
            Ok(file) => append(file, bytes),
            Err(error) => (0, Err(error)),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.open.as_ref().map_or(Ok(()), fs::File::sync_data) {
            // It is a pipe or a terminal: there is nothing to wait for.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    fn tail(&mut self) -> Option<String> {
        let file = self.file().ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn append(to: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut taken = 0;
    while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
        match to.write(rest) {
            Ok(0) => return (taken, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => taken += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (taken, Err(error)),
        }
    }
    (taken, Ok(()))
}
