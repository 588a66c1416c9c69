//! Verifies AWS Signature Version 4, independently of the crates that sign: it recomputes every step from the request
//! as it arrived. Requests are signed in their headers, RDS tokens are presigned URLs without a scheme.
//!
//! Stricter than AWS: what a query string should have escaped and did not is refused instead of guessed, and clocks
//! may be five minutes apart.

mod canonical;
mod keys;
#[cfg(test)]
mod tests;

use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

pub use keys::{Keyring, Keys};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the clocks of signer and verifier may be apart.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// The longest life of a presigned URL, in seconds.
const LONGEST: i64 = 7 * 24 * 3600;
/// The longest life of an RDS token, in seconds.
const LONGEST_TOKEN: i64 = 900;

/// What the verifier is and what it expects to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The service, as in `rds-db` or `redshift`.
    pub service: &'a str,
    /// The region.
    pub region: &'a str,
    /// The host that was addressed, with its port where it is not the scheme's own.
    pub host: &'a str,
    /// The verifier's clock.
    pub now: Timestamp,
}

/// A request as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as sent, escapes and all.
    pub path: &'a str,
    /// What follows the question mark, as sent. Empty where there is none.
    pub query: &'a str,
    /// The headers; names in any case.
    pub headers: &'a [(String, String)],
    /// The body.
    pub body: &'a [u8],
}

/// Why a signature was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A part that a signed request has is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A part is there more than once.
    #[error("{0} is there more than once")]
    Repeated(String),
    /// A part cannot be read.
    #[error("{what} cannot be read: {found}")]
    Malformed {
        /// The part.
        what: &'static str,
        /// What was there.
        found: String,
    },
    /// A character of the query string that must be escaped is not.
    #[error("the query string is not percent-encoded at {0}")]
    NotEncoded(String),
    /// Signed with an algorithm other than `AWS4-HMAC-SHA256`.
    #[error("signed with {0}")]
    Algorithm(String),
    /// Nobody has this key id.
    #[error("the access key {0} is unknown")]
    UnknownKey(String),
    /// The session token is not the one that belongs to the key, or one of both has none.
    #[error("the session token does not belong to the access key")]
    SessionToken,
    /// Signed for something else than what was addressed.
    #[error("signed for the {what} {found} and not for {expected}")]
    SignedForAnother {
        /// `region`, `service`, `host`, `date`, `action` or `user`.
        what: &'static str,
        /// What was signed.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A header that must be signed is not.
    #[error("the header {0} is not signed")]
    NotSigned(String),
    /// Signed in the future.
    #[error("signed at {0}, which is in the future")]
    NotYetValid(Timestamp),
    /// Too old.
    #[error("ran out at {0}")]
    Expired(Timestamp),
    /// Meant to live longer than allowed.
    #[error("meant to live {0} s, which is too long")]
    TooLong(i64),
    /// The signature is another one: a wrong secret, or a request that was changed after it was signed.
    #[error("the signature does not match this request: {canonical:?}")]
    Signature {
        /// The canonical request of the verifier. It has no secret.
        canonical: String,
    },
}

/// Verifies a request that is signed in its `Authorization` header and returns the key id that signed it.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_request(
    request: &Request<'_>,
    keyring: &Keyring,
    expected: &Expected<'_>,
) -> Result<String, Refused> {
    let header = |name: &'static str| canonical::header(request.headers, name);
    let authorization = header("authorization")?.ok_or(Refused::Missing("authorization"))?;
    let parts = Authorization::parse(&authorization)?;
    let date = header("x-amz-date")?.ok_or(Refused::Missing("x-amz-date"))?;
    let keys = parts.scope.check(keyring, expected, &date)?;
    if header("x-amz-security-token")? != keys.session_token {
        return Err(Refused::SessionToken);
    }
    if header("host")?.ok_or(Refused::Missing("host"))? != expected.host {
        let found = header("host")?.unwrap_or_default();
        return Err(other("host", &found, expected.host));
    }
    let at = timestamp(&date)?;
    within(at, expected.now, SKEW)?;
    for (name, _) in request.headers {
        let name = name.to_ascii_lowercase();
        if (name == "host" || name.starts_with("x-amz-")) && !parts.signed.contains(&name) {
            return Err(Refused::NotSigned(name));
        }
    }
    let canonical = canonical_request(request, &parts.signed)?;
    matches(&keys.secret, &parts.scope, &date, canonical, &parts.signature)?;
    Ok(keys.access_key_id.clone())
}

