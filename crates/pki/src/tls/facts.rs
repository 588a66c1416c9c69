//! What a certificate says of itself, and what of it TLS does not take.

use std::time::Duration;

use jiff::Timestamp;
use rustls::CertificateError;
use rustls_pki_types::UnixTime;
use x509_parser::prelude::{GeneralName, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

const MIN_RSA_BITS: usize = 2048;

const RSA_PSS: &str = "1.2.840.113549.1.1.10";
const DSA: &str = "1.2.840.10040.4.1";
const ED448: &str = "1.3.101.113";
const EC: &str = "1.2.840.10045.2.1";

/// The curves that can be used.
const CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];
/// What other curves are called.
const OTHER_CURVES: [(&str, &str); 8] = [
    ("1.3.132.0.10", "secp256k1"),
    ("1.3.132.0.33", "secp224r1"),
    ("1.2.840.10045.3.1.1", "prime192v1"),
    ("1.3.36.3.3.2.8.1.1.3", "brainpoolP192r1"),
    ("1.3.36.3.3.2.8.1.1.5", "brainpoolP224r1"),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
    ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1"),
];

/// Signatures that are not taken any more.
const WEAK_SIGNATURES: [(&str, &str); 9] = [
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.3.14.3.2.29", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
    ("1.2.840.113549.1.1.14", "SHA-224"),
    ("1.2.840.10045.4.3.1", "SHA-224"),
    ("2.16.840.1.101.3.4.3.1", "SHA-224"),
];

/// The common names of the subject.
pub(super) fn common_names(certificate: &X509Certificate<'_>) -> impl Iterator<Item = String> {
    let names = certificate.subject().iter_common_name();
    names.filter_map(|name| name.as_str().ok().map(str::to_owned))
}

/// The host names and addresses that a certificate is made out to.
pub(super) fn names(certificate: &X509Certificate<'_>) -> impl Iterator<Item = String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.clone()).unwrap_or_default();
    names.into_iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    })
}

/// Is it its own issuer?
pub(super) fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// Is it of version 1, which has no extensions?
pub(super) fn is_v1(certificate: &X509Certificate<'_>) -> bool {
    certificate.version() == X509Version::V1
}

/// That it has expired, or is not valid yet.
pub(super) fn validity_fault(certificate: &X509Certificate<'_>, now: UnixTime) -> Option<CertificateError> {
    let at = |time: i64| UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(time).unwrap_or(0)));
    let validity = certificate.validity();
    let (not_before, not_after) = (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()));
    if now < not_before {
        return Some(CertificateError::NotValidYetContext { time: now, not_before });
    }
    (now > not_after).then_some(CertificateError::ExpiredContext { time: now, not_after })
}

/// From when and until when it is valid, for people.
pub fn validity(certificate: &X509Certificate<'_>) -> (String, String) {
    let text = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_second(time.timestamp()).map_or_else(|_| time.to_string(), |at| at.to_string())
    };
    let validity = certificate.validity();
    (text(validity.not_before), text(validity.not_after))
}

/// What is wrong with a public key.
pub fn key_fault(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    match key.algorithm.algorithm.to_id_string().as_str() {
        RSA_PSS => Some("its key is for RSASSA-PSS alone".to_owned()),
        DSA => Some("its key is a DSA key".to_owned()),
        ED448 => Some("its key is an Ed448 key".to_owned()),
        EC => {
            let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
            let Some(curve) = curve.map(|oid| oid.to_id_string()) else {
                return Some("its key spells its curve out instead of naming it".to_owned());
            };
            if CURVES.contains(&curve.as_str()) {
                return None;
            }
            let name =
                OTHER_CURVES.iter().find(|(oid, _)| *oid == curve).map_or(curve.as_str(), |(_, name)| name);
            Some(format!("its key is on the curve {name}"))
        }
        _ => match key.parsed() {
            Ok(PublicKey::RSA(rsa)) if rsa.key_size() < MIN_RSA_BITS => {
                Some(format!("its RSA key has {} bits only", rsa.key_size()))
            }
            _ => None,
        },
    }
}

/// With which hash it was signed, where that one is not taken any more.
pub fn weak_signature(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
    WEAK_SIGNATURES.iter().find(|(oid, _)| *oid == algorithm).map(|(_, name)| *name)
}
