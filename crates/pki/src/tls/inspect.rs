//! What a server shows of itself to anybody: nobody logs in, and nothing is sent after the handshake.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rolecall_engine::Error;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::verifier::{verify_tls12, verify_tls13};
use super::{ServerFacts, Tls, dial, facts, handshake, tls_error};
use crate::pem::Fault;

/// What a server showed in a handshake.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its certificates, its own first; empty where it broke off before it showed them.
    pub chain: Vec<CertificateDer<'static>>,
    /// The version of TLS, as `TLSv1_3`; `None` where the handshake did not get through.
    pub version: Option<String>,
    /// It asked for a client certificate.
    pub asks_for_certificate: bool,
    /// What broke the handshake off. One that wants a client certificate does so after it has shown its own.
    pub broken_off: Option<Fault>,
}

/// A certificate, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateView {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// From when it is valid, as RFC 3339.
    pub not_before: String,
    /// Until when it is valid, as RFC 3339.
    pub not_after: String,
    /// The same as seconds since 1970.
    pub not_after_seconds: i64,
    /// The host names and addresses that it is made out to.
    pub names: Vec<String>,
}

/// Shakes hands on a connection where that is due, and hangs up. Whatever the server shows is taken: see [`verdict`].
///
/// # Errors
///
/// A name that is none, and what the network answers.
pub async fn inspect(stream: TcpStream, name: &str) -> io::Result<Inspection> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let seen = Arc::new(Seen { provider: Arc::clone(&provider), chain: Mutex::default() });
    let asked = Arc::new(Asked(AtomicBool::new(false)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as _)
        .with_client_cert_resolver(Arc::clone(&asked) as _);
    let result = dial(stream, name, config).await;
    let mut inspection = Inspection {
        chain: seen.chain.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        version: None,
        asks_for_certificate: asked.0.load(Ordering::Relaxed),
        broken_off: None,
    };
    match result {
        Ok(mut stream) => {
            inspection.version =
                stream.get_ref().1.protocol_version().and_then(|it| it.as_str().map(str::to_owned));
            // What it answers to the end does not matter.
            let _ = stream.shutdown().await;
        }
        Err(error) => match tls_error(&error) {
            Some(said) => inspection.broken_off = Some(broken(name, &inspection.chain, said)),
            None if inspection.chain.is_empty() => return Err(error),
            None => {
                inspection.broken_off =
                    Some(Fault::new("the server breaks off the TLS handshake", String::new()));
            }
        },
    }
    Ok(inspection)
}

fn broken(name: &str, chain: &[CertificateDer<'static>], said: &rustls::Error) -> Fault {
    let server = ServerFacts { host: name, chain, trusted: Some(&[]), trusts_leaves: false, name_remedy: "" };
    handshake(said, server, None, UnixTime::now())
}

/// Whether a chain is what a configuration trusts, at a moment. `None`: it is.
///
/// # Errors
///
/// `Invalid` when the configuration cannot be used.
pub fn verdict(
    tls: &Tls,
    host: &str,
    chain: &[CertificateDer<'static>],
    now: UnixTime,
) -> Result<Option<Fault>, Error> {
    let client = super::client(tls, None)?;
    let name = tls.server_name.as_deref().unwrap_or(host);
    let Some((leaf, rest)) = chain.split_first() else {
        return Ok(Some(Fault::new("the server shows no certificate", "")));
    };
    let Ok(server_name) = ServerName::try_from(name) else {
        return Ok(Some(Fault::new(format!("{name:?} is neither a DNS name nor an IP address"), "")));
    };
    let verified = client.verifier.verify_server_cert(leaf, rest, &server_name, &[], now);
    Ok(verified.err().map(|error| {
        let server = ServerFacts {
            host: name,
            chain,
            trusted: client.verifier.trusted(),
            trusts_leaves: true,
            name_remedy: "set tls.serverName to a name that it has, or tls.mode: VerifyCa",
        };
        handshake(&error, server, None, now)
    }))
}

/// A certificate, for people; `None` where it cannot be read.
pub fn view(certificate: &CertificateDer<'_>) -> Option<CertificateView> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let (not_before, not_after) = facts::validity(&parsed);
    Some(CertificateView {
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        not_before,
        not_after,
        not_after_seconds: parsed.validity().not_after.timestamp(),
        names: facts::names(&parsed).collect(),
    })
}

/// Takes every chain, and keeps it. That the server has the key is verified.
#[derive(Debug)]
struct Seen {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned());
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = shown.collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12(&self.provider, message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13(&self.provider, message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Shows no certificate, and keeps whether one was asked for.
#[derive(Debug)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    // Only one that has some is asked.
    fn has_certs(&self) -> bool {
        true
    }
}
