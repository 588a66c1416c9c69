//! How a server's certificate is verified.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::{CertificateError, DigitallySignedStruct, PeerMisbehaved, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::facts;

/// Verifies the chain by webpki; beyond that a certificate that is itself among those trusted, as libpq does.
///
/// Such a certificate proves who the server is by its key alone. webpki checks its form anyway, and refuses
/// version 1 and CA:TRUE, which is what PostgreSQL's own manual leads to.
#[derive(Debug)]
pub struct Verifier {
    chain: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    /// The certificates that the configuration names; `None`: those of the system.
    trusted: Option<Vec<CertificateDer<'static>>>,
    any_name: bool,
    /// What the last server showed that was not accepted.
    refused: Mutex<Vec<CertificateDer<'static>>>,
}

impl Verifier {
    pub(super) fn new(
        provider: Arc<CryptoProvider>,
        roots: RootCertStore,
        trusted: Option<Vec<CertificateDer<'static>>>,
        any_name: bool,
    ) -> Result<Self, rustls::client::VerifierBuilderError> {
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        Ok(Self { chain: chain.build()?, provider, trusted, any_name, refused: Mutex::default() })
    }

    /// What the last server showed that was not accepted: its certificate first.
    pub fn refused(&self) -> Vec<CertificateDer<'static>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The certificates that the configuration names; `None`: those of the system.
    pub fn trusted(&self) -> Option<&[CertificateDer<'static>]> {
        self.trusted.as_deref()
    }

    fn is_trusted_itself(&self, certificate: &CertificateDer<'_>) -> bool {
        self.trusted.iter().flatten().any(|trusted| trusted.as_ref() == certificate.as_ref())
    }

    /// What remains to be checked of a certificate that is trusted itself.
    fn verify_itself(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
        facts::validity_fault(&parsed, now).map_or(Ok(()), Err)?;
        if let Ok(Some(usage)) = parsed.extended_key_usage()
            && !(usage.value.server_auth || usage.value.any)
        {
            return Err(CertificateError::InvalidPurpose);
        }
        if self.any_name {
            return Ok(());
        }
        match webpki::EndEntityCert::try_from(certificate) {
            Ok(leaf) if has_names(&parsed) => leaf
                .verify_is_valid_for_subject_name(name)
                .map_err(|_| not_for(name, facts::names(&parsed).collect())),
            // Of version 1, or without alternative names: libpq checks the common name.
            _ => {
                let common: Vec<String> = facts::common_names(&parsed).collect();
                let host = name.to_str();
                match common.iter().any(|common| is_name_of(common, &host)) {
                    true => Ok(()),
                    false => Err(not_for(name, common)),
                }
            }
        }
    }
}

fn has_names(certificate: &X509Certificate<'_>) -> bool {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| {
        let of_hosts =
            |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_));
        names.value.general_names.iter().any(of_hosts)
    })
}

/// Does a common name match this host? The first label may be an asterisk.
fn is_name_of(common: &str, host: &str) -> bool {
    let below = common.strip_prefix("*.").zip(host.split_once('.'));
    let is_below = |(domain, (label, rest)): (&str, (&str, &str))| {
        domain.contains('.') && !label.is_empty() && domain.eq_ignore_ascii_case(rest)
    };
    common.eq_ignore_ascii_case(host) || below.is_some_and(is_below)
}

fn not_for(name: &ServerName<'_>, presented: Vec<String>) -> CertificateError {
    CertificateError::NotValidForNameContext { expected: name.to_owned(), presented }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let error = match verified {
            Ok(verified) => return Ok(verified),
            // The name is checked last, so a certificate that fails by it has passed everything else.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => return Ok(ServerCertVerified::assertion()),
            Err(error) => error,
        };
        let error = if self.is_trusted_itself(end_entity) {
            match self.verify_itself(end_entity, server_name, now) {
                Ok(()) => return Ok(ServerCertVerified::assertion()),
                Err(error) => error.into(),
            }
        } else {
            error
        };
        let shown = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned());
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = shown.collect();
        Err(error)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.is_trusted_itself(cert) {
            return self.chain.verify_tls12_signature(message, cert, signature);
        }
        verify_tls12(&self.provider, message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.is_trusted_itself(cert) {
            return self.chain.verify_tls13_signature(message, cert, signature);
        }
        verify_tls13(&self.provider, message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Was a handshake of TLS 1.2 signed with the key of this certificate, whatever its form?
pub(super) fn verify_tls12(
    provider: &CryptoProvider,
    message: &[u8],
    cert: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let spki = public_key(cert)?;
    let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| CertificateError::BadEncoding)?;
    let supported = &provider.signature_verification_algorithms;
    let algorithms = supported.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
    let (_, algorithms) = algorithms.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    match algorithms.iter().any(|one| key.verify_signature(*one, message, signature.signature()).is_ok()) {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(CertificateError::BadSignature.into()),
    }
}

/// The same for TLS 1.3.
pub(super) fn verify_tls13(
    provider: &CryptoProvider,
    message: &[u8],
    cert: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let supported = &provider.signature_verification_algorithms;
    verify_tls13_signature_with_raw_key(message, &public_key(cert)?, signature, supported)
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, rustls::Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(parsed.public_key().raw.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_matches_its_host_or_the_hosts_below() {
        for (common, host, is) in [
            ("db.shop.svc", "DB.shop.svc", true),
            ("*.shop.svc", "db.shop.svc", true),
            ("*.shop.svc", "shop.svc", false),
            ("*.shop.svc", "a.b.shop.svc", false),
            ("*.svc", "db.svc", false),
            ("*", "db", false),
            ("127.0.0.1", "127.0.0.1", true),
        ] {
            assert_eq!(is_name_of(common, host), is, "{common} {host}");
        }
    }
}
