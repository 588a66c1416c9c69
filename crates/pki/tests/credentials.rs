//! Certificates for users: what they say, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong")]

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rolecall_engine::{AccountName, Class, Error, Reason};
use rolecall_pki::credentials::{CLOCK_SKEW, Ca, answer, issue, only_certificates, throw_away};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

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

/// CAs with names that not every library keeps as they are, as OpenSSL made them.
const NAMED: [(&str, &str); 6] = [
    (include_str!("certificates/ca-domain.crt"), include_str!("certificates/ca-domain.key")),
    (include_str!("certificates/ca-several.crt"), include_str!("certificates/ca-several.key")),
    (include_str!("certificates/ca-multivalued.crt"), include_str!("certificates/ca-multivalued.key")),
    (include_str!("certificates/ca-t61.crt"), include_str!("certificates/ca-t61.key")),
    (include_str!("certificates/ca-bmp.crt"), include_str!("certificates/ca-bmp.key")),
    (include_str!("certificates/ca-email.crt"), include_str!("certificates/ca-email.key")),
];

const INTERMEDIATE: (&str, &str) =
    (include_str!("certificates/ca-intermediate.crt"), include_str!("certificates/ca-intermediate.key"));

/// Within the validity of what OpenSSL made.
fn later() -> Timestamp {
    "2027-03-01T12:00:00Z".parse().unwrap()
}

#[test]
fn the_issuer_is_the_name_of_the_ca_byte_for_byte() {
    for (cert, key) in NAMED.into_iter().chain([INTERMEDIATE]) {
        let ca = Ca::from_pem(cert, &key.into(), later()).unwrap();
        let ca_der = der(cert);
        let (_, parsed_ca) = X509Certificate::from_der(&ca_der).unwrap();
        let request_key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&request_key).unwrap().pem().unwrap();
        let issued = issue(&ca, &alice(), later(), later() + HOUR).unwrap().0;
        let answered = answer(&ca, &request, &alice(), later(), later() + HOUR).unwrap();
        for certificate in [issued, answered] {
            let leaf = der(&certificate.chain_pem);
            let (rest, leaf) = X509Certificate::from_der(&leaf).unwrap();
            assert!(rest.is_empty());
            assert_eq!(leaf.issuer().as_raw(), parsed_ca.subject().as_raw(), "{}", parsed_ca.subject());
            leaf.verify_signature(Some(parsed_ca.public_key())).unwrap();
            let identifier = |certificate: &X509Certificate<'_>, of_issuer: bool| {
                certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(id) if !of_issuer => Some(id.0.to_vec()),
                    ParsedExtension::AuthorityKeyIdentifier(id) if of_issuer => {
                        Some(id.key_identifier.as_ref().unwrap().0.to_vec())
                    }
                    _ => None,
                })
            };
            assert_eq!(identifier(&leaf, true), identifier(&parsed_ca, false));
            assert!(ca.has_issued(&certificate.chain_pem));
        }
    }
}

#[test]
fn a_certificate_of_another_ca_is_distinguished_from_our_own() {
    let (cert, key) = authority(|_| {});
    let ca = Ca::from_pem(&cert, &key, now()).unwrap();
    let (certificate, _) = issue(&ca, &alice(), now(), now() + HOUR).unwrap();
    assert!(ca.has_issued(&certificate.chain_pem));
    // Renewed with the same name and another key, and with more to send along.
    assert!(!self::ca().has_issued(&certificate.chain_pem));
    assert!(!ca.has_issued(&format!("{}{cert}", certificate.chain_pem)));
    assert_ne!(ca.fingerprint(), self::ca().fingerprint());
    assert_eq!(ca.fingerprint(), Ca::from_pem(&cert, &key, now()).unwrap().fingerprint());
}

