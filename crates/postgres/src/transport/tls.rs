//! TLS to the server: the admin user's client, and what is wrong where it does not get through.

use std::io;

use rolecall_engine::Error;
use rolecall_pki::pem::Fault;
use rolecall_pki::tls::{self, ClientFacts, Identity, ServerFacts, TlsClient, TlsMode, Whose};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::transport::config::{Auth, Config};

/// The TLS side of a configuration.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) client: TlsClient,
    /// The admin user's certificate, where it has one.
    chain: Vec<CertificateDer<'static>>,
}

impl Tls {
    /// `None` where TLS is disabled.
    ///
    /// # Errors
    ///
    /// `Invalid`, naming the part that cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>, Error> {
        let identity = match &config.auth {
            Auth::X509 { .. } if config.tls.mode == TlsMode::Disable => {
                return Err(tls::unusable("tls.mode", "a client certificate needs TLS, and TLS is disabled"));
            }
            Auth::X509 { cert_pem, key_pem } => {
                Some(Identity::new(cert_pem, key_pem, &aws_lc_rs::default_provider())?)
            }
            Auth::Login(_) if config.tls.mode == TlsMode::Disable => {
                return Err(tls::unusable(
                    "tls.mode",
                    "a token is sent as it is and needs TLS, and TLS is disabled",
                ));
            }
            Auth::Password(_) | Auth::Login(_) => None,
        };
        if config.tls.mode == TlsMode::Disable {
            return Ok(None);
        }
        let client = tls::client(&config.tls, identity.as_ref().map(tls::always))?;
        Ok(Some(Self { client, chain: identity.map(|identity| identity.chain).unwrap_or_default() }))
    }

    /// Why a handshake failed.
    pub(crate) fn fault(&self, config: &Config, error: &rustls::Error) -> Fault {
        let chain = self.client.verifier.refused();
        let server = ServerFacts {
            host: config.tls.server_name.as_ref().unwrap_or(&config.host),
            chain: &chain,
            trusted: self.client.verifier.trusted(),
            trusts_leaves: true,
            name_remedy: "set tls.serverName to a name that it has, or tls.mode: VerifyCa",
        };
        let client = ClientFacts { whose: Whose::Admin, chain: &self.chain, trust: trusting };
        let client = (!self.chain.is_empty()).then_some(client);
        tls::handshake(error, server, client, UnixTime::now())
    }
}

/// The request for TLS: its length, and the number that means it.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Asks the server at the other end of a new connection for TLS, which it answers before anybody has to log in. False:
/// it has none to offer. Redshift answers it, too.
///
/// # Errors
///
/// What the network answers; `InvalidData` where it is another kind of server.
pub async fn request_tls(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(&SSL_REQUEST).await?;
    match stream.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "what answers is no PostgreSQL server")),
    }
}

/// How the server comes to take client certificates of a CA.
pub(crate) fn trusting(ca: &str) -> String {
    format!(
        "it must be signed by a CA of the server's ssl_ca_file: append the certificate of {ca} to that file (and a CRL of it to ssl_crl_file, where that is set), then run SELECT pg_reload_conf()"
    )
}
