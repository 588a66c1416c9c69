//! Why a TLS handshake fails, and how to fix it: for people, without the names of anybody's types.

mod alert;
mod client;

use std::net::IpAddr;

use rustls::CertificateError;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::facts;
use crate::pem::{Fault, NEW_KEY};

pub use alert::alert_name;
pub use client::refused_client;

/// The most CAs that a message names.
const LISTED: usize = 5;

/// What is known of a server whose certificate was not accepted.
#[derive(Clone, Copy, Debug)]
pub struct ServerFacts<'a> {
    /// The name or address that its certificate should have.
    pub host: &'a str,
    /// What it showed, its own certificate first; empty where that is not known.
    pub chain: &'a [CertificateDer<'static>],
    /// The CAs that the configuration names; `None`: those of the system.
    pub trusted: Option<&'a [CertificateDer<'static>]>,
    /// A certificate that is itself among those trusted is accepted, whatever its form.
    pub trusts_leaves: bool,
    /// The field that changes the name which is verified, and how.
    pub name_remedy: &'static str,
}

/// What is known of a client certificate that a server did not accept.
#[derive(Clone, Copy, Debug)]
pub struct ClientFacts<'a> {
    /// Whose it is.
    pub whose: Whose,
    /// The certificate, and what is sent with it.
    pub chain: &'a [CertificateDer<'static>],
    /// How the CA gets among those whose client certificates the server takes: `append {} to ...`.
    pub trust: fn(&str) -> String,
}

/// Whose client certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The admin user's.
    Admin,
    /// One that the CA for users has issued.
    User,
}

/// Why a handshake failed.
pub fn handshake(
    error: &rustls::Error,
    server: ServerFacts<'_>,
    client: Option<ClientFacts<'_>>,
    now: UnixTime,
) -> Fault {
    match error {
        rustls::Error::InvalidCertificate(error) => server_fault(error, server),
        rustls::Error::AlertReceived(alert) => alert::fault(*alert, client, now),
        rustls::Error::PeerIncompatible(_) => Fault::new(
            "the server offers no TLS that can be used: 1.2 or 1.3 is needed, with an ECDHE key exchange",
            OLD_TLS,
        ),
        rustls::Error::InvalidMessage(_) => Fault::new(
            "the server answers with something that is not TLS",
            "check the port, and that TLS is turned on in the server",
        ),
        rustls::Error::General(said) => Fault::new(said.clone(), ""),
        _ => Fault::new(
            "the server breaks off the TLS handshake",
            "check what is between here and the server, and the server's log",
        ),
    }
}

const OLD_TLS: &str = "allow TLS 1.2 in the server (PostgreSQL: ssl_min_protocol_version and ssl_ciphers; MongoDB: net.tls.disabledProtocols); where its key is on another curve than P-256, P-384 or P-521, give it one that is";

/// Why a server's certificate is not accepted.
fn server_fault(error: &CertificateError, server: ServerFacts<'_>) -> Fault {
    let chain = parsed(server.chain);
    let trusted = parsed(server.trusted.unwrap_or_default());
    let leaf = chain.first();
    let the = leaf.map_or_else(
        || "the server's certificate".to_owned(),
        |leaf| format!("the server's certificate ({})", leaf.subject()),
    );
    let renew = format!("reissue the server's certificate: {}", issue(server.host));
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => match out_of(&chain, error) {
            Some(other) if !is_first(&chain, other) => Fault::new(
                format!(
                    "the CA {} of the server's certificate ran out at {}",
                    other.subject(),
                    facts::validity(other).1
                ),
                "renew that CA's certificate, with the same key, in what the server sends and in spec.tls.caSecretRef",
            ),
            Some(leaf) => Fault::new(format!("{the} ran out at {}", facts::validity(leaf).1), renew),
            None => Fault::new(format!("{the} has expired"), renew),
        },
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let from = out_of(&chain, error).map(|one| format!(" before {}", facts::validity(one).0));
            Fault::new(
                format!("{the} is not valid yet{}", from.unwrap_or_default()),
                "check the clocks of this machine and of the one where it was issued; else wait, or reissue it",
            )
        }
        CertificateError::NotValidForName => wrong_name(&the, &[], leaf, server),
        CertificateError::NotValidForNameContext { presented, .. } => {
            wrong_name(&the, presented, leaf, server)
        }
        CertificateError::UnknownIssuer => unknown_issuer(&the, &chain, &trusted, server),
        CertificateError::BadSignature => bad_signature(&the, &chain, &trusted, server),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Fault::new(
            format!("{the} is not for servers: its extended key usage lacks serverAuth"),
            format!(
                "reissue the server's certificate: {}",
                issue_with(server.host, "extendedKeyUsage=serverAuth\\n")
            ),
        ),
        CertificateError::UnhandledCriticalExtension => Fault::new(
            format!("{the}, or a CA above it, has a critical extension that is not known"),
            format!("leave that extension out, or make it not critical; {renew}"),
        ),
        CertificateError::BadEncoding => Fault::new(format!("{the} is not encoded as X.509 demands"), renew),
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(error) => form_fault(error, &the, &chain, server),
            None => Fault::new(format!("{the} is not accepted"), renew),
        },
        _ => algorithm_fault(&the, &chain, &trusted).unwrap_or_else(|| {
            Fault::new(
                format!("{the}, or that of a CA above it, is signed in a way that is not taken any more"),
                renew,
            )
        }),
    }
}

