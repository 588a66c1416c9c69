//! Handshakes beside the driver: to see whether a server takes the client certificates of a CA, or what it shows
//! itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rolecall_engine::Error;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{ClientCertificate, Identity};

/// A certificate that is shown to a server, and whether the server asked for one.
#[derive(Debug)]
pub struct Shown {
    certified: Arc<CertifiedKey>,
    chain: Vec<CertificateDer<'static>>,
    asked: AtomicBool,
}

impl Shown {
    /// # Errors
    ///
    /// `Invalid` where certificate and key are none, or none of each other.
    pub fn new(certificate: &ClientCertificate) -> Result<Self, Error> {
        let provider = aws_lc_rs::default_provider();
        let identity = Identity::new(&certificate.cert_pem, &certificate.key_pem, &provider)?;
        Ok(Self { certified: identity.certified, chain: identity.chain, asked: AtomicBool::new(false) })
    }

    /// Did a server ask for it?
    pub fn was_asked_for(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// The certificate, and what is sent with it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        Some(Arc::clone(&self.certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The handshake, on a connection where it is due.
pub async fn dial(stream: TcpStream, name: &str, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// What TLS itself said, of an error of a stream.
pub fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
}

/// The alert by which a server refuses a client's certificate. With TLS 1.3 it comes after the handshake.
pub fn refused_as_a_client(error: &io::Error) -> Option<AlertDescription> {
    let Some(rustls::Error::AlertReceived(alert)) = tls_error(error) else { return None };
    let of_certificates = matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    );
    of_certificates.then_some(*alert)
}