#[test]
fn nothing_of_the_cas_secret_is_handed_to_users_but_certificates() {
    let (cert, key) = INTERMEDIATE;
    let (root, root_key) = NAMED[0];
    for text in [
        format!("{cert}{key}"),
        format!("{key}{cert}"),
        format!("issuer: hunter2\n{cert}{key}{root}{root_key}hunter2\n"),
        format!("{cert}{}", key.replace("RSA PRIVATE KEY", "SECRET OF ANOTHER KIND")),
        format!("{cert}{}", key.replace("RSA PRIVATE KEY", "X509 CRL")),
    ] {
        let ca = Ca::from_pem(&text, &key.into(), later()).unwrap();
        let (certificate, _) = issue(&ca, &alice(), later(), later() + HOUR).unwrap();
        let chain = &certificate.chain_pem;
        let lines =
            key.lines().chain(root_key.lines()).filter(|line| line.len() > 15 && !line.starts_with('-'));
        for line in lines.chain(["hunter2", "PRIVATE", "SECRET", "CRL"]) {
            assert!(!chain.contains(line), "{line} is in:\n{chain}");
        }
        assert!(chain.contains(cert), "{chain}");
        assert_eq!(chain.contains(root), text.contains(root));
        assert_eq!(Some(chain), only_certificates(chain).as_ref());
    }
}

#[test]
fn a_certificate_for_nobody_is_as_users_have_theirs() {
    let ca = ca();
    let shown = throw_away(&ca, now()).unwrap();
    let (issued, _) = issue(&ca, &alice(), now(), now() + HOUR).unwrap();
    let (shown, issued) = (der(&shown.cert_pem), der(&issued.chain_pem));
    let (shown, issued) =
        (X509Certificate::from_der(&shown).unwrap().1, X509Certificate::from_der(&issued).unwrap().1);
    assert!(AccountName::new(shown.subject().iter_common_name().next().unwrap().as_str().unwrap()).is_err());
    let usages = |certificate: &X509Certificate<'_>| {
        let usage = certificate.extended_key_usage().unwrap().unwrap().value.clone();
        (certificate.key_usage().unwrap().unwrap().value.flags, usage.client_auth, usage.server_auth)
    };
    assert_eq!(usages(&shown), usages(&issued));
    assert!(shown.validity().not_after.timestamp() <= (now() + HOUR).as_second());
}

#[test]
fn each_fault_of_a_ca_has_a_remedy_of_its_own() {
    let (good, good_key) = NAMED[0];
    let (v1, v1_key) = (include_str!("certificates/self-v1.crt"), include_str!("certificates/server.key"));
    let (small, curve) =
        (include_str!("certificates/small-root.crt"), include_str!("certificates/curve-root.crt"));
    let curve_key = include_str!("certificates/admin-curve.key");
    let encrypted = include_str!("certificates/admin-encrypted.key");
    let (server_only, server_only_key) =
        authority(|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth]);
    let (old, old_key) = authority(|params| params.not_after = time_of(now() - HOUR));
    let faults = [
        (v1, v1_key, "version 1", "basicConstraints"),
        (good, encrypted, "encrypted", "openssl pkey -in"),
        (good, v1_key, "does not belong", "-pubkey"),
        (good_key, good_key, "a private key instead", "put the certificate"),
        (good, good, "a certificate instead", "tls.key"),
        (curve, curve_key, "secp256k1", "P-256"),
        (&server_only, server_only_key.expose_secret(), "clientAuth", "without extended key usage"),
        (&old, old_key.expose_secret(), "has expired", "renew it"),
        ("", good_key, "empty", "-----BEGIN"),
    ];
    for (cert, key, detail, remedy) in faults {
        let error = Ca::from_pem(cert, &key.into(), now()).unwrap_err();
        assert_eq!(error.reason, Reason::SecretInvalid);
        assert!(error.detail.contains(detail) && error.remedy.contains(remedy), "{error}");
        assert!(!format!("{error} {error:?}").contains("PRIVATE KEY-----"), "{error}");
    }
    // Its key is too small to be loaded.
    assert!(Ca::from_pem(small, &v1_key.into(), later()).is_err());
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
        ("", &key, "the certificate", "no certificate in it"),
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
