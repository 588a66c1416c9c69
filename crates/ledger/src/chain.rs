//! Lines, each with its number, the hash of the line before, and its own.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::canonical::{canonical, canonical_without};
use crate::entry::Entry;

/// The version of the format, in the field `ledger` of each line.
pub const FORMAT: u64 = 1;
/// How lines are hashed without a key, as `start` says it.
pub const SHA_256: &str = "SHA-256";
/// How lines are hashed with a key.
pub const HMAC_SHA_256: &str = "HMAC-SHA-256";

/// A key that lines are sealed with: without it nobody makes a line that fits.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// A key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of the audit log has at least {} bytes", Key::SHORTEST)]
pub struct ShortKey;

impl Key {
    /// The fewest bytes that a key may have.
    pub const SHORTEST: usize = 16;

    /// From the content of a file. A line break at its end is not part of it.
    ///
    /// # Errors
    ///
    /// When it is too short to be one.
    pub fn new(content: &[u8]) -> Result<Self, ShortKey> {
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        if content.len() < Self::SHORTEST {
            return Err(ShortKey);
        }
        Hmac::new_from_slice(content).map(Self).map_err(|_| ShortKey)
    }
}

/// How the lines of a chain are hashed.
pub(crate) fn algorithm(key: Option<&Key>) -> &'static str {
    if key.is_some() { HMAC_SHA_256 } else { SHA_256 }
}

/// The hash of a line, from its other fields.
pub(crate) fn hash(line: &Map<String, Value>, key: Option<&Key>) -> String {
    digest(&canonical_without(line, "hash"), key)
}

fn digest(text: &str, key: Option<&Key>) -> String {
    match key {
        Some(Key(mac)) => hex(&mac.clone().chain_update(text).finalize().into_bytes()),
        None => hex(&Sha256::digest(text)),
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A line by its place and content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// Its chain.
    pub chain: String,
    /// Its number in the chain, from 1.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.chain, self.seq, self.hash)
    }
}

/// A text names no line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no line of an audit log: CHAIN:NUMBER:HASH")]
pub struct NoHead(String);

impl FromStr for Head {
    type Err = NoHead;

    fn from_str(text: &str) -> Result<Self, NoHead> {
        let read = || {
            let mut parts = text.split(':');
            let (chain, seq, hash) = (parts.next()?, parts.next()?, parts.next()?);
            let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            let whole = !chain.is_empty() && is_hash && parts.next().is_none();
            let seq = seq.parse().ok()?;
            whole.then(|| Self { chain: chain.to_owned(), seq, hash: hash.to_owned() })
        };
        read().ok_or_else(|| NoHead(text.to_owned()))
    }
}

/// The lines of one writer, from its start to its end. It is advanced by [`Chain::accept`], once a line is safe.
#[derive(Clone, Debug)]
pub struct Chain {
    id: String,
    key: Option<Key>,
    seq: u64,
    previous: String,
}

/// A line that is not written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The line, without a line break.
    pub text: String,
    /// What it is called.
    pub head: Head,
}

impl Chain {
    /// One without a line. `id` is used once in the world.
    pub fn new(id: impl Into<String>, key: Option<Key>) -> Self {
        Self { id: id.into(), key, seq: 0, previous: String::new() }
    }

