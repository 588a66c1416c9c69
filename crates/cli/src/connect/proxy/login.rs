//! Logging in to a PostgreSQL or Redshift server in a client's place.

use anyhow::{Context, bail};
use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest message of a server during a login, in bytes.
const LONGEST: u32 = 1 << 20;

/// How a server answered a login.
#[derive(Debug)]
pub(super) struct Answer {
    /// What its client is told.
    pub(super) bytes: Vec<u8>,
    /// It is logged in.
    pub(super) accepted: bool,
}

/// Logs in. `startup`: the first message; `secret`: the password, where the certificate is not the proof. Nothing is
/// read beyond the end of the login.
///
/// # Errors
///
/// The connection breaks, or the server asks for what there is not.
pub(super) async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    server: &mut S,
    startup: &[u8],
    user: &str,
    secret: Option<&SecretString>,
) -> anyhow::Result<Answer> {
    server.write_all(startup).await.context("logging in")?;
    let mut told = Vec::new();
    let mut scram: Option<ScramSha256> = None;
    loop {
        server.flush().await.context("logging in")?;
        let raw = message(server).await.context("logging in")?;
        let mut out = BytesMut::new();
        let secret = || {
            let secret = secret.map(|secret| secret.expose_secret().as_bytes());
            secret.context(
                "the server asks for a password, while the session's user logs in with its certificate; let whoever \
                 administers it look at pg_hba.conf",
            )
        };
        // What is no part of a login (the version of the protocol, a notice) is for the client.
        let parsed = match raw.first() {
            Some(b'R' | b'E') => Message::parse(&mut BytesMut::from(&raw[..])).context("logging in")?,
            _ => None,
        };
        match parsed {
            None => {
                told.extend(raw);
                continue;
            }
            Some(Message::AuthenticationOk) => {
                told.extend(raw);
                return Ok(Answer { bytes: told, accepted: true });
            }
            Some(Message::ErrorResponse(_)) => return Ok(Answer { bytes: raw, accepted: false }),
            Some(Message::AuthenticationCleartextPassword) => {
                frontend::password_message(secret()?, &mut out)?
            }
            Some(Message::AuthenticationMd5Password(body)) => {
                let hash = md5_hash(user.as_bytes(), secret()?, body.salt());
                frontend::password_message(hash.as_bytes(), &mut out)?;
            }
            Some(Message::AuthenticationSasl(_)) => {
                // Names, each ended by a zero.
                let offered = raw.get(9..).unwrap_or_default().split(|byte| *byte == 0);
                if !{ offered }.any(|name| name == SCRAM_SHA_256.as_bytes()) {
                    bail!("logging in: the server asks for a way to log in that is not known here");
                }
                let begun = ScramSha256::new(secret()?, ChannelBinding::unsupported());
                frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut out)?;
                scram = Some(begun);
            }
            Some(Message::AuthenticationSaslContinue(body)) => {
                let begun = scram.as_mut().context("logging in: the server answers what was not said")?;
                begun.update(body.data()).context("logging in")?;
                frontend::sasl_response(begun.message(), &mut out)?;
            }
            Some(Message::AuthenticationSaslFinal(body)) => {
                let begun = scram.as_mut().context("logging in: the server answers what was not said")?;
                begun.finish(body.data()).context("logging in")?;
                continue;
            }
            Some(_) => bail!("logging in: the server asks for a way to log in that is not known here"),
        }
        server.write_all(&out).await.context("logging in")?;
    }
}

async fn message<S: AsyncRead + Unpin>(server: &mut S) -> anyhow::Result<Vec<u8>> {
    let kind = server.read_u8().await?;
    let length = server.read_u32().await?;
    if !(4..=LONGEST).contains(&length) {
        bail!("the server does not speak PostgreSQL's protocol");
    }
    let mut raw = vec![0; length as usize + 1];
    raw[0] = kind;
    raw[1..5].copy_from_slice(&length.to_be_bytes());
    server.read_exact(&mut raw[5..]).await?;
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each message with the next of these.
    async fn against(answers: &[&[u8]], secret: Option<&str>) -> (anyhow::Result<Answer>, Vec<u8>) {
        let (mut here, mut there) = tokio::io::duplex(1 << 16);
        for answer in answers {
            there.write_all(answer).await.expect("there is room");
        }
        let secret = secret.map(|secret| SecretString::from(secret.to_owned()));
        let answer = log_in(&mut here, b"startup", "alice", secret.as_ref()).await;
        drop(here);
        let mut said = Vec::new();
        there.read_to_end(&mut said).await.expect("it ends");
        (answer, said)
    }

    const OK: &[u8] = &[b'R', 0, 0, 0, 8, 0, 0, 0, 0];

    #[tokio::test]
    async fn a_certificate_needs_no_answer_and_a_token_is_sent_as_it_is() {
        let notice = [&[b'N', 0, 0, 0, 5][..], &[0]].concat();
        let (answer, said) = against(&[&notice, OK], None).await;
        let answer = answer.expect("it is logged in");
        assert!(answer.accepted && answer.bytes == [&notice[..], OK].concat());
        assert_eq!(said, b"startup");

        let (answer, said) = against(&[&[b'R', 0, 0, 0, 8, 0, 0, 0, 3], OK], Some("token")).await;
        assert!(answer.expect("it is logged in").accepted);
        assert_eq!(said, b"startupp\0\0\0\ntoken\0");
    }

    #[tokio::test]
    async fn an_md5_password_is_sent_as_the_server_asks_for_it() {
        let salted = [b'R', 0, 0, 0, 12, 0, 0, 0, 5, 1, 2, 3, 4];
        let (answer, said) = against(&[&salted, OK], Some("secret")).await;
        assert!(answer.expect("it is logged in").accepted);
        let hash = md5_hash(b"alice", b"secret", [1, 2, 3, 4]);
        assert_eq!(said, [b"startupp\0\0\0(", hash.as_bytes(), b"\0"].concat());
    }

    #[tokio::test]
    async fn a_refusal_goes_to_the_client_and_a_password_that_there_is_not_is_said() {
        let refusal = b"E\0\0\0\x0bMno\0\0\0\0";
        let refusal = &refusal[..12];
        let (answer, _) = against(&[refusal], None).await;
        let answer = answer.expect("the server answered");
        assert!(!answer.accepted && answer.bytes == refusal);
        let (answer, _) = against(&[&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]], None).await;
        let error = answer.expect_err("there is none").to_string();
        assert!(error.contains("asks for a password") && error.contains("pg_hba.conf"), "{error}");
    }
}
