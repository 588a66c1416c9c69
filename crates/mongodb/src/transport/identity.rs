//! The certificates of a configuration: checked before anything is dialled, and as the driver wants them.

use rolecall_engine::Error;
use rolecall_engine::dialect::mongodb::user_name_of;
use rolecall_pki::pem;
use rolecall_pki::tls::{self, ClientCertificate, Identity, TlsMode};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use secrecy::SecretString;
use x509_parser::prelude::X509Version;

use crate::transport::config::Config;

/// The files of a client.
pub(crate) struct Texts {
    /// The CAs to trust.
    pub(crate) ca: String,
    /// The certificate with its chain, and the key.
    pub(crate) identity: SecretString,
    /// The certificate with its chain.
    pub(crate) chain: Vec<CertificateDer<'static>>,
}

/// # Errors
///
/// `Invalid`, naming the part that cannot be used.
pub(crate) fn check(config: &Config) -> Result<Texts, Error> {
    if config.tls.mode != TlsMode::VerifyFull || config.tls.server_name.is_some() {
        return Err(Error {
            remedy: "set tls.mode: VerifyFull without serverName, and write the names of the servers' certificates into spec.uri".to_owned(),
            ..tls::unusable("spec.tls", "for MongoDB a server's certificate is verified in full, by the name that is dialled")
        });
    }
    let ClientCertificate { cert_pem, key_pem } = &config.certificate;
    let identity = Identity::new(cert_pem, key_pem, &aws_lc_rs::default_provider())?;
    if let Some(leaf) = identity.chain.first() {
        is_of_the_admin_user(leaf, &config.admin_user)?;
    }
    let ca = ca(config)?;
    let together = format!("{}{}", pem::encode_certificates(&identity.chain), pem::encode_key(&identity.key));
    Ok(Texts { ca, identity: together.into(), chain: identity.chain })
}

/// The server takes whoever the certificate names. So it must be the admin user, and must be named by a CN alone.
fn is_of_the_admin_user(leaf: &CertificateDer<'_>, admin_user: &str) -> Result<(), Error> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).map_err(|_| {
        tls::invalid_admin_certificate(
            "it is no X.509 certificate",
            "put in the certificate as it was issued",
        )
    })?;
    if certificate.version() == X509Version::V1 {
        return Err(tls::invalid_admin_certificate(
            "it is of X.509 version 1, which the driver for MongoDB does not take",
            "issue it as version 3: printf 'extendedKeyUsage=clientAuth\\n' | openssl x509 -req -in admin.csr -CA root.crt -CAkey root.key -CAcreateserial -days 365 -extfile /dev/stdin -out tls.crt",
        ));
    }
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
    Err(tls::invalid_admin_certificate(format!("it is made out to {subject}"), remedy))
}

fn ca(config: &Config) -> Result<String, Error> {
    let trusted = match &config.tls.ca_pem {
        Some(text) => tls::roots(text)?.1,
        // The driver by itself would trust a list that it brings along, not what this machine trusts.
        None => tls::system_roots()?,
    };
    Ok(pem::encode_certificates(&trusted))
}
