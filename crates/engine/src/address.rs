//! `host:port`, as `spec.uri` writes it.

use crate::{Class, Error, Reason};

/// Parses `host:port`: `orders-db.shop.svc:5432`, `10.0.0.1:5432`, `[::1]:5432`.
///
/// # Errors
///
/// `Invalid` when the text is no address that a server could have.
pub fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), Error> {
    let invalid = |why: &str| Error {
        class: Class::Invalid,
        reason: Reason::DatabaseUnreachable,
        // What stands before an @ may be a password.
        attempted: if text.contains('@') {
            "reading the address".to_owned()
        } else {
            format!("reading the address {text:?}")
        },
        code: String::new(),
        detail: why.to_owned(),
        remedy: "write host:port, an IPv6 address in brackets ([::1]:5432), and no scheme".to_owned(),
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| invalid("the bracket is not closed"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(invalid("what is in brackets is no IPv6 address"));
            }
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(invalid("something other than a port follows the bracket")),
            };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(invalid("it has no host"));
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@?#%\\".contains(c)) {
        return Err(invalid("the host has a character that no host name has"));
    }
    let port = match port {
        None => default_port,
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => number,
            _ => return Err(invalid("the port is no number from 1 to 65535")),
        },
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        for text in ["postgres://admin:hidden@db:5432", "admin:hidden@db", "[::1]admin:hidden@db"] {
            let error = host_and_port(text, 5432).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (text, host, port) in [
            ("orders-db.shop.svc:5432", "orders-db.shop.svc", 5432),
            ("10.0.0.1:6432", "10.0.0.1", 6432),
            ("db", "db", 5432),
            ("[::1]:5433", "::1", 5433),
            ("[fe80::1]", "fe80::1", 5432),
        ] {
            assert_eq!(host_and_port(text, 5432).unwrap(), (host.to_owned(), port), "{text}");
        }
        for text in [
            "",
            ":5432",
            "db:",
            "db:0",
            "db:65536",
            "db:+1",
            "::1",
            "[::1",
            "[db]:1",
            "[::1]5432",
            "a b:1",
            "p://db:1",
        ] {
            let error = host_and_port(text, 5432).unwrap_err();
            assert_eq!(error.class, Class::Invalid, "{text}");
        }
    }
}
