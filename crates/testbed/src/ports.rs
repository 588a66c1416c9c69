//! Free ports for servers that cannot be handed an open socket.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use crate::error::{Error, Result};

/// Below the range that Linux gives to outgoing connections, so that none of those takes the port between our check
/// and the server's bind.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A port that nobody listens on at this moment, on either loopback address.
///
/// Another process may take it before the server does, so callers try again with another one when the server says
/// that the address is in use.
///
/// # Errors
/// When no port of the range is free.
pub(crate) fn free() -> Result<u16> {
    for _ in 0..200 {
        let port = RANGE.start + random() % (RANGE.end - RANGE.start);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && free_on_ipv6(port) {
            return Ok(port);
        }
    }
    let source = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    Err(Error::Io { what: "looking for a free port".to_owned(), source })
}

/// A machine without IPv6 refuses every address, which must not make every port look taken.
fn free_on_ipv6(port: u16) -> bool {
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
    }
}

/// Different in every process and at every call; it need not be more.
fn random() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    let bits = RandomState::new().hash_one(std::process::id());
    // Only the low bits are kept, on purpose.
    (bits & 0xffff) as u16
}
