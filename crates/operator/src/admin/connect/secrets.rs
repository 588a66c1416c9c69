//! The Secrets that a DatabaseAdmin names.

use std::hash::{DefaultHasher, Hash};

use k8s_openapi::api::core::v1::Secret;
use rolecall_api::reasons;
use secrecy::SecretString;

use crate::Shared;
use crate::account::lifecycle::Obstacle;

/// The Secrets of one namespace, read on demand; what was read goes into the fingerprint.
pub(super) struct Secrets<'a> {
    shared: &'a Shared,
    namespace: String,
    /// The fingerprint so far.
    pub(super) hash: DefaultHasher,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(shared: &'a Shared, namespace: String) -> Self {
        Self { shared, namespace, hash: DefaultHasher::new() }
    }

    /// One value; `at` is the field that names the Secret.
    pub(super) async fn text(&mut self, name: &str, key: &str, at: &str) -> Result<String, Obstacle> {
        let secret = self.secret(name, at).await?;
        self.value(&secret, name, key, at)
    }

    /// A certificate and its key, of a Secret of type `kubernetes.io/tls`.
    pub(super) async fn key_pair(
        &mut self,
        name: &str,
        at: &str,
    ) -> Result<(String, SecretString), Obstacle> {
        let secret = self.secret(name, at).await?;
        let certificate = self.value(&secret, name, "tls.crt", at)?;
        Ok((certificate, self.value(&secret, name, "tls.key", at)?.into()))
    }

    async fn secret(&self, name: &str, at: &str) -> Result<Secret, Obstacle> {
        match self.shared.objects.secret(&self.namespace, name).await {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(Obstacle::stalled(
                reasons::SECRET_NOT_FOUND,
                format!("there is no Secret {name:?} in this namespace, which {at} names"),
            )),
            Err(error) => Err(Obstacle::passing(
                reasons::PENDING,
                format!("the Secret {name:?}, which {at} names, could not be read: {error}"),
            )),
        }
    }

    fn value(&mut self, secret: &Secret, name: &str, key: &str, at: &str) -> Result<String, Obstacle> {
        let Some(value) = secret.data.as_ref().and_then(|data| data.get(key)) else {
            return Err(Obstacle::stalled(
                reasons::SECRET_NOT_FOUND,
                format!("the Secret {name:?}, which {at} names, has no key {key:?}"),
            ));
        };
        value.0.hash(&mut self.hash);
        String::from_utf8(value.0.clone()).map_err(|_| {
            Obstacle::stalled(
                reasons::SECRET_INVALID,
                format!("the key {key:?} of the Secret {name:?}, which {at} names, is no text"),
            )
        })
    }
}
