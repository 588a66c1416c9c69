//! Handshakes beside the driver: does every member take client certificates of the CA for users, and why did the driver
//! not get through?

use std::io;
use std::sync::Arc;

use futures::future::join_all;
use mongodb::bson::doc;
use mongodb::options::ServerAddress;
use rolecall_engine::{Class, Error, Finding, Reason};
use rolecall_pki::tls::{self, ClientCertificate, ClientFacts, Shown, Whose, alert_name};
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Mongodb;
use crate::transport::failure::trusting;

/// The opcode of a message in the protocol that all supported versions speak.
const OP_MSG: i32 = 2013;

/// What a member makes of a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    NotAsked,
    /// By an alert, or without a word.
    Refused(Option<rustls::AlertDescription>),
}

impl Mongodb {
    /// Shows each member a certificate of the CA for users. None that is logged in with it is made.
    pub(crate) async fn check_ca(&self, certificate: &ClientCertificate) -> Result<Option<Finding>, Error> {
        let members = self.places().await?;
        let answers = join_all(members.iter().map(async |(host, port)| {
            let mut answer = self.ask(host, *port, certificate).await;
            if matches!(answer, Ok(Answer::Refused(None))) {
                // It may have been about to stop.
                answer = self.ask(host, *port, certificate).await;
            }
            (host, port, answer)
        }));
        let mut error = None;
        for (host, port, answer) in answers.await {
            let at = format!("{host}:{port}");
            match answer {
                Ok(Answer::Accepted) => {}
                Ok(Answer::NotAsked) => {
                    return Ok(Some(finding(format!(
                        "{at} asks nobody for a client certificate, so users cannot log in with theirs: let net.tls.CAFile name a file with the certificate of the CA for users, and restart it"
                    ))));
                }
                Ok(Answer::Refused(alert)) => {
                    let shown = Shown::new(certificate)?;
                    let client = ClientFacts { whose: Whose::User, chain: shown.chain(), trust: trusting };
                    let fault = tls::refused_client(client, UnixTime::now());
                    let how = alert.map_or_else(
                        || "closes the connection".to_owned(),
                        |alert| format!("answers with the TLS alert {}", alert_name(alert)),
                    );
                    return Ok(Some(finding(format!(
                        "{} ({at} {how}), so users cannot log in: {}",
                        fault.detail, fault.remedy
                    ))));
                }
                Err(why) => error = Some((at, why)),
            }
        }
        match error {
            // That it is away is reported elsewhere; the others accept it.
            Some((at, why)) if members.len() == 1 => Err(Error {
                class: Class::Unreachable,
                reason: Reason::DatabaseUnreachable,
                attempted: format!("showing {at} a certificate of the CA for users"),
                code: String::new(),
                detail: why.kind().to_string(),
                remedy: String::new(),
            }),
            _ => Ok(None),
        }
    }

    /// The members that can be dialled.
    async fn places(&self) -> Result<Vec<(String, u16)>, Error> {
        let members = self.server.hello().await?.members.unwrap_or_default();
        let places: Vec<(String, u16)> = members
            .into_iter()
            .filter_map(|member| match member {
                ServerAddress::Tcp { host, port } => Some((host, port.unwrap_or(27017))),
                _ => None,
            })
            .collect();
        let address = &self.server.config().address;
        if !places.is_empty() || address.is_srv() { Ok(places) } else { Ok(address.hosts().to_vec()) }
    }

    async fn ask(&self, host: &str, port: u16, certificate: &ClientCertificate) -> io::Result<Answer> {
        let config = self.server.config();
        let shown = Arc::new(Shown::new(certificate).map_err(io::Error::other)?);
        let client = tls::client(&config.tls, Some(Arc::clone(&shown) as _)).map_err(io::Error::other)?;
        let asking = async {
            let stream = TcpStream::connect((host, port)).await?;
            let mut stream = tls::dial(stream, host, client.config).await?;
            let _ = stream.write_all(&hello()?).await;
            stream.read_u8().await
        };
        let answer = tokio::time::timeout(config.connect_timeout, asking).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match answer {
            Ok(_) if shown.was_asked_for() => Ok(Answer::Accepted),
            Ok(_) => Ok(Answer::NotAsked),
            Err(error) => match (tls::refused_as_a_client(&error), error.kind()) {
                (Some(alert), _) => Ok(Answer::Refused(Some(alert))),
                (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
                    if shown.was_asked_for() =>
                {
                    Ok(Answer::Refused(None))
                }
                _ => Err(error),
            },
        }
    }

    /// The driver says that a handshake failed, but not what the server showed: that is read here.
    pub(crate) async fn explain(&self, error: Error) -> Error {
        if error.reason != Reason::TlsFailed || error.class != Class::Unreachable {
            return error;
        }
        let config = self.server.config();
        for (host, port) in config.address.hosts().iter().filter(|_| !config.address.is_srv()) {
            let Ok(client) = tls::client(&config.tls, None) else { return error };
            let dialling = async {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                tls::dial(stream, host, client.config).await.map(drop)
            };
            let dialled = tokio::time::timeout(config.connect_timeout, dialling).await;
            if let Ok(Err(failed)) = dialled
                && let Some(said @ rustls::Error::InvalidCertificate(_)) = tls::tls_error(&failed)
            {
                let fault = self.server.failure_context().tls_fault(said, host, Some(&client.verifier));
                return Error { detail: fault.detail, remedy: fault.remedy, ..error };
            }
        }
        error
    }
}

fn finding(message: String) -> Finding {
    Finding::new(Reason::ClientCaNotTrusted, "", message)
}

/// A `hello`, which is answered before anybody logs in.
fn hello() -> io::Result<Vec<u8>> {
    let body = doc! { "hello": 1, "$db": "admin" }.to_vec().map_err(io::Error::other)?;
    // The header, the flags, and the kind of the only section.
    let length = i32::try_from(16 + 4 + 1 + body.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(body.len() + 21);
    for number in [length, 1, 0, OP_MSG, 0] {
        message.extend(number.to_le_bytes());
    }
    message.push(0);
    message.extend(body);
    Ok(message)
}
