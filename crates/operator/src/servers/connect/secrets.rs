//! The Secrets that a DatabaseAdmin names.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash};

use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{CaSecretRef, reasons};
use secrecy::SecretString;

use crate::api_writer::ApiWriter;
use crate::model::Blocker;
use crate::servers::proof::Proof;
use crate::servers::teardown_secret::data_key;

/// The Secrets of one namespace, read on demand; what was read goes into the fingerprint.
pub(super) struct Secrets<'a> {
    api: &'a ApiWriter,
    namespace: String,
    /// Values that are used instead of those in the Secrets.
    kept: Proof,
    /// What was read so far.
    pub(super) proof: Proof,
    /// The fingerprint so far.
    pub(super) hash: DefaultHasher,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(api: &'a ApiWriter, namespace: String, kept: Proof) -> Self {
        Self { api, namespace, kept, proof: Proof::default(), hash: DefaultHasher::new() }
    }

    /// One value; `at` is the field that names the Secret.
    pub(super) async fn text(&mut self, name: &str, key: &str, at: &str) -> Result<String, Blocker> {
        let data = self.data(name, &[key], at).await?;
        self.value(&data, name, key, at)
    }

    /// A certificate and its key, of a Secret of type `kubernetes.io/tls`.
    pub(super) async fn key_pair(&mut self, name: &str, at: &str) -> Result<(String, SecretString), Blocker> {
        let data = self.data(name, &["tls.crt", "tls.key"], at).await?;
        let certificate = self.value(&data, name, "tls.crt", at)?;
        Ok((certificate, self.value(&data, name, "tls.key", at)?.into()))
    }

    /// The data of a Secret, or what was kept of it.
    async fn data(&self, name: &str, keys: &[&str], at: &str) -> Result<BTreeMap<String, Vec<u8>>, Blocker> {
        let kept = |key: &&str| Some(((*key).to_owned(), self.kept.0.get(&data_key(name, key))?.clone()));
        if let Some(kept) = keys.iter().map(kept).collect() {
            return Ok(kept);
        }
        let data = self.secret(name, at).await?.data.unwrap_or_default();
        Ok(data.into_iter().map(|(key, value)| (key, value.0)).collect())
    }

    /// The certificate and the key of a CA.
    pub(super) async fn authority(
        &mut self,
        reference: &CaSecretRef,
        at: &str,
    ) -> Result<(String, SecretString), Blocker> {
        let (certificate_key, private_key_key) = reference.keys();
        let data = self.data(&reference.name, &[certificate_key, private_key_key], at).await?;
        let field = format!("{at}.certificateKey");
        let certificate = self.named(&data, &reference.name, certificate_key, at, Some(&field))?;
        let field = format!("{at}.privateKeyKey");
        let key = self.named(&data, &reference.name, private_key_key, at, Some(&field))?;
        Ok((certificate, key.into()))
    }

    async fn secret(&self, name: &str, at: &str) -> Result<Secret, Blocker> {
        match self.api.secret(&self.namespace, name).await {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(Blocker::awaited(
                reasons::SECRET_NOT_FOUND,
                format!("there is no Secret {name:?} in this namespace, which {at} names"),
            )),
            Err(error) => Err(Blocker::passing(
                reasons::PENDING,
                format!("the Secret {name:?}, which {at} names, could not be read: {error}"),
            )),
        }
    }

    fn value(
        &mut self,
        data: &BTreeMap<String, Vec<u8>>,
        name: &str,
        key: &str,
        at: &str,
    ) -> Result<String, Blocker> {
        self.named(data, name, key, at, None)
    }

    /// `field`: the field that names the key, where there is one.
    fn named(
        &mut self,
        data: &BTreeMap<String, Vec<u8>>,
        name: &str,
        key: &str,
        at: &str,
        field: Option<&str>,
    ) -> Result<String, Blocker> {
        let Some(value) = data.get(key) else {
            let keys: Vec<&str> = data.keys().map(String::as_str).collect();
            let has = if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
            let remedy = field.map(|field| format!("; name the right one in {field}")).unwrap_or_default();
            return Err(Blocker::awaited(
                reasons::SECRET_NOT_FOUND,
                format!("the Secret {name:?}, which {at} names, has no key {key:?}, but {has}{remedy}"),
            ));
        };
        value.hash(&mut self.hash);
        self.proof.0.insert(data_key(name, key), value.clone());
        String::from_utf8(value.clone()).map_err(|_| {
            Blocker::stalled(
                reasons::SECRET_INVALID,
                format!(
                    "the key {key:?} of the Secret {name:?}, which {at} names, is not text; a certificate in DER becomes PEM by openssl x509 -inform der -in OLD -out NEW, a key by openssl pkey -inform der, a PKCS #12 file (.p12, .pfx) by openssl pkcs12 -nodes"
                ),
            )
        })
    }
}
