//! The authority that signs users' certificates.

use std::fmt;

use jiff::Timestamp;
use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::invalid;
use crate::{Error, Reason};

/// A CA that signs client certificates.
pub struct Ca {
    pub(super) issuer: Issuer<'static, KeyPair>,
    /// What a client has to send after its own certificate.
    pub(super) chain_pem: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Ca {
    /// Takes a CA from the PEM texts of a `kubernetes.io/tls` Secret (`tls.crt`, its own certificate first, and
    /// `tls.key`).
    ///
    /// # Errors
    ///
    /// `Invalid` when a text is no PEM, the key is not the certificate's, the certificate may not sign others, or it
    /// is not valid at `now`.
    pub fn from_pem(cert_pem: &str, key_pem: &SecretString, now: Timestamp) -> Result<Self, Error> {
        let chain = CertificateDer::pem_slice_iter(cert_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| fault("the certificate", format!("it is no PEM: {error}")))?;
        let Some(der) = chain.first() else {
            return Err(fault("the certificate", "there is no certificate in it"));
        };
        let key = KeyPair::from_pem(key_pem.expose_secret()).map_err(|_| {
            fault("the private key", "it is no PEM of an unencrypted RSA, ECDSA or Ed25519 key")
        })?;
        let (_, cert) = X509Certificate::from_der(der)
            .map_err(|_| fault("the certificate", "it is no X.509 certificate"))?;
        if cert.public_key().raw != key.subject_public_key_info() {
            return Err(fault("the private key", "it does not belong to the certificate"));
        }
        if !cert.is_ca() {
            return Err(fault("the certificate", "it is not that of a CA (basicConstraints CA is not set)"));
        }
        if matches!(cert.key_usage(), Ok(Some(usage)) if !usage.value.key_cert_sign()) {
            return Err(fault("the certificate", "its key usage does not include signing certificates"));
        }
        let (not_before, not_after) = validity(&cert)?;
        if now < not_before || now > not_after {
            return Err(fault(
                "the certificate",
                format!("it is valid from {not_before} to {not_after} only"),
            ));
        }
        // A server trusts roots; it needs to be shown whatever lies between.
        let chain_pem =
            if cert.subject() == cert.issuer() { String::new() } else { format!("{}\n", cert_pem.trim()) };
        let issuer = Issuer::from_ca_cert_der(der, key)
            .map_err(|error| fault("the certificate", format!("it cannot be used: {error}")))?;
        Ok(Self { issuer, chain_pem, not_before, not_after })
    }

    /// When the CA's own certificate starts to be valid.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When the CA's own certificate ends: no certificate of a user is valid for longer.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

fn fault(what: &str, why: impl Into<String>) -> Error {
    invalid(
        Reason::SecretInvalid,
        &format!("reading {what} of the CA for users"),
        why,
        "put the CA's certificate and its key, both as PEM, into the Secret",
    )
}

fn validity(cert: &X509Certificate<'_>) -> Result<(Timestamp, Timestamp), Error> {
    let validity = cert.validity();
    let time = |at: x509_parser::time::ASN1Time| Timestamp::from_second(at.timestamp()).ok();
    time(validity.not_before)
        .zip(time(validity.not_after))
        .ok_or_else(|| fault("the certificate", "its validity is beyond what can be expressed"))
}