    /// How its lines are hashed, as `start` says it.
    pub fn algorithm(&self) -> &'static str {
        algorithm(self.key.as_ref())
    }

    /// Has it a line?
    pub fn has_begun(&self) -> bool {
        self.seq > 0
    }

    /// The next line.
    ///
    /// # Errors
    ///
    /// None, in truth: an entry has only texts, lists of texts and integers.
    pub fn seal(&self, entry: &Entry, time: Timestamp) -> serde_json::Result<Sealed> {
        let Value::Object(mut line) = serde_json::to_value(entry)? else {
            return Err(serde::ser::Error::custom("an entry is an object"));
        };
        let seq = self.seq + 1;
        line.insert("ledger".to_owned(), FORMAT.into());
        line.insert("chain".to_owned(), self.id.as_str().into());
        line.insert("seq".to_owned(), seq.into());
        line.insert("time".to_owned(), time.to_string().into());
        line.insert("previous".to_owned(), self.previous.as_str().into());
        let hash = hash(&line, self.key.as_ref());
        line.insert("hash".to_owned(), hash.as_str().into());
        Ok(Sealed { text: canonical(&line), head: Head { chain: self.id.clone(), seq, hash } })
    }

    /// The line was written.
    pub fn accept(&mut self, head: &Head) {
        self.seq = head.seq;
        self.previous.clone_from(&head.hash);
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Chains for tests.

    use super::*;
    use crate::entry::Event;

    /// A chain of that many lines, one a second; the first says that it begins, after `published`.
    pub(crate) fn chain(id: &str, lines: u64, key: Option<&Key>, published: Option<&Head>) -> Vec<String> {
        let mut chain = Chain::new(id, key.cloned());
        let mut texts = Vec::new();
        for number in 0..lines {
            let mut entry = Entry::new(if number == 0 { Event::Start } else { Event::Active });
            if number == 0 {
                entry.algorithm = chain.algorithm().to_owned();
                entry.published = published.map(Head::to_string).unwrap_or_default();
            } else {
                (entry.session, entry.uid) = (format!("s{number}"), format!("uid-{number}"));
                entry.why = "INC-1 \"quoted\"\nand ünicode".to_owned();
            }
            let at = Timestamp::from_second(1_700_000_000 + i64::try_from(number).unwrap()).unwrap();
            let sealed = chain.seal(&entry, at).unwrap();
            chain.accept(&sealed.head);
            texts.push(sealed.text);
        }
        texts
    }

    /// The name of a line.
    pub(crate) fn head(line: &str) -> Head {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        Head { chain: text("chain"), seq: line["seq"].as_u64().unwrap(), hash: text("hash") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Event;

    #[test]
    fn a_line_names_the_one_before_and_is_one_line() {
        let lines = samples::chain("c", 3, None, None);
        let parsed: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(parsed[0]["previous"], "");
        assert_eq!(parsed[1]["previous"], parsed[0]["hash"]);
        assert_eq!(parsed[2]["previous"], parsed[1]["hash"]);
        assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
    }

    #[test]
    fn the_hash_is_one_that_anybody_can_compute() {
        let chain = Chain::new("c", None);
        let sealed = chain.seal(&Entry::new(Event::Stop), Timestamp::UNIX_EPOCH).unwrap();
        let without =
            r#"{"chain":"c","event":"stop","ledger":1,"previous":"","seq":1,"time":"1970-01-01T00:00:00Z"}"#;
        assert_eq!(sealed.head.hash, hex(&Sha256::digest(without)));
        let hash = format!(r#","hash":"{}","ledger""#, sealed.head.hash);
        assert_eq!(sealed.text, without.replace(r#","ledger""#, &hash));
    }

    #[test]
    fn a_line_that_was_not_written_is_not_followed() {
        let mut chain = Chain::new("c", None);
        let at = Timestamp::UNIX_EPOCH;
        let first = chain.seal(&Entry::new(Event::Start), at).unwrap();
        assert_eq!(
            chain.seal(&Entry::new(Event::Stop), at).unwrap().head.seq,
            1,
            "the first was not accepted"
        );
        chain.accept(&first.head);
        assert_eq!(chain.seal(&Entry::new(Event::Stop), at).unwrap().head.seq, 2);
    }

    #[test]
    fn a_name_of_a_line_is_read_as_it_is_written() {
        let head = samples::head(&samples::chain("c", 1, None, None)[0]);
        assert_eq!(head.to_string().parse(), Ok(head));
        for wrong in ["", "c", "c:1", "c:x:00", "c:1:00", ":1:"] {
            assert!(wrong.parse::<Head>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_of_a_file_ends_before_its_line_break_and_is_long_enough() {
        let seal = |content: &[u8]| {
            let chain = Chain::new("c", Some(Key::new(content).unwrap()));
            chain.seal(&Entry::new(Event::Stop), Timestamp::UNIX_EPOCH).unwrap().head.hash
        };
        assert_eq!(seal(b"0123456789abcdef"), seal(b"0123456789abcdef\n"));
        assert_ne!(seal(b"0123456789abcdef"), seal(b"0123456789abcdeg"));
        assert_eq!(Key::new(b"short\n").unwrap_err(), ShortKey);
    }
}
