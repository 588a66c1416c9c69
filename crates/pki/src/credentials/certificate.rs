//! Client certificates: with a new key, or for the key of a certificate request.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, SubjectPublicKeyInfo,
};
use rolecall_engine::ClientCertificate;
use rolecall_engine::{AccountName, Class, Error, Reason};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use secrecy::SecretString;
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::{Ca, invalid, password};
use crate::pem;

/// How far a certificate reaches back, so that a server whose clock is behind takes it.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The longest certificate request that is read; a 16,384 bit RSA key fits.
const MAX_REQUEST_BYTES: usize = 16 * 1024;
const MIN_RSA_BITS: usize = 2048;

const OID_ED25519: &str = "1.3.101.112";
const OID_P256: &str = "1.2.840.10045.3.1.7";
const OID_P384: &str = "1.3.132.0.34";

/// A client certificate that lets its holder log in as one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate and what lies between it and the root, as PEM.
    pub chain_pem: String,
    /// From when it is valid: [`CLOCK_SKEW`] before what was asked for, and not before the CA.
    pub not_before: Timestamp,
    /// Until when it is valid: what was asked for, and not after the CA.
    pub not_after: Timestamp,
}

/// Issues a certificate for `account` with a new ECDSA P-256 key: the certificate, and the key as PEM (PKCS #8).
///
/// # Errors
///
/// `Invalid` when the CA is not valid in the time asked for.
pub fn issue(
    ca: &Ca,
    account: &AccountName,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<(Certificate, SecretString), Error> {
    issue_for(ca, account.as_str(), not_before, not_after)
}

/// Whom a certificate names that is shown to a server and thrown away: nobody. No `DatabaseUser` can have that name.
const NOBODY: &str = "rolecall:nobody";
const THROW_AWAY_LIFE: Duration = Duration::from_secs(60);

/// A certificate as users get it, with its key: to be shown to a server once, for nobody.
///
/// # Errors
///
/// `Invalid` when the CA is not valid now.
pub fn throw_away(ca: &Ca, now: Timestamp) -> Result<ClientCertificate, Error> {
    let not_after = now.saturating_add(THROW_AWAY_LIFE).unwrap_or(now);
    let (certificate, key_pem) = issue_for(ca, NOBODY, now, not_after)?;
    Ok(ClientCertificate { cert_pem: certificate.chain_pem, key_pem })
}

fn issue_for(
    ca: &Ca,
    name: &str,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<(Certificate, SecretString), Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| unsigned(name, &error))?;
    let certificate = sign(ca, &key, name, not_before, not_after)?;
    Ok((certificate, key.serialize_pem().into()))
}

/// Answers a certificate request: only its public key is taken, subject and extensions are ours.
///
/// # Errors
///
/// `Invalid` when the request cannot be read, was not signed with its own key, or its key is none of RSA with 2048
/// bits or more, ECDSA P-256 or P-384, and Ed25519; or when the CA is not valid in the time asked for.
pub fn answer(
    ca: &Ca,
    csr_pem: &str,
    account: &AccountName,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<Certificate, Error> {
    sign(ca, &requested_key(csr_pem)?, account.as_str(), not_before, not_after)
}

/// The public key of a request that proves that whoever made it has the private one.
fn requested_key(csr_pem: &str) -> Result<SubjectPublicKeyInfo, Error> {
    let fault = |why: &str| {
        invalid(
            Reason::CertificateRequestInvalid,
            "reading the certificate request",
            why,
            "make one with openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=me",
        )
    };
    if csr_pem.len() > MAX_REQUEST_BYTES {
        return Err(fault("it is too long"));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
        .map_err(|_| fault("it is no PEM block CERTIFICATE REQUEST"))?;
    let (rest, request) =
        X509CertificationRequest::from_der(&der).map_err(|_| fault("it is no PKCS #10 request"))?;
    if !rest.is_empty() {
        return Err(fault("something follows the request"));
    }
    let spki = &request.certification_request_info.subject_pki;
    let parameter = || spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let strong = match spki.parsed() {
        Ok(PublicKey::RSA(key)) => key.key_size() >= MIN_RSA_BITS,
        Ok(PublicKey::EC(_)) => {
            parameter().is_some_and(|curve| [OID_P256, OID_P384].contains(&curve.to_id_string().as_str()))
        }
        _ => spki.algorithm.algorithm.to_id_string() == OID_ED25519,
    };
    if !strong {
        return Err(fault(
            "its key is none of RSA with at least 2048 bits, ECDSA P-256 or P-384, and Ed25519",
        ));
    }
    request.verify_signature().map_err(|_| fault("its signature is not that of its own key"))?;
    SubjectPublicKeyInfo::from_der(spki.raw).map_err(|_| fault("its key cannot be read"))
}

fn sign(
    ca: &Ca,
    key: &impl PublicKeyData,
    name: &str,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<Certificate, Error> {
    let not_before = not_before.saturating_sub(CLOCK_SKEW).unwrap_or(not_before).max(ca.not_before());
    let not_after = not_after.min(ca.not_after());
    if not_before >= not_after {
        return Err(invalid(
            Reason::SecretInvalid,
            &format!("issuing a certificate for {:?}", name),
            format!("the CA for users is valid from {} to {} only", ca.not_before(), ca.not_after()),
            "renew the CA",
        ));
    }
    let mut serial = [0; 16];
    password::random(&mut serial)?;
    // RFC 5280: positive, and never zero.
    serial[0] = serial[0] & 0x7f | 0x40;

    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = offset_date_time(not_before, name)?;
    params.not_after = offset_date_time(not_after, name)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = ca.signer.sign(params, key).map_err(|error| unsigned(name, &error))?;
    let chain_pem = pem::encode_certificates(std::iter::once(&leaf).chain(&ca.chain));
    Ok(Certificate { chain_pem, not_before, not_after })
}

fn offset_date_time(at: Timestamp, name: &str) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|error| unsigned(name, &error))
}

fn unsigned(name: &str, error: &dyn std::fmt::Display) -> Error {
    Error {
        class: Class::Transient,
        reason: Reason::ServerRefused,
        attempted: format!("issuing a certificate for {:?}", name),
        code: String::new(),
        detail: error.to_string(),
        remedy: String::new(),
    }
}
