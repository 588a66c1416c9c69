//! A key that stays here, the request for its certificate, and the files that a client program reads them from.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tempfile::TempDir;

/// Key, request and files. The files go when it is dropped.
#[derive(Debug)]
pub(super) struct Identity {
    directory: TempDir,
    request: String,
    authorities: bool,
}

impl Identity {
    /// A new key, with its request. `authorities` are those that the server's certificate is checked against.
    pub(super) fn new(authorities: Option<&[u8]>) -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("making a key")?;
        let mut params = CertificateParams::default();
        // Only the public key is taken from a request, so that it need not name anybody.
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).context("making a certificate request")?;
        let request = request.pem().context("writing a certificate request")?;
        let directory = tempfile::Builder::new()
            .prefix("rolecall-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("making a directory for the key")?;
        let identity =
            Self { directory, request: BASE64_STANDARD.encode(request), authorities: authorities.is_some() };
        identity.write("tls.key", key.serialize_pem().as_bytes())?;
        if let Some(authorities) = authorities {
            identity.write("ca.crt", authorities)?;
        }
        Ok(identity)
    }

    /// The request as `spec.certificateRequest` takes it.
    pub(super) fn request(&self) -> &str {
        &self.request
    }

    /// Puts a certificate into place, the first or a renewed one.
    pub(super) fn put_certificate(&self, pem: &[u8]) -> anyhow::Result<()> {
        self.replace("tls.crt", pem)?;
        let mut together = pem.to_vec();
        if !together.ends_with(b"\n") {
            together.push(b'\n');
        }
        together.extend(std::fs::read(self.key()).context("reading the key")?);
        self.replace("tls.pem", &together)
    }

    /// The file that holds both certificate and key, once there is a certificate.
    pub(super) fn together(&self) -> PathBuf {
        self.path("tls.pem")
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.path("tls.crt")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.path("tls.key")
    }

    /// The file with the server's authorities; `None`: those of the system.
    pub(super) fn authorities(&self) -> Option<PathBuf> {
        self.authorities.then(|| self.path("ca.crt"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A new file in the old one's place, so that nobody reads half of it.
    fn replace(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let new = format!("{name}.new");
        self.write(&new, content)?;
        std::fs::rename(self.path(&new), self.path(name)).with_context(|| format!("replacing {name}"))
    }

    fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        write_private(&self.path(name), content)
    }
}

/// Writes a file that nobody else can read, not even before it is finished.
fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let writing = || format!("writing {}", path.display());
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(path).with_context(writing)?;
    file.write_all(content).with_context(writing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_private_and_go_with_the_identity() {
        let identity = Identity::new(Some(b"authorities")).expect("a key can be made");
        identity.put_certificate(b"one").expect("it is written");
        identity.put_certificate(b"two").expect("it is replaced");
        assert_eq!(std::fs::read(identity.certificate()).expect("it is there"), b"two");
        let key = std::fs::read_to_string(identity.key()).expect("it is there");
        let together = std::fs::read_to_string(identity.together()).expect("it is there");
        assert_eq!(together, format!("two\n{key}"));
        let directory = identity.directory.path().to_owned();
        let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        let authorities = identity.authorities().expect("it has some");
        for file in [identity.key(), identity.certificate(), identity.together(), authorities] {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
        let request = BASE64_STANDARD.decode(identity.request()).expect("base64");
        assert!(request.starts_with(b"-----BEGIN CERTIFICATE REQUEST-----"));
        drop(identity);
        assert!(!directory.exists());
    }
}
