//! TLS to the server: what is verified, and the client certificate.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use secrecy::{ExposeSecret, SecretString};

use super::config::{Auth, Config, TlsMode};
use crate::{Class, Error, Reason};

/// The TLS side of a configuration; `None` where TLS is disabled.
///
/// # Errors
///
/// `Invalid`, naming the part that cannot be used.
pub(super) fn client_config(config: &Config) -> Result<Option<ClientConfig>, Error> {
    if config.tls.mode == TlsMode::Disable {
        return match config.auth {
            Auth::X509 { .. } => {
                Err(unusable("tls.mode", "a client certificate needs TLS, and TLS is disabled"))
            }
            Auth::Password(_) => Ok(None),
        };
    }
    if let Some(name) = &config.tls.server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        return Err(unusable("tls.serverName", format!("{name:?} is neither a DNS name nor an IP address")));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(roots(config)?);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("tls", error.to_string()))?;
    let builder = match config.tls.mode {
        TlsMode::VerifyCa => {
            let chain = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| invalid("the CA of the server", error.to_string()))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName(chain)))
        }
        TlsMode::VerifyFull | TlsMode::Disable => builder.with_root_certificates(roots),
    };
    match &config.auth {
        Auth::X509 { cert_pem, key_pem } => with_client_cert(builder, cert_pem, key_pem).map(Some),
        Auth::Password(_) => Ok(Some(builder.with_no_client_auth())),
    }
}

fn roots(config: &Config) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    match &config.tls.ca_pem {
        Some(pem) => {
            for der in certificates("the CA of the server", pem)? {
                roots.add(der).map_err(|error| {
                    invalid("the CA of the server", format!("it is no CA certificate: {error}"))
                })?;
            }
        }
        None => {
            // Single entries that cannot be parsed are no reason to trust none.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(invalid(
                    "the CA of the server",
                    "none is given, and the system has no root certificates",
                ));
            }
        }
    }
    Ok(roots)
}

fn with_client_cert(
    builder: rustls::ConfigBuilder<ClientConfig, WantsClientCert>,
    cert_pem: &str,
    key_pem: &SecretString,
) -> Result<ClientConfig, Error> {
    let chain = certificates("the admin user's certificate", cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.expose_secret().as_bytes())
        .map_err(|_| invalid("the admin user's private key", "it is no PEM of an unencrypted private key"))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            invalid("the admin user's private key", "it does not belong to the certificate")
        }
        other => invalid("the admin user's certificate and key", other.to_string()),
    })
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

/// A fault in the configuration itself.
fn unusable(field: &str, detail: impl Into<String>) -> Error {
    Error {
        class: Class::Invalid,
        reason: Reason::TlsFailed,
        attempted: format!("reading {field}"),
        code: String::new(),
        detail: detail.into(),
        remedy: String::new(),
    }
}

/// Verifies the chain and lets any name pass, which is what `VerifyCa` means.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The name is looked at last, so whoever fails by it has passed everything else.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
