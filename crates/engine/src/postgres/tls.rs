//! TLS to the server: what is verified, and the client certificate.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::config::{Auth, Config};
use crate::Error;
use crate::tls::{self, TlsMode};

/// The TLS side of a configuration; `None` where TLS is disabled.
///
/// # Errors
///
/// `Invalid`, naming the part that cannot be used.
pub(super) fn client_config(config: &Config) -> Result<Option<ClientConfig>, Error> {
    if config.tls.mode == TlsMode::Disable {
        return match config.auth {
            Auth::X509 { .. } => {
                Err(tls::unusable("tls.mode", "a client certificate needs TLS, and TLS is disabled"))
            }
            Auth::Password(_) => Ok(None),
        };
    }
    if let Some(name) = &config.tls.server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        return Err(tls::unusable(
            "tls.serverName",
            format!("{name:?} is neither a DNS name nor an IP address"),
        ));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(roots(config)?);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| tls::unusable("tls", error.to_string()))?;
    let builder = match config.tls.mode {
        TlsMode::VerifyCa => {
            let chain = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| tls::invalid_ca(error.to_string()))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName(chain)))
        }
        TlsMode::VerifyFull | TlsMode::Disable => builder.with_root_certificates(roots),
    };
    match &config.auth {
        Auth::X509 { cert_pem, key_pem } => {
            let (chain, key) = tls::admin_identity(cert_pem, key_pem)?;
            builder.with_client_auth_cert(chain, key).map(Some).map_err(tls::pair_fault)
        }
        Auth::Password(_) => Ok(Some(builder.with_no_client_auth())),
    }
}

fn roots(config: &Config) -> Result<RootCertStore, Error> {
    if let Some(pem) = &config.tls.ca_pem {
        return tls::roots(pem);
    }
    let mut roots = RootCertStore::empty();
    // Single entries that cannot be parsed are no reason to trust none.
    roots.add_parsable_certificates(tls::system_roots()?);
    if roots.is_empty() {
        return Err(tls::invalid_ca("none is given, and none of the system's root certificates can be read"));
    }
    Ok(roots)
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
