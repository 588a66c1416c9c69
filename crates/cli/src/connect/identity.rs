//! A key that stays here, the request for its certificate, and the files that a client program reads them from.

use std::path::PathBuf;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use secrecy::SecretString;

use super::files::Files;

/// Key, request and files. The files go when it is dropped.
pub(crate) struct Identity {
    key: KeyPair,
    files: Files,
    request: String,
    authorities: bool,
}

impl Identity {
    /// A new key, with its request.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("making a key")?;
        let mut params = CertificateParams::default();
        // Only the public key is taken from a request, so that it need not name anybody.
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).context("making a certificate request")?;
        let request = BASE64_STANDARD.encode(request.pem().context("writing a certificate request")?);
        let mut files = Files::new()?;
        files.put("tls.key", key.serialize_pem().as_bytes())?;
        // As Java reads it.
        files.put("tls.pk8", key.serialized_der())?;
        Ok(Self { key, files, request, authorities: false })
    }

    /// The request as `spec.certificateRequest` takes it.
    pub(crate) fn request(&self) -> &str {
        &self.request
    }

    /// Puts a certificate into place, the first or a renewed one.
    pub(crate) fn put_certificate(&mut self, pem: &[u8]) -> anyhow::Result<()> {
        self.files.put("tls.crt", pem)?;
        let mut together = pem.to_vec();
        if !together.ends_with(b"\n") {
            together.push(b'\n');
        }
        together.extend(self.key.serialize_pem().into_bytes());
        self.files.put("tls.pem", &together)
    }

    /// Puts the authorities into place that the server's certificate is checked against.
    pub(crate) fn put_authorities(&mut self, pem: &[u8]) -> anyhow::Result<()> {
        self.authorities = true;
        self.files.put("ca.crt", pem)
    }

    /// The file with both certificate and key, once there is a certificate.
    pub(crate) fn together(&self) -> PathBuf {
        self.files.path("tls.pem")
    }

    /// Certificate and key, for clients in this process.
    pub(crate) fn pem(&self) -> anyhow::Result<(String, SecretString)> {
        let certificate = std::fs::read_to_string(self.certificate()).context("reading the certificate")?;
        Ok((certificate, self.key.serialize_pem().into()))
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.files.path("tls.crt")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.files.path("tls.key")
    }

    /// The key as Java reads it.
    pub(crate) fn key_der(&self) -> PathBuf {
        self.files.path("tls.pk8")
    }

    /// The key itself, for what logs in within this process.
    pub(crate) fn key_pem(&self) -> SecretString {
        self.key.serialize_pem().into()
    }

    /// The file with the server's authorities; `None`: those of the system.
    pub(crate) fn authorities(&self) -> Option<PathBuf> {
        self.authorities.then(|| self.files.path("ca.crt"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_certificate_takes_the_place_of_the_first() {
        let mut identity = Identity::new().expect("a key can be made");
        assert_eq!(identity.authorities(), None);
        identity.put_certificate(b"one").expect("it is written");
        identity.put_certificate(b"two").expect("it is replaced");
        assert_eq!(std::fs::read(identity.certificate()).expect("it is there"), b"two");
        let key = std::fs::read_to_string(identity.key()).expect("it is there");
        let together = std::fs::read_to_string(identity.together()).expect("it is there");
        assert_eq!(together, format!("two\n{key}"));
        identity.put_authorities(b"authorities").expect("they are written");
        let authorities = identity.authorities().expect("it has some");
        assert_eq!(std::fs::read(authorities).expect("they are there"), b"authorities");
        let request = BASE64_STANDARD.decode(identity.request()).expect("base64");
        assert!(request.starts_with(b"-----BEGIN CERTIFICATE REQUEST-----"));
    }
}
