//! The keys that a verifier knows.

use std::fmt;

/// The AWS credentials of somebody.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret: String,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
}

impl Keys {
    /// Credentials with or without a session token.
    pub fn new(access_key_id: &str, secret: &str, session_token: Option<&str>) -> Self {
        Self {
            access_key_id: access_key_id.to_owned(),
            secret: secret.to_owned(),
            session_token: session_token.map(str::to_owned),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// All keys that a verifier knows.
#[derive(Clone, Debug, Default)]
pub struct Keyring(Vec<Keys>);

impl Keyring {
    /// With these keys.
    pub fn new(keys: impl IntoIterator<Item = Keys>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Adds keys, or replaces those with the same id.
    pub fn add(&mut self, keys: Keys) {
        self.remove(&keys.access_key_id);
        self.0.push(keys);
    }

    /// Forgets the keys with this id, as after a rotation.
    pub fn remove(&mut self, access_key_id: &str) {
        self.0.retain(|keys| keys.access_key_id != access_key_id);
    }

    /// The keys with this id.
    pub fn find(&self, access_key_id: &str) -> Option<&Keys> {
        self.0.iter().find(|keys| keys.access_key_id == access_key_id)
    }
}
