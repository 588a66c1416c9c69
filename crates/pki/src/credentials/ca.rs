//! The authority that signs users' certificates.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};
use rolecall_engine::{Error, Reason};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::invalid;
use super::signing::Signer;
use crate::pem::{self, Fault};
use crate::tls;

/// How a certificate of a CA is made.
const CA_LINE: &str = "openssl req -new -x509 -days 3650 -key ca.key -subj /CN=clients -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out ca.crt";

/// A CA that signs client certificates.
pub struct Ca {
    pub(super) signer: Signer,
    /// What a client has to send after its own certificate, and nothing else from the same text.
    pub(super) chain: Vec<CertificateDer<'static>>,
    certificate: CertificateDer<'static>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Ca {
    /// Takes a CA from the PEM texts of its Secret: its own certificate first, and its key. Anything else in them is
    /// ignored, and never output.
    ///
    /// # Errors
    ///
    /// `Invalid` when a text is no PEM, the key is not the certificate's, the certificate may not sign others, or it
    /// is not valid at `now`.
    pub fn from_pem(cert_pem: &str, key_pem: &SecretString, now: Timestamp) -> Result<Self, Error> {
        let chain = pem::certificates(cert_pem).map_err(|fault| certificate_fault(&fault))?;
        let key = pem::private_key(key_pem.expose_secret()).map_err(|fault| key_fault(&fault))?;
        // There is one, and it was parsed.
        let none = || certificate_fault(&Fault::new("there is no certificate in it", CA_LINE));
        let der = chain.first().ok_or_else(none)?;
        let (_, cert) = X509Certificate::from_der(der).map_err(|_| none())?;
        let key = KeyPair::try_from(&key)
            .map_err(|_| key_fault(&tls::unusable_key(tls::key_fault(cert.public_key()))))?;
        let public = SubjectPublicKeyInfoDer::from(key.subject_public_key_info());
        if let Some(fault) = tls::match_fault(&chain, &public) {
            return Err(key_fault(&fault));
        }
        if let Some(fault) = fault_of(&cert) {
            return Err(certificate_fault(&fault));
        }
        let (not_before, not_after) = validity(&cert)?;
        if now < not_before || now > not_after {
            return Err(certificate_fault(&out_of_date(&cert, now < not_before)));
        }
        let signer = Signer::new(key, cert.subject().as_raw().to_vec(), key_identifier(&cert));
        let certificate = der.clone();
        // A server trusts roots; it needs to be shown whatever lies between.
        let is_root = cert.subject().as_raw() == cert.issuer().as_raw();
        let chain = if is_root { Vec::new() } else { chain };
        Ok(Self { signer, chain, certificate, not_before, not_after })
    }

    /// When the CA's own certificate starts to be valid.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When the CA's own certificate ends: no certificate of a user is valid for longer.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Distinguishes this CA, with its chain, from others.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.certificate.as_ref(), &self.chain).hash(&mut hasher);
        hasher.finish()
    }

    /// Has this CA issued that certificate, and is what follows it what it would send along?
    pub fn has_issued(&self, chain_pem: &str) -> bool {
        let Ok(chain) = pem::certificates(chain_pem) else { return false };
        let Some((leaf, rest)) = chain.split_first() else { return false };
        let parsed =
            X509Certificate::from_der(leaf).ok().zip(X509Certificate::from_der(&self.certificate).ok());
        let Some(((_, leaf), (_, ca))) = parsed else { return false };
        rest == self.chain
            && leaf.issuer().as_raw() == ca.subject().as_raw()
            && leaf.verify_signature(Some(ca.public_key())).is_ok()
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// What keeps a certificate from being that of a CA for users.
fn fault_of(cert: &X509Certificate<'_>) -> Option<Fault> {
    if cert.version() == X509Version::V1 {
        return Some(Fault::new(
            "it is of X.509 version 1, which cannot say that it is that of a CA",
            format!("create it again: {CA_LINE}"),
        ));
    }
    if !cert.is_ca() {
        return Some(Fault::new(
            "it is not that of a CA (basicConstraints CA is not set)",
            format!("put a CA's certificate and key there, or create it again: {CA_LINE}"),
        ));
    }
    if matches!(cert.key_usage(), Ok(Some(usage)) if !usage.value.key_cert_sign()) {
        return Some(Fault::new(
            "its key usage does not include signing certificates (keyCertSign)",
            format!("create it again: {CA_LINE}"),
        ));
    }
    if let Ok(Some(usage)) = cert.extended_key_usage()
        && !(usage.value.client_auth || usage.value.any)
    {
        return Some(Fault::new(
            "its extended key usage does not include clients (clientAuth), so that servers refuse what it signs for them",
            format!("create it again without extended key usage: {CA_LINE}"),
        ));
    }
    let is_root = cert.subject().as_raw() == cert.issuer().as_raw();
    let weak = tls::weak_signature(cert).filter(|_| !is_root)?;
    Some(Fault::new(
        format!("it is signed with {weak}, which servers do not take any more"),
        "have it signed again with SHA-256: openssl x509 -req -sha256 ...",
    ))
}

fn out_of_date(cert: &X509Certificate<'_>, early: bool) -> Fault {
    let (from, to) = tls::validity(cert);
    let remedy = match early {
        true => "check the clock of this machine; else wait, or create the certificate again",
        false => {
            "renew it; with the same key (openssl x509 -in ca.crt -signkey ca.key -days 3650 -out ca.crt) the servers that trust it still need its new certificate"
        }
    };
    let detail = if early { "is not valid yet" } else { "has expired" };
    Fault::new(format!("it {detail}: it is valid from {from} to {to}"), remedy)
}

fn key_identifier(cert: &X509Certificate<'_>) -> Option<Vec<u8>> {
    cert.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
        _ => None,
    })
}

fn certificate_fault(fault: &Fault) -> Error {
    faulty("the certificate", fault)
}

fn key_fault(fault: &Fault) -> Error {
    faulty("the private key", fault)
}

fn faulty(what: &str, fault: &Fault) -> Error {
    invalid(
        Reason::SecretInvalid,
        &format!("reading {what} of the CA for users"),
        &fault.detail,
        &fault.remedy,
    )
}

fn validity(cert: &X509Certificate<'_>) -> Result<(Timestamp, Timestamp), Error> {
    let validity = cert.validity();
    let time = |at: x509_parser::time::ASN1Time| Timestamp::from_second(at.timestamp()).ok();
    let fault =
        || Fault::new("its validity is beyond what can be expressed", format!("create it again: {CA_LINE}"));
    time(validity.not_before).zip(time(validity.not_after)).ok_or_else(|| certificate_fault(&fault()))
}