/// Verifies a presigned GET, given without its scheme (`host:port/?Action=…`), and returns its parameters, decoded and
/// in the order in which they came.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_presigned(
    url: &str,
    keyring: &Keyring,
    expected: &Expected<'_>,
) -> Result<Vec<(String, String)>, Refused> {
    let (host, rest) = url.split_once('/').ok_or(Refused::Missing("the path"))?;
    let (path, query) = rest.split_once('?').ok_or(Refused::Missing("the query string"))?;
    let pairs = canonical::pairs(query)?;
    let parameter = |name: &'static str| canonical::parameter(&pairs, name);
    let needed = |name: &'static str| parameter(name)?.ok_or(Refused::Missing(name));

    let algorithm = needed("X-Amz-Algorithm")?;
    if algorithm != ALGORITHM {
        return Err(Refused::Algorithm(algorithm));
    }
    let scope = Scope::parse(&needed("X-Amz-Credential")?)?;
    let date = needed("X-Amz-Date")?;
    let keys = scope.check(keyring, expected, &date)?;
    if parameter("X-Amz-Security-Token")? != keys.session_token {
        return Err(Refused::SessionToken);
    }
    if host != expected.host {
        return Err(other("host", host, expected.host));
    }
    let signed = needed("X-Amz-SignedHeaders")?;
    if signed != "host" {
        return Err(Refused::Malformed { what: "X-Amz-SignedHeaders", found: signed });
    }
    let life = needed("X-Amz-Expires")?;
    let life: i64 = life.parse().map_err(|_| Refused::Malformed { what: "X-Amz-Expires", found: life })?;
    if !(1..=LONGEST).contains(&life) {
        return Err(Refused::TooLong(life));
    }
    let at = timestamp(&date)?;
    within(at, expected.now, SignedDuration::from_secs(life))?;

    let signature = needed("X-Amz-Signature")?;
    let unsigned: Vec<_> = pairs.iter().filter(|(name, _)| name != "X-Amz-Signature").cloned().collect();
    let canonical = [
        "GET".to_owned(),
        canonical::path(&format!("/{path}")),
        canonical::query(&unsigned),
        format!("host:{host}\n"),
        signed,
        hex(&Sha256::digest(b"")),
    ]
    .join("\n");
    matches(&keys.secret, &scope, &date, canonical, &signature)?;
    Ok(pairs)
}

/// Verifies what an RDS user sends as its password: a token for this `user` at this `endpoint` (`host:port`).
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_rds_token(
    token: &str,
    user: &str,
    endpoint: &str,
    region: &str,
    keyring: &Keyring,
    now: Timestamp,
) -> Result<(), Refused> {
    let expected = Expected { service: "rds-db", region, host: endpoint, now };
    let pairs = verify_presigned(token, keyring, &expected)?;
    let wanted = [("Action", "action", "connect"), ("DBUser", "user", user)];
    for (name, what, value) in wanted {
        let found = canonical::parameter(&pairs, name)?.ok_or(Refused::Missing(name))?;
        if found != value {
            return Err(other(what, &found, value));
        }
    }
    let life = canonical::parameter(&pairs, "X-Amz-Expires")?.and_then(|life| life.parse().ok());
    match life {
        Some(life) if life <= LONGEST_TOKEN => Ok(()),
        life => Err(Refused::TooLong(life.unwrap_or(LONGEST))),
    }
}

/// The `Authorization` header that a request needs, for what is signed on this machine. The verifier is not tested with
/// it, but with what others signed. `signed`: the names of the headers to sign, in lower case and sorted.
///
/// # Errors
/// When a header to sign is missing or the query string is not encoded.
pub fn authorization(
    request: &Request<'_>,
    keys: &Keys,
    service: &str,
    region: &str,
    signed: &[&str],
) -> Result<String, Refused> {
    let date = canonical::header(request.headers, "x-amz-date")?.ok_or(Refused::Missing("x-amz-date"))?;
    let [key_id, service, region] = [&keys.access_key_id, service, region].map(str::to_owned);
    let day = date.split('T').next().unwrap_or_default().to_owned();
    let scope = Scope { key_id, date: day, region, service };
    let signed: Vec<String> = signed.iter().map(|&name| name.to_owned()).collect();
    let signature = signature(&keys.secret, &scope, &date, &canonical_request(request, &signed)?);
    let credential = format!("{}/{}", keys.access_key_id, scope.text());
    Ok(format!(
        "{ALGORITHM} Credential={credential}, SignedHeaders={}, Signature={signature}",
        signed.join(";")
    ))
}

/// What an `Authorization` header says.
struct Authorization {
    scope: Scope,
    signed: Vec<String>,
    signature: String,
}

