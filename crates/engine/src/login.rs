//! Logins of an admin user that change over time: a token, or a password that somebody lends for a while.

use std::fmt;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::Error;

/// What one connection logs in with.
#[derive(Clone)]
pub struct Login {
    /// The name to log in as. It may differ from the name of the database user: Redshift wants a prefix.
    pub username: String,
    /// The password: a token, or one that works for some minutes.
    pub secret: SecretString,
}

impl Login {
    /// Is it the same secret?
    pub fn has_secret(&self, secret: &SecretString) -> bool {
        self.secret.expose_secret() == secret.expose_secret()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Where the login of an admin user comes from. Engines ask before each connection that they open, so an
/// implementation caches.
#[async_trait]
pub trait LoginSource: Send + Sync + fmt::Debug {
    /// The login to use now.
    ///
    /// # Errors
    ///
    /// Why there is none: no credentials, or whoever lends it refuses.
    async fn login(&self) -> Result<Login, Error>;

    /// The server has refused this login: it is not given out again. One that was made since is kept. Engines ask once
    /// more then, and try once more where the answer is another one.
    fn refused(&self, login: &Login);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_no_secret() {
        let shown = format!("{:?}", Login { username: "adm".to_owned(), secret: "hunter2".into() });
        assert!(shown.contains("adm") && !shown.contains("hunter2"), "{shown}");
    }
}
