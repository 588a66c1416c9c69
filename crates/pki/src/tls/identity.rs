//! A client's certificate with its key, checked before anything is dialled.

use std::sync::Arc;

use rolecall_engine::Error;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{ADMIN_CERTIFICATE, ADMIN_KEY, facts, invalid};
use crate::pem::{self, Fault, NEW_KEY};

/// The admin user's certificate with its chain, and its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    pub(super) certified: Arc<CertifiedKey>,
}

impl Identity {
    /// # Errors
    ///
    /// `Invalid`, naming the part that cannot be used, and why.
    pub fn new(cert_pem: &str, key_pem: &SecretString, provider: &CryptoProvider) -> Result<Self, Error> {
        let chain = pem::certificates(cert_pem).map_err(|fault| invalid(ADMIN_CERTIFICATE, fault))?;
        let key = pem::private_key(key_pem.expose_secret()).map_err(|fault| invalid(ADMIN_KEY, fault))?;
        let loaded = provider.key_provider.load_private_key(key.clone_key());
        let leaf = chain.first().and_then(|der| X509Certificate::from_der(der).ok());
        let loaded = loaded.map_err(|_| {
            let why = leaf.as_ref().and_then(|(_, leaf)| facts::key_fault(leaf.public_key()));
            invalid(ADMIN_KEY, unusable_key(why))
        })?;
        let public = loaded.public_key();
        if let Some(public) = public
            && let Some(fault) = match_fault(&chain, &public)
        {
            return Err(invalid(ADMIN_KEY, fault));
        }
        // Not CertifiedKey::from_der: it refuses certificates of version 1, which servers take.
        let certified = Arc::new(CertifiedKey::new(chain.clone(), loaded));
        Ok(Self { chain, key, certified })
    }
}

/// A key that the TLS library does not take, though it is one; `why`, where its certificate says why.
pub fn unusable_key(why: Option<String>) -> Fault {
    let why = why.unwrap_or_else(|| "it is none of RSA with 2048 bits or more, ECDSA and Ed25519".to_owned());
    Fault::new(why, NEW_KEY)
}

/// That a key does not belong to the first certificate of a chain.
pub fn match_fault(chain: &[CertificateDer<'_>], key: &SubjectPublicKeyInfoDer<'_>) -> Option<Fault> {
    let (_, key) = SubjectPublicKeyInfo::from_der(key).ok()?;
    // The key alone: the rest can be encoded in several ways.
    let is_of = |der: &CertificateDer<'_>| {
        X509Certificate::from_der(der)
            .is_ok_and(|(_, one)| one.public_key().subject_public_key.data == key.subject_public_key.data)
    };
    match chain.iter().position(is_of) {
        Some(0) => None,
        Some(place) => Some(Fault::new(
            format!("it does not belong to the first certificate, but to number {}", place + 1),
            "put the key's own certificate first, and those of the CAs behind it",
        )),
        None => Some(Fault::new(
            "it does not belong to the certificate",
            "put the two that were made together into the Secret: openssl x509 -in tls.crt -noout -pubkey and openssl pkey -in tls.key -pubout must show the same",
        )),
    }
}
