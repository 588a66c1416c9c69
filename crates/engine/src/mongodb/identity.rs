//! The certificates of a configuration: checked before anything is dialled, and as the driver wants them.

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};

use super::config::{Config, TlsMode};
use super::name::user_name_of;
use crate::{Class, Error, Reason};

/// The files of a client.
pub(super) struct Texts {
    /// The CAs to trust.
    pub(super) ca: String,
    /// The certificate with its chain, and the key.
    pub(super) identity: SecretString,
}

/// # Errors
///
/// `Invalid`, naming the part that cannot be used.
pub(super) fn check(config: &Config) -> Result<Texts, Error> {
    if config.tls.mode != TlsMode::VerifyFull || config.tls.server_name.is_some() {
        return Err(Error {
            reason: Reason::TlsFailed,
            remedy: "set tls.mode: VerifyFull without serverName, and write the names of the servers' certificates into spec.uri".to_owned(),
            ..invalid("spec.tls", "for MongoDB a server's certificate is verified in full, by the name that is dialled")
        });
    }
    let key_pem = config.certificate.key_pem.expose_secret();
    let chain = certificates("the admin user's certificate", &config.certificate.cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|_| invalid("the admin user's private key", "it is no PEM of an unencrypted private key"))?;
    if let Some(leaf) = chain.first() {
        is_of_the_admin_user(leaf, &config.admin_user)?;
    }
    let provider = aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            invalid("the admin user's private key", "it does not belong to the certificate")
        }
        other => invalid("the admin user's certificate and key", other.to_string()),
    })?;
    let identity = format!("{}\n{key_pem}", config.certificate.cert_pem);
    Ok(Texts { ca: ca(config)?, identity: identity.into() })
}

/// The server takes whoever the certificate names. So it must be the admin user, and must be named by a CN alone.
fn is_of_the_admin_user(leaf: &CertificateDer<'_>, admin_user: &str) -> Result<(), Error> {
    let field = "the admin user's certificate";
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| invalid(field, format!("it cannot be read: {error}")))?;
    let subject = certificate.subject();
    let mut attributes = subject.iter_attributes();
    let names = (attributes.next(), attributes.next());
    let is_it = match names {
        (Some(only), None) => {
            *only.attr_type() == x509_parser::oid_registry::OID_X509_COMMON_NAME
                && only.as_str().is_ok_and(|name| name == admin_user)
        }
        _ => false,
    };
    if is_it {
        return Ok(());
    }
    let remedy = format!(
        "its subject must be {:?}: put another certificate into the Secret, or correct spec.adminUser.name",
        user_name_of(admin_user)
    );
    Err(Error { remedy, ..invalid(field, format!("it is made out to {subject}")) })
}

fn ca(config: &Config) -> Result<String, Error> {
    let field = "the CA of the server";
    if let Some(pem) = &config.tls.ca_pem {
        let mut roots = RootCertStore::empty();
        for der in certificates(field, pem)? {
            roots.add(der).map_err(|error| invalid(field, format!("it is no CA certificate: {error}")))?;
        }
        return Ok(pem.clone());
    }
    // The driver by itself would trust a list that it brings along, not what this machine trusts.
    let system = rustls_native_certs::load_native_certs().certs;
    if system.is_empty() {
        return Err(invalid(field, "none is given, and the system has no root certificates"));
    }
    Ok(system.iter().map(|der| pem(der)).collect())
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    // 64 characters of ASCII to a line.
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
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

fn invalid(field: &str, detail: impl Into<String>) -> Error {
    Error {
        class: Class::Invalid,
        reason: Reason::SecretInvalid,
        attempted: format!("reading {field}"),
        code: String::new(),
        detail: detail.into(),
        remedy: "put PEM into the Secrets that spec.auth and spec.tls name".to_owned(),
    }
}
