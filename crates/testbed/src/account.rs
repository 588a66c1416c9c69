//! The operating system account that servers run as.

use std::path::Path;
use std::process::Command;
use std::{fs, os::unix};

use unix::process::CommandExt;

use crate::error::{Error, Result};

/// The account that a server is started as.
///
/// PostgreSQL refuses to run as root. When the testbed runs as root (often so in CI) its servers run as `nobody`
/// and own their data; otherwise they run as the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// The caller's own account.
    Own,
    /// Another account, possible only for root.
    Other {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

impl Account {
    /// The account for programs that refuse to run as root.
    pub(crate) fn unprivileged() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::Own;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) = nobody(&passwd).unwrap_or((65534, 65534));
        Self::Other { uid, gid }
    }

    /// Makes `command` run as this account.
    pub(crate) fn apply(self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives `path` to this account.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => {
                unix::fs::lchown(path, Some(uid), Some(gid)).map_err(Error::io("giving away", path))
            }
        }
    }
}

/// User and group id of `nobody` in the text of /etc/passwd.
fn nobody(passwd: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.starts_with("nobody:"))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nnobody:x:99:98:nobody:/:/sbin/nologin\n";
        assert_eq!(nobody(passwd), Some((99, 98)));
        assert_eq!(nobody("root:x:0:0::/:/bin/sh\n"), None);
    }
}
