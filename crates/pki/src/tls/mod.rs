//! TLS to a server, as far as all engines share it: what is verified, and what the PEM in Secrets must be.

mod facts;
mod fault;
mod identity;
mod inspect;
mod trust;
mod verifier;

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};

pub use rolecall_engine::ClientCertificate;

pub use facts::{key_fault, validity, weak_signature};
pub use fault::{ClientFacts, ServerFacts, Whose, alert_name, handshake, refused_client};
pub use identity::{Identity, match_fault, unusable_key};
pub use inspect::{CertificateView, Inspection, inspect, verdict, view};
pub use trust::{Shown, dial, refused_as_a_client, tls_error};
pub use verifier::Verifier;

use crate::pem::{self, Fault};
use rolecall_engine::{Class, Error, Reason};

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

/// The CAs of a text, as PEM and without anything else in it, so that it can be passed on.
///
/// # Errors
///
/// `Invalid` where it contains no certificate, or a damaged one.
pub fn authorities(text: &str) -> Result<String, Error> {
    let certificates = pem::certificates(text).map_err(|fault| invalid(CA, fault))?;
    Ok(pem::encode_certificates(&certificates))
}

const CA: &str = "the CA of the server";
const ADMIN_CERTIFICATE: &str = "the admin user's certificate";
const ADMIN_KEY: &str = "the admin user's private key";

/// A TLS client, with what verifies servers for it.
#[derive(Clone, Debug)]
pub struct TlsClient {
    /// The client, as the TLS library takes it.
    pub config: ClientConfig,
    /// What verifies servers for it, and keeps what they showed.
    pub verifier: Arc<Verifier>,
}

/// A client that verifies servers as `tls` says, which must not be `Disable`, and shows certificates as `certificates`
/// says.
///
/// # Errors
///
/// `Invalid`, naming the part that cannot be used.
pub fn client(tls: &Tls, certificates: Option<Arc<dyn ResolvesClientCert>>) -> Result<TlsClient, Error> {
    if let Some(name) = &tls.server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        return Err(unusable("tls.serverName", format!("{name:?} is neither a DNS name nor an IP address")));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (roots, trusted) = match &tls.ca_pem {
        Some(text) => {
            let (roots, certificates) = roots(text)?;
            (roots, Some(certificates))
        }
        None => {
            let mut roots = RootCertStore::empty();
            // Single entries that cannot be parsed are no reason to trust none.
            roots.add_parsable_certificates(system_roots()?);
            (roots, None)
        }
    };
    let any_name = tls.mode == TlsMode::VerifyCa;
    let verifier = Verifier::new(Arc::clone(&provider), roots, trusted, any_name).map_err(|_| no_roots())?;
    let verifier = Arc::new(verifier);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("tls", error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
    let config = match certificates {
        Some(certificates) => builder.with_client_cert_resolver(certificates),
        None => builder.with_no_client_auth(),
    };
    Ok(TlsClient { config, verifier })
}

/// The admin user's certificate, as a client shows it.
pub fn always(identity: &Identity) -> Arc<dyn ResolvesClientCert> {
    Arc::new(SingleCertAndKey::from(Arc::clone(&identity.certified)))
}

/// The CAs of a PEM text, also as the TLS library takes them.
///
/// # Errors
///
/// `Invalid` where it contains no CA certificate, or one that cannot be used.
pub fn roots(ca_pem: &str) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Error> {
    let certificates = pem::certificates(ca_pem).map_err(|fault| invalid(CA, fault))?;
    let mut roots = RootCertStore::empty();
    for (index, der) in certificates.iter().enumerate() {
        roots.add(der.clone()).map_err(|_| {
            let detail = format!("certificate number {} in it is not encoded as X.509 demands", index + 1);
            invalid(CA, Fault::new(detail, "reissue it, or leave it out"))
        })?;
    }
    Ok((roots, certificates))
}

/// The CAs that this machine trusts.
///
/// # Errors
///
/// `Invalid` where there are none: the configuration must name one.
pub fn system_roots() -> Result<Vec<CertificateDer<'static>>, Error> {
    let system = rustls_native_certs::load_native_certs().certs;
    if system.is_empty() { Err(no_roots()) } else { Ok(system) }
}

fn no_roots() -> Error {
    let detail = "none is given, and the system has no root certificates that can be read";
    let remedy = "put the CA of the server into a Secret, and name it in spec.tls.caSecretRef";
    invalid(CA, Fault::new(detail, remedy))
}

/// The admin user's certificate cannot be used.
pub fn invalid_admin_certificate(detail: impl Into<String>, remedy: impl Into<String>) -> Error {
    invalid(ADMIN_CERTIFICATE, Fault::new(detail, remedy))
}

/// `spec.tls` or `spec.auth` asks for something that is not available.
pub fn unusable(field: &str, detail: impl Into<String>) -> Error {
    Error {
        class: Class::Invalid,
        reason: Reason::TlsFailed,
        attempted: format!("reading {field}"),
        code: String::new(),
        detail: detail.into(),
        remedy: String::new(),
    }
}

/// A fault in the contents of a Secret.
fn invalid(what: &str, fault: Fault) -> Error {
    Error { reason: Reason::SecretInvalid, remedy: fault.remedy, ..unusable(what, fault.detail) }
}