impl Authorization {
    fn parse(text: &str) -> Result<Self, Refused> {
        let malformed = || Refused::Malformed { what: "authorization", found: text.to_owned() };
        let (algorithm, rest) = text.split_once(' ').ok_or_else(malformed)?;
        if algorithm != ALGORITHM {
            return Err(Refused::Algorithm(algorithm.to_owned()));
        }
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for part in rest.split(',') {
            let (name, value) = part.trim().split_once('=').ok_or_else(malformed)?;
            match name {
                "Credential" => credential = Some(value),
                "SignedHeaders" => signed = Some(value),
                "Signature" => signature = Some(value),
                _ => return Err(malformed()),
            }
        }
        let signed: Vec<String> =
            signed.ok_or(Refused::Missing("SignedHeaders"))?.split(';').map(str::to_owned).collect();
        if !signed.is_sorted() || signed.iter().any(|name| *name != name.to_ascii_lowercase()) {
            return Err(malformed());
        }
        Ok(Self {
            scope: Scope::parse(credential.ok_or(Refused::Missing("Credential"))?)?,
            signed,
            signature: signature.ok_or(Refused::Missing("Signature"))?.to_owned(),
        })
    }
}

/// The key id and what it signed for: `id/date/region/service/aws4_request`.
struct Scope {
    key_id: String,
    date: String,
    region: String,
    service: String,
}

impl Scope {
    fn parse(text: &str) -> Result<Self, Refused> {
        let parts: Vec<&str> = text.split('/').collect();
        let [key_id, date, region, service, "aws4_request"] = parts[..] else {
            return Err(Refused::Malformed { what: "the credential", found: text.to_owned() });
        };
        let [key_id, date, region, service] = [key_id, date, region, service].map(str::to_owned);
        Ok(Self { key_id, date, region, service })
    }

    /// Compares it with what is expected and finds the keys.
    fn check<'a>(
        &self,
        keyring: &'a Keyring,
        expected: &Expected<'_>,
        date: &str,
    ) -> Result<&'a Keys, Refused> {
        let keys = keyring.find(&self.key_id).ok_or_else(|| Refused::UnknownKey(self.key_id.clone()))?;
        let day = date.split('T').next().unwrap_or_default();
        let pairs = [
            ("date", &self.date, day),
            ("region", &self.region, expected.region),
            ("service", &self.service, expected.service),
        ];
        match pairs.into_iter().find(|(_, found, expected)| found != expected) {
            Some((what, found, expected)) => Err(other(what, found, expected)),
            None => Ok(keys),
        }
    }

    fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

fn other(what: &'static str, found: &str, expected: &str) -> Refused {
    Refused::SignedForAnother { what, found: found.to_owned(), expected: expected.to_owned() }
}

fn timestamp(text: &str) -> Result<Timestamp, Refused> {
    let malformed = || Refused::Malformed { what: "X-Amz-Date", found: text.to_owned() };
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).map_err(|_| malformed())?;
    time.to_zoned(jiff::tz::TimeZone::UTC).map(|time| time.timestamp()).map_err(|_| malformed())
}

/// Whether `now` is in the life of what was signed at `at`.
fn within(at: Timestamp, now: Timestamp, life: SignedDuration) -> Result<(), Refused> {
    let age = now.duration_since(at);
    if age < -SKEW {
        return Err(Refused::NotYetValid(at));
    }
    if age > life {
        return Err(Refused::Expired(at.saturating_add(life).unwrap_or(at)));
    }
    Ok(())
}

/// Compares a signature with the one of this canonical request.
fn matches(
    secret: &str,
    scope: &Scope,
    date: &str,
    canonical: String,
    signature: &str,
) -> Result<(), Refused> {
    if self::signature(secret, scope, date, &canonical) == signature {
        Ok(())
    } else {
        Err(Refused::Signature { canonical })
    }
}

fn canonical_request(request: &Request<'_>, signed: &[String]) -> Result<String, Refused> {
    let parts = [
        request.method.to_owned(),
        canonical::path(request.path),
        canonical::query(&canonical::pairs(request.query)?),
        canonical::headers(request.headers, signed)?,
        signed.join(";"),
        hex(&Sha256::digest(request.body)),
    ];
    Ok(parts.join("\n"))
}

fn signature(secret: &str, scope: &Scope, date: &str, canonical: &str) -> String {
    let to_sign = [ALGORITHM, date, &scope.text(), &hex(&Sha256::digest(canonical.as_bytes()))].join("\n");
    let parts = [&scope.date, &scope.region, &scope.service, "aws4_request"];
    let key =
        parts.into_iter().fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part.as_bytes()));
    hex(&mac(&key, to_sign.as_bytes()))
}

#[allow(clippy::expect_used)]
fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
