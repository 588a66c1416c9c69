//! TLS to a server, as far as all engines share it: what is verified, and what the PEM in Secrets must be.

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};

use crate::{Class, Error, Reason};

/// Whether and how the server proves itself.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// How much is verified.
    pub mode: TlsMode,
    /// The CAs to trust, as PEM; `None`: those of the system.
    pub ca_pem: Option<String>,
    /// The name that the server's certificate must have; `None`: the host.
    pub server_name: Option<String>,
}

/// How much of the server's certificate is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// The chain and the name.
    #[default]
    VerifyFull,
    /// The chain only.
    VerifyCa,
    /// No TLS at all.
    Disable,
}

const CA: &str = "the CA of the server";
const ADMIN_CERTIFICATE: &str = "the admin user's certificate";
const ADMIN_KEY: &str = "the admin user's private key";

/// What the CAs of a PEM text trust.
///
/// # Errors
///
/// `Invalid` where it holds no CA certificate, or something else besides.
pub(crate) fn roots(ca_pem: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for der in certificates(CA, ca_pem)? {
        roots.add(der).map_err(|error| invalid(CA, format!("it is no CA certificate: {error}")))?;
    }
    Ok(roots)
}

/// The CAs that this machine trusts.
///
/// # Errors
///
/// `Invalid` where there are none: the configuration must name one.
pub(crate) fn system_roots() -> Result<Vec<CertificateDer<'static>>, Error> {
    let system = rustls_native_certs::load_native_certs().certs;
    if system.is_empty() {
        return Err(invalid(CA, "none is given, and the system has no root certificates"));
    }
    Ok(system)
}

/// The admin user's certificate with its chain, and its key.
///
/// # Errors
///
/// `Invalid` where one of them is no PEM of that. That they belong together is not looked at: see [`pair_fault`].
pub(crate) fn admin_identity(
    cert_pem: &str,
    key_pem: &SecretString,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let chain = certificates(ADMIN_CERTIFICATE, cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.expose_secret().as_bytes())
        .map_err(|_| invalid(ADMIN_KEY, "it is no PEM of an unencrypted private key"))?;
    Ok((chain, key))
}

/// Why the TLS library does not take a certificate and a key together.
pub(crate) fn pair_fault(error: rustls::Error) -> Error {
    match error {
        rustls::Error::InconsistentKeys(_) => invalid(ADMIN_KEY, "it does not belong to the certificate"),
        other => invalid("the admin user's certificate and key", other.to_string()),
    }
}

/// The admin user's certificate cannot be used.
pub(crate) fn invalid_admin_certificate(detail: impl Into<String>) -> Error {
    invalid(ADMIN_CERTIFICATE, detail)
}

/// The CA of the server cannot be used.
pub(crate) fn invalid_ca(detail: impl Into<String>) -> Error {
    invalid(CA, detail)
}

/// What a `spec.tls` or `spec.auth` asks for cannot be had.
pub(crate) fn unusable(field: &str, detail: impl Into<String>) -> Error {
    Error {
        class: Class::Invalid,
        reason: Reason::TlsFailed,
        attempted: format!("reading {field}"),
        code: String::new(),
        detail: detail.into(),
        remedy: String::new(),
    }
}

fn certificates(field: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(field, format!("it is no PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(invalid(field, "there is no certificate in it"));
    }
    Ok(certificates)
}

/// A fault in what a Secret holds.
fn invalid(field: &str, detail: impl Into<String>) -> Error {
    let remedy = "put PEM into the Secrets that spec.auth and spec.tls name".to_owned();
    Error { reason: Reason::SecretInvalid, remedy, ..unusable(field, detail) }
}
