//! Messages of PostgreSQL's protocol, as far as a login has them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) const SSL_REQUEST: i32 = 80_877_103;
pub(super) const GSS_REQUEST: i32 = 80_877_104;
pub(super) const CANCEL_REQUEST: i32 = 80_877_102;
/// Longer than any token.
const LONGEST: usize = 64 * 1024;

/// The first message of a connection, which has no type.
pub(super) struct First {
    pub(super) code: i32,
    /// All of it, length included.
    pub(super) bytes: Vec<u8>,
}

impl First {
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let length = from.read_i32().await?;
        let rest = usize::try_from(length).ok().filter(|length| (8..=LONGEST).contains(length));
        let rest = rest.ok_or_else(|| malformed("the first message"))? - 4;
        let mut body = vec![0; rest];
        from.read_exact(&mut body).await?;
        let code = i32::from_be_bytes([body[0], body[1], body[2], body[3]]);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(body);
        Ok(Self { code, bytes })
    }

    /// A parameter of the startup message.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let mut texts = self.bytes.get(8..)?.split(|byte| *byte == 0);
        while let (Some(key), Some(value)) = (texts.next(), texts.next()) {
            if key == name.as_bytes() {
                return String::from_utf8(value.to_vec()).ok();
            }
        }
        None
    }
}

/// A message with a type.
pub(super) struct Typed {
    pub(super) kind: u8,
    pub(super) body: Vec<u8>,
}

impl Typed {
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let kind = from.read_u8().await?;
        let length = from.read_i32().await?;
        let length = usize::try_from(length).ok().filter(|length| (4..=LONGEST).contains(length));
        let mut body = vec![0; length.ok_or_else(|| malformed("a message"))? - 4];
        from.read_exact(&mut body).await?;
        Ok(Self { kind, body })
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        message(self.kind, &self.body)
    }

    /// Does the server let the client in without asking for anything?
    pub(super) fn is_authentication_ok(&self) -> bool {
        self.kind == b'R' && self.body == [0, 0, 0, 0]
    }
}

/// What asks for a password as it is.
pub(super) fn ask_for_password() -> Vec<u8> {
    message(b'R', &[0, 0, 0, 3])
}

/// What ends a login.
pub(super) fn refuse(text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, value) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', "28000"), (b'M', text)] {
        body.push(field);
        body.extend(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    message(b'E', &body)
}

pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is malformed"))
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    // No body is longer than LONGEST.
    let length = i32::try_from(body.len() + 4).unwrap_or(i32::MAX);
    let mut bytes = vec![kind];
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}
