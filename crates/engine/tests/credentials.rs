//! Certificates for users: what they say, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong")]

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rolecall_engine::credentials::{CLOCK_SKEW, Ca, answer, issue};
use rolecall_engine::{AccountName, Class, Error, Reason};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn time_of(at: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap()
}

/// A CA from a day ago for ten days, changed as wanted.
fn authority(change: impl FnOnce(&mut CertificateParams)) -> (String, SecretString) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = time_of(now() - DAY);
    params.not_after = time_of(now() + 10 * DAY);
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem().into())
}

fn ca() -> Ca {
    let (cert, key) = authority(|_| {});
    Ca::from_pem(&cert, &key, now()).unwrap()
}

fn alice() -> AccountName {
    AccountName::new("Älice@example.com").unwrap()
}

fn der(pem: &str) -> Vec<u8> {
    x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents
}

#[test]
fn a_certificate_says_who_and_nothing_more() {
    let (certificate, key) = issue(&ca(), &alice(), now(), now() + HOUR).unwrap();
    assert!(key.expose_secret().contains("BEGIN PRIVATE KEY"));
    assert_eq!(certificate.not_before, now() - CLOCK_SKEW);
    assert_eq!(certificate.not_after, now() + HOUR);

    let der = der(&certificate.chain_pem);
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let names: Vec<_> = parsed.subject().iter_attributes().collect();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].as_str().unwrap(), "Älice@example.com");
    assert_eq!(names[0].attr_value().header.tag(), x509_parser::der_parser::asn1_rs::Tag::Utf8String);
    assert!(!parsed.is_ca());
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.flags, 1, "digitalSignature");
    let extended = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth && !extended.any);
    assert!(parsed.subject_alternative_name().unwrap().is_none());
    assert_eq!(parsed.validity().not_after.timestamp(), (now() + HOUR).as_second());
    assert_eq!(parsed.validity().not_before.timestamp(), (now() - CLOCK_SKEW).as_second());
    assert!(parsed.raw_serial().len() == 16 && parsed.raw_serial()[0] < 0x80);

    let (other, other_key) = issue(&ca(), &alice(), now(), now() + HOUR).unwrap();
    assert_ne!(certificate.chain_pem, other.chain_pem);
    assert_ne!(key.expose_secret(), other_key.expose_secret());
}

#[test]
fn a_certificate_does_not_outlive_its_ca() {
    let (certificate, _) = issue(&ca(), &alice(), now(), now() + 100 * DAY).unwrap();
    assert_eq!(certificate.not_after, now() + 10 * DAY);
    let error = issue(&ca(), &alice(), now() + 11 * DAY, now() + 12 * DAY).unwrap_err();
    assert_eq!((error.class, error.reason), (Class::Invalid, Reason::SecretInvalid), "{error}");
}

#[test]
fn an_intermediate_ca_is_sent_along() {
    let root_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "root");
    let root = params.self_signed(&root_key).unwrap();
    let issuer = Issuer::new(params, root_key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "intermediate");
    let intermediate = params.signed_by(&key, &issuer).unwrap();
    let chain = format!("{}{}", intermediate.pem(), root.pem());
    let ca = Ca::from_pem(&chain, &key.serialize_pem().into(), now()).unwrap();
    let (certificate, _) = issue(&ca, &alice(), now(), now() + HOUR).unwrap();
    assert_eq!(certificate.chain_pem.matches("BEGIN CERTIFICATE").count(), 3);
    assert_eq!(
        issue(&self::ca(), &alice(), now(), now() + HOUR).unwrap().0.chain_pem.matches("BEGIN").count(),
        1
    );
}

#[test]
fn a_ca_that_cannot_sign_is_named() {
    let (cert, key) = authority(|_| {});
    let (other_cert, _) = authority(|_| {});
    let (leaf, leaf_key) = authority(|params| params.is_ca = IsCa::NoCa);
    let (no_sign, no_sign_key) =
        authority(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    let (old, old_key) = authority(|params| params.not_after = time_of(now() - HOUR));
    let (young, young_key) = authority(|params| params.not_before = time_of(now() + HOUR));
    let no_pem: SecretString = "no PEM".into();
    for (cert, key, part, said) in [
        ("", &key, "the certificate", "no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &key,
            "the certificate",
            "no X.509",
        ),
        (&cert, &no_pem, "the private key", "no PEM"),
        (&other_cert, &key, "the private key", "does not belong"),
        (&leaf, &leaf_key, "the certificate", "not that of a CA"),
        (&no_sign, &no_sign_key, "the certificate", "does not include signing"),
        (&old, &old_key, "the certificate", "valid from"),
        (&young, &young_key, "the certificate", "valid from"),
    ] {
        let error = Ca::from_pem(cert, key, now()).unwrap_err();
        assert_eq!((error.class, error.reason), (Class::Invalid, Reason::SecretInvalid), "{error}");
        assert!(error.attempted.contains(part) && error.detail.contains(said), "{error}");
        assert!(!format!("{error:?}").contains("PRIVATE KEY-----"));
    }
    assert!(!format!("{:?}", ca()).contains("PRIVATE"));
}

#[test]
fn a_request_gives_its_key_and_nothing_else() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(vec!["admin.example.org".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "postgres");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        let certificate = answer(&ca(), &request, &alice(), now(), now() + HOUR).unwrap();
        let der = der(&certificate.chain_pem);
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(parsed.subject().to_string(), "CN=Älice@example.com");
        assert!(!parsed.is_ca() && parsed.subject_alternative_name().unwrap().is_none());
        assert_eq!(parsed.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));
    }
}

#[test]
fn rsa_keys_are_taken_from_2048_bits() {
    for (request, good) in
        [(include_str!("requests/rsa2048.pem"), true), (include_str!("requests/rsa1024.pem"), false)]
    {
        let answered = answer(&ca(), request, &alice(), now(), now() + HOUR);
        assert_eq!(answered.is_ok(), good, "{answered:?}");
    }
}

#[test]
fn requests_that_prove_nothing_are_refused() {
    let refused = |request: &str| -> Error {
        let error = answer(&ca(), request, &alice(), now(), now() + HOUR).unwrap_err();
        assert_eq!(
            (error.class, error.reason),
            (Class::Invalid, Reason::CertificateRequestInvalid),
            "{error}"
        );
        assert!(!error.remedy.is_empty());
        error
    };
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let good = request.pem().unwrap();
    assert!(answer(&ca(), &good, &alice(), now(), now() + HOUR).is_ok());

    refused("");
    refused("no PEM");
    refused(&good.replace("CERTIFICATE REQUEST", "CERTIFICATE"));
    assert!(refused(&format!("{good}{}", " ".repeat(20_000))).detail.contains("too long"));
    assert!(refused(include_str!("requests/p521.pem")).detail.contains("P-384"));
    // Signed by another key: the last bytes are the signature's.
    let mut forged = request.der().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let body = base64(&forged);
    refused(&format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n"));
    forged.truncate(40);
    let body = base64(&forged);
    refused(&format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n"));
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let letter = ALPHABET[(group >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
