//! Does the server take client certificates of the CA for users?
//!
//! That shows in the TLS handshake, before anybody logs in: nothing is asked of the server beyond it, so that no user
//! needs to exist and nothing is logged there.

use std::io;

use rolecall_engine::{Class, Error, Finding, Reason};
use rolecall_pki::tls::{self, ClientCertificate, ClientFacts, Shown, TlsMode, Whose, alert_name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Postgres;
use crate::transport::config::Config;
use crate::transport::tls::{request_tls, trusting};

impl Postgres {
    /// Shows the server a certificate of the CA for users.
    pub(crate) async fn check_ca(&self, certificate: &ClientCertificate) -> Result<Option<Finding>, Error> {
        let config = self.server.config();
        if config.tls.mode == TlsMode::Disable {
            return Ok(None);
        }
        let shown = std::sync::Arc::new(Shown::new(certificate)?);
        let client = tls::client(&config.tls, Some(std::sync::Arc::clone(&shown) as _))?;
        let handshake = shake(config, client.config);
        let result = match tokio::time::timeout(config.connect_timeout, handshake).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let finding = |message: String| Ok(Some(Finding::new(Reason::ClientCaNotTrusted, "", message)));
        match result {
            Ok(()) if shown.was_asked_for() => Ok(None),
            Ok(()) => finding(
                "the server asks nobody for a client certificate, so users cannot log in with theirs: let ssl_ca_file name a file with the certificate of the CA for users, let pg_hba.conf ask for the method cert, and run SELECT pg_reload_conf()"
                    .to_owned(),
            ),
            Err(error) => match tls::refused_as_a_client(&error) {
                Some(alert) => {
                    let client = ClientFacts { whose: Whose::User, chain: shown.chain(), trust: trusting };
                    let fault = tls::refused_client(client, rustls_pki_types::UnixTime::now());
                    finding(format!(
                        "{} (TLS alert {}), so users cannot log in: {}",
                        fault.detail,
                        alert_name(alert),
                        fault.remedy
                    ))
                }
                None => Err(Error {
                    class: Class::Unreachable,
                    reason: Reason::DatabaseUnreachable,
                    attempted: format!("showing {} a certificate of the CA for users", config.address()),
                    code: String::new(),
                    detail: error.kind().to_string(),
                    remedy: String::new(),
                }),
            },
        }
    }
}

/// A handshake, and then an end in order. A server that takes the certificate has nothing to say to that.
async fn shake(config: &Config, client: rustls::ClientConfig) -> io::Result<()> {
    let mut stream = TcpStream::connect((config.host.as_str(), config.port)).await?;
    if !request_tls(&mut stream).await? {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let name = config.tls.server_name.as_ref().unwrap_or(&config.host);
    let mut stream = tls::dial(stream, name, client).await?;
    // A server that has refused it may be gone by now; its alert can still be read.
    let _ = stream.shutdown().await;
    match stream.read(&mut [0; 64]).await {
        // It closes without close_notify.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        result => result.map(drop),
    }
}
