//! What to log in with, where it changes over time.

use rolecall_engine::{Error, Login};
use secrecy::ExposeSecret;

use super::Connector;
use crate::transport::config::Auth;

impl Connector {
    /// What to log in with, where it changes over time.
    pub(super) async fn login(&self) -> Result<Option<Login>, Error> {
        match &self.config.auth {
            Auth::Login(source) => source.login().await.map(Some),
            Auth::X509 { .. } | Auth::Password(_) => Ok(None),
        }
    }

    pub(super) async fn login_after_refusal(&self, refused: Option<&Login>) -> Result<Option<Login>, Error> {
        if let (Auth::Login(source), Some(refused)) = (&self.config.auth, refused) {
            source.refused(refused);
        }
        self.login().await
    }
}

/// Is it worth trying after the other one was refused?
pub(super) fn is_another(login: Option<&Login>, before: Option<&Login>) -> bool {
    let secret = |login: &Login| login.secret.expose_secret().to_owned();
    login.map(secret) != before.map(secret)
}
