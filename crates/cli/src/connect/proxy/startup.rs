//! What a PostgreSQL client says before it is logged in, and what it is answered.

use anyhow::{Context, bail};
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
/// The versions that begin with this are the third.
const MAJOR: u32 = 3;

/// Longest message of a client that is not logged in, in bytes; PostgreSQL's own limit.
const LONGEST: u32 = 10_000;

/// Asks a server whether it speaks TLS.
pub(super) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Asks a client for its password, as it is.
pub(super) const ASK_PASSWORD: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// To log in.
    Startup(Startup),
    /// To cancel the statement of another connection; the message as it was.
    Cancel(Vec<u8>),
}

/// The parameters of a login.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Startup {
    version: u32,
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Startup {
    /// The message for the server: with this user in place of the client's, and this database where it names none.
    pub(super) fn of(&self, user: &str, database: &str) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        let mut put = |name: &[u8], value: &[u8]| {
            for text in [name, value] {
                body.extend_from_slice(text);
                body.push(0);
            }
        };
        put(b"user", user.as_bytes());
        let named = |wanted: &[u8]| self.parameters.iter().find(|(name, _)| name == wanted);
        // A client that names none means one called like its user, which is another one here.
        let client = named(b"user").map(|(_, value)| value);
        match named(b"database") {
            Some((_, value)) if !value.is_empty() && Some(value) != client => put(b"database", value),
            _ => put(b"database", database.as_bytes()),
        }
        for (name, value) in &self.parameters {
            if name != b"user" && name != b"database" {
                put(name, value);
            }
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        [length.to_be_bytes().to_vec(), body].concat()
    }
}

/// Reads what a client wants. TLS and GSS it is refused: it is on this machine. `None`: it left.
///
/// # Errors
///
/// It speaks something else.
pub(super) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut S,
) -> anyhow::Result<Option<Request>> {
    loop {
        let Ok(length) = client.read_u32().await else { return Ok(None) };
        if !(8..=LONGEST).contains(&length) {
            bail!("it does not speak PostgreSQL's protocol");
        }
        let code = client.read_u32().await?;
        let mut body = vec![0; (length - 8) as usize];
        client.read_exact(&mut body).await?;
        match code {
            TLS | GSS => client.write_all(b"N").await?,
            CANCEL => {
                let head = [length.to_be_bytes(), code.to_be_bytes()].concat();
                return Ok(Some(Request::Cancel([head, body].concat())));
            }
            version if version >> 16 == MAJOR => {
                let parameters = parameters(&body).context("its parameters are cut off")?;
                return Ok(Some(Request::Startup(Startup { version, parameters })));
            }
            _ => bail!("it speaks a version of PostgreSQL's protocol that is not known here"),
        }
    }
}

fn parameters(body: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut texts = body.strip_suffix(&[0])?.split(|byte| *byte == 0);
    let mut parameters = Vec::new();
    while let Some(name) = texts.next().filter(|name| !name.is_empty()) {
        parameters.push((name.to_vec(), texts.next()?.to_vec()));
    }
    Some(parameters)
}

/// Reads the answer to [`ASK_PASSWORD`].
///
/// # Errors
///
/// It is none.
pub(super) async fn read_password<S: AsyncRead + Unpin>(client: &mut S) -> anyhow::Result<SecretString> {
    let kind = client.read_u8().await?;
    let length = client.read_u32().await?;
    if kind != b'p' || !(5..=LONGEST).contains(&length) {
        bail!("it answers something else");
    }
    let mut body = vec![0; (length - 4) as usize];
    client.read_exact(&mut body).await?;
    body.pop();
    Ok(String::from_utf8(body).context("it is no text")?.into())
}

/// An error that ends the login.
pub(super) fn refusal(code: &str, message: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, text) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', code), (b'M', message)] {
        body.push(field);
        body.extend(text.bytes().filter(|byte| *byte != 0));
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&b"E"[..], &length.to_be_bytes(), &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(code: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 8).expect("it is short");
        [&length.to_be_bytes(), &code.to_be_bytes(), body].concat()
    }

    async fn reads(bytes: &[u8]) -> (anyhow::Result<Option<Request>>, Vec<u8>) {
        let (mut here, mut there) = tokio::io::duplex(1 << 16);
        here.write_all(bytes).await.expect("there is room");
        here.shutdown().await.expect("it is open");
        let read = read(&mut there).await;
        drop(there);
        let mut answered = Vec::new();
        here.read_to_end(&mut answered).await.expect("it ends");
        (read, answered)
    }

    #[tokio::test]
    async fn the_user_is_replaced_and_everything_else_stays() {
        let startup = message(196_608, b"user\0me\0application_name\0DBeaver\0database\0horizon\0\0");
        let bytes = [message(GSS, b""), message(TLS, b""), startup].concat();
        let (read, answered) = reads(&bytes).await;
        assert_eq!(answered, b"NN");
        let Ok(Some(Request::Startup(startup))) = read else { panic!("{read:?}") };
        assert_eq!(
            startup.of("alice", "other"),
            message(196_608, b"user\0alice\0database\0horizon\0application_name\0DBeaver\0\0")
        );
    }

    #[tokio::test]
    async fn a_client_without_a_database_gets_that_of_the_session() {
        for body in [&b"user\0me\0\0"[..], b"user\0me\0database\0me\0\0"] {
            let (read, _) = reads(&message(196_610, body)).await;
            let Ok(Some(Request::Startup(startup))) = read else { panic!("{read:?}") };
            assert_eq!(
                startup.of("alice", "horizon"),
                message(196_610, b"user\0alice\0database\0horizon\0\0")
            );
        }
    }

    #[tokio::test]
    async fn a_cancellation_goes_through_as_it_is() {
        let bytes = message(CANCEL, &[0, 0, 0, 7, 1, 2, 3, 4]);
        assert_eq!(reads(&bytes).await.0.expect("it is read"), Some(Request::Cancel(bytes)));
    }

    #[tokio::test]
    async fn what_is_no_client_of_postgresql_is_refused() {
        assert_eq!(reads(b"").await.0.expect("it left"), None);
        for bytes in
            [&b"GET / HTTP/1.1\r\n\r\n"[..], &message(131_072, b"user\0a\0\0"), &message(196_608, b"user")]
        {
            assert!(reads(bytes).await.0.is_err(), "{bytes:?}");
        }
    }
}
