//! The certificates of a configuration: checked before anything is dialled, and as the driver wants them.

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};

use super::config::{ClientCertificate, Config};
use super::name::user_name_of;
use crate::Error;
use crate::tls::{self, TlsMode};

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
            remedy: "set tls.mode: VerifyFull without serverName, and write the names of the servers' certificates into spec.uri".to_owned(),
            ..tls::unusable("spec.tls", "for MongoDB a server's certificate is verified in full, by the name that is dialled")
        });
    }
    let ClientCertificate { cert_pem, key_pem } = &config.certificate;
    let (chain, key) = tls::admin_identity(cert_pem, key_pem)?;
    if let Some(leaf) = chain.first() {
        is_of_the_admin_user(leaf, &config.admin_user)?;
    }
    let provider = aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(tls::pair_fault)?;
    let identity = format!("{cert_pem}\n{}", key_pem.expose_secret());
    Ok(Texts { ca: ca(config)?, identity: identity.into() })
}

/// The server takes whoever the certificate names. So it must be the admin user, and must be named by a CN alone.
fn is_of_the_admin_user(leaf: &CertificateDer<'_>, admin_user: &str) -> Result<(), Error> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| tls::invalid_admin_certificate(format!("it cannot be read: {error}")))?;
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
    Err(Error { remedy, ..tls::invalid_admin_certificate(format!("it is made out to {subject}")) })
}

fn ca(config: &Config) -> Result<String, Error> {
    if let Some(pem) = &config.tls.ca_pem {
        tls::roots(pem)?;
        return Ok(pem.clone());
    }
    // The driver by itself would trust a list that it brings along, not what this machine trusts.
    Ok(tls::system_roots()?.iter().map(|der| pem(der)).collect())
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    // 64 characters of ASCII to a line.
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