/// The form of a certificate is wrong for what it is used as.
fn form_fault(
    error: &webpki::Error,
    the: &str,
    chain: &[X509Certificate<'_>],
    server: ServerFacts<'_>,
) -> Fault {
    let host = server.host;
    let itself = if server.trusts_leaves {
        " Or trust this very certificate: put it into the Secret that spec.tls.caSecretRef names."
    } else {
        ""
    };
    match error {
        webpki::Error::UnsupportedCertVersion => {
            let which = chain.iter().find(|certificate| facts::is_v1(certificate));
            let which = match which {
                Some(other) if !is_first(chain, other) => format!("the CA {}", other.subject()),
                _ => the.to_owned(),
            };
            Fault::new(
                format!("{which} is of X.509 version 1, which has no extensions"),
                format!("issue it as version 3: {}.{itself}", issue(host)),
            )
        }
        webpki::Error::CaUsedAsEndEntity => Fault::new(
            format!("{the} is that of a CA (CA:TRUE), as openssl req -x509 makes them by itself"),
            format!("create it again as that of a server: {}.{itself}", self_sign(host)),
        ),
        webpki::Error::EndEntityUsedAsCa => Fault::new(
            format!("what has signed {the} is no CA: its basicConstraints say CA:FALSE, or nothing"),
            "create that CA's certificate again with CA:TRUE: openssl req -new -x509 -days 3650 -key root.key -subj /CN=root -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out root.crt",
        ),
        webpki::Error::PathLenConstraintViolated => Fault::new(
            format!("there are more CAs between {the} and the root than the root's pathlen allows"),
            "sign the server's certificate with a CA that is nearer to the root",
        ),
        webpki::Error::NameConstraintViolation => Fault::new(
            format!("a CA above {the} may not sign for its names (nameConstraints)"),
            "use names that the CA may sign for, or another CA",
        ),
        _ => Fault::new(
            format!(
                "{the}, or that of a CA above it, breaks a rule of X.509 (openssl x509 -in FILE -noout -text shows what it says)"
            ),
            format!("reissue it: {}", issue(host)),
        ),
    }
}

fn wrong_name(
    the: &str,
    presented: &[String],
    leaf: Option<&X509Certificate<'_>>,
    server: ServerFacts<'_>,
) -> Fault {
    let host = server.host;
    let common: Vec<String> = leaf.into_iter().flat_map(facts::common_names).collect();
    let alternatives = leaf.is_some_and(|leaf| facts::names(leaf).next().is_some());
    if !alternatives && presented.iter().all(|name| common.contains(name)) {
        let has = match common.is_empty() {
            true => "it has no subjectAltName".to_owned(),
            false => format!(
                "it has no subjectAltName; its common name {:?} alone is not checked",
                common.join(", ")
            ),
        };
        return Fault::new(
            format!("{the} is not made out to {host}: {has}"),
            format!("reissue the server's certificate: {}; or {}", issue(host), server.name_remedy),
        );
    }
    let names: Vec<String> = match leaf {
        Some(leaf) if alternatives => facts::names(leaf).collect(),
        _ => presented.to_vec(),
    };
    Fault::new(
        format!("{the} is made out to {}, not to {host}", names.join(", ")),
        format!("{}; or reissue it: {}", server.name_remedy, issue(host)),
    )
}

fn unknown_issuer(
    the: &str,
    chain: &[X509Certificate<'_>],
    trusted: &[X509Certificate<'_>],
    server: ServerFacts<'_>,
) -> Fault {
    let Some(last) = chain.last() else {
        return match server.trusted {
            None => no_ca(the, "somebody"),
            Some(_) => Fault::new(
                format!("{the} is not signed by the CA given"),
                "correct the CA: put the one that has signed it into the Secret that spec.tls.caSecretRef names, and let the server send the intermediate certificates",
            ),
        };
    };
    let issuer = last.issuer().to_string();
    if server.trusted.is_none() {
        return no_ca(the, &issuer);
    }
    let given: Vec<String> = trusted.iter().take(LISTED).map(|ca| ca.subject().to_string()).collect();
    let given = given.join("; ");
    if let [only] = chain
        && facts::is_self_issued(only)
    {
        return Fault::new(
            format!("{the} is signed by itself, and is not the CA given ({given})"),
            "correct the CA, or, where this certificate is the right one, put it into the Secret that spec.tls.caSecretRef names",
        );
    }
    let missing = match chain {
        [_] => format!(
            "; where {issuer} is an intermediate CA, append its certificate to the server's own (cat server.crt intermediate.crt), as the server must send both"
        ),
        _ => String::new(),
    };
    Fault::new(
        format!("{the} is signed by {issuer}, which is not the CA given ({given})"),
        format!(
            "correct the CA: put the certificate of {issuer}, or of the root above it, into the Secret that spec.tls.caSecretRef names{missing}"
        ),
    )
}

fn no_ca(the: &str, issuer: &str) -> Fault {
    Fault::new(
        format!("{the} is signed by {issuer}, which this system does not trust, and no CA is given"),
        "put the certificate of the CA that has signed the server's into a Secret, and name it in spec.tls.caSecretRef",
    )
}

fn bad_signature(
    the: &str,
    chain: &[X509Certificate<'_>],
    trusted: &[X509Certificate<'_>],
    server: ServerFacts<'_>,
) -> Fault {
    if let Some(fault) = algorithm_fault(the, chain, trusted) {
        return fault;
    }
    let issuer = chain.last().map_or_else(|| "the CA".to_owned(), |last| last.issuer().to_string());
    if server.trusted.is_none() {
        return no_ca(the, &issuer);
    }
    Fault::new(
        format!("{the} is not signed by the CA given, but by another of the same name ({issuer})"),
        "the CA was created again with another key: correct the CA: put its present certificate into the Secret that spec.tls.caSecretRef names, or reissue the server's certificate",
    )
}

/// A key or a signature in the chain that is not taken.
fn algorithm_fault(
    the: &str,
    chain: &[X509Certificate<'_>],
    trusted: &[X509Certificate<'_>],
) -> Option<Fault> {
    let name = |certificate: &X509Certificate<'_>| match is_first(chain, certificate) {
        true => the.to_owned(),
        false => format!("the CA {}", certificate.subject()),
    };
    let key = chain.iter().chain(trusted).find_map(|one| Some((one, facts::key_fault(one.public_key())?)));
    if let Some((certificate, why)) = key {
        return Some(Fault::new(format!("{} cannot be used: {why}", name(certificate)), NEW_KEY));
    }
    let (certificate, hash) = chain.iter().find_map(|one| Some((one, facts::weak_signature(one)?)))?;
    Some(Fault::new(
        format!("{} is signed with {hash}, which is not taken any more", name(certificate)),
        "reissue it with SHA-256: openssl x509 -req -sha256 ... (in OpenSSL's configuration: default_md = sha256)",
    ))
}

/// How a server's certificate is issued by a CA.
fn issue(host: &str) -> String {
    issue_with(host, "")
}

fn issue_with(host: &str, more: &str) -> String {
    format!(
        "printf 'subjectAltName={}\\n{more}' | openssl x509 -req -in server.csr -CA root.crt -CAkey root.key -CAcreateserial -days 365 -extfile /dev/stdin -out server.crt",
        alternative(host)
    )
}

/// How a server's certificate is made that is signed by itself.
fn self_sign(host: &str) -> String {
    format!(
        "openssl req -new -x509 -days 365 -nodes -subj /CN={host} -addext basicConstraints=critical,CA:FALSE -addext subjectAltName={} -keyout server.key -out server.crt",
        alternative(host)
    )
}

fn alternative(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => format!("IP:{address}"),
        Err(_) => format!("DNS:{host}"),
    }
}

fn parsed<'a>(chain: &'a [CertificateDer<'static>]) -> Vec<X509Certificate<'a>> {
    chain.iter().filter_map(|der| X509Certificate::from_der(der).ok()).map(|(_, parsed)| parsed).collect()
}

fn is_first(chain: &[X509Certificate<'_>], certificate: &X509Certificate<'_>) -> bool {
    chain.first().is_some_and(|first| std::ptr::eq(first, certificate) || first == certificate)
}

/// The certificate whose validity the error is about.
fn out_of<'a, 'b>(
    chain: &'a [X509Certificate<'b>],
    error: &CertificateError,
) -> Option<&'a X509Certificate<'b>> {
    let now = match error {
        CertificateError::ExpiredContext { time, .. } | CertificateError::NotValidYetContext { time, .. } => {
            *time
        }
        _ => return None,
    };
    chain.iter().find(|certificate| facts::validity_fault(certificate, now).is_some())
}
