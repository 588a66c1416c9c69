//! The canonical form of a request's parts.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Refused;

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same in a path, which keeps its slashes.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// The path. It is sent encoded and encoded once more, as every service but S3 wants it.
pub(super) fn path(raw: &str) -> String {
    if raw.is_empty() { "/".to_owned() } else { utf8_percent_encode(raw, RESERVED_IN_PATH).to_string() }
}

/// The parameters of a query string, decoded.
///
/// # Errors
/// Where a character stands unescaped that has a meaning there: `+` is a blank to some and a plus to others.
pub(super) fn pairs(query: &str) -> Result<Vec<(String, String)>, Refused> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// The one parameter with this name.
///
/// # Errors
/// When it is there more than once.
pub(super) fn parameter(pairs: &[(String, String)], name: &str) -> Result<Option<String>, Refused> {
    one(pairs.iter().filter(|(found, _)| found == name).map(|(_, value)| value.clone()), name)
}

/// The canonical query string: encoded, sorted by name and value.
pub(super) fn query(pairs: &[(String, String)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
    let mut parts: Vec<_> = pairs.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    parts.sort();
    let parts: Vec<_> = parts.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parts.join("&")
}

/// The one header with this name, whose case does not matter.
///
/// # Errors
/// When it is there more than once.
pub(super) fn header(headers: &[(String, String)], name: &str) -> Result<Option<String>, Refused> {
    let found = headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
    one(found.map(|(_, value)| value.trim().to_owned()), name)
}

/// The canonical headers, a line each, and an empty line.
///
/// # Errors
/// When a header that was signed is not there.
pub(super) fn headers(headers: &[(String, String)], signed: &[String]) -> Result<String, Refused> {
    let mut text = String::new();
    for name in signed {
        let values: Vec<String> = headers
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        if values.is_empty() {
            return Err(Refused::Missing("a header that was signed"));
        }
        text.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    Ok(text)
}

fn one(mut values: impl Iterator<Item = String>, name: &str) -> Result<Option<String>, Refused> {
    let first = values.next();
    if values.next().is_some() {
        return Err(Refused::Repeated(name.to_owned()));
    }
    Ok(first)
}

fn decode(text: &str) -> Result<String, Refused> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let escaped = byte == b'%'
            && [bytes.next(), bytes.next()].iter().all(|digit| digit.is_some_and(|d| d.is_ascii_hexdigit()));
        if !escaped && !byte.is_ascii_alphanumeric() && !b"-_.~".contains(&byte) {
            return Err(Refused::NotEncoded(text.to_owned()));
        }
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| Refused::NotEncoded(text.to_owned()))
}
