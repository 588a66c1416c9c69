//! What the admin user logs in with.
//!
//! Five wrong passwords lock a user out, the admin user as well. So a password that was refused twice is not tried
//! again: another one means another configuration, and so another engine.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rolecall_engine::{Class, Error, Login, Reason};
use tokio::sync::{Mutex, MutexGuard};

use super::config::{Auth, Config};

/// How often a password is tried that the server refuses.
const TRIES: u32 = 2;

/// Counts the refusals of the configured password.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    refused: AtomicU32,
    /// Held from the moment a password is taken until the server has answered: several that are tried at once would all
    /// be wrong before the first of them is counted.
    trying: Mutex<()>,
}

/// What to log in with. While it lives, no other login with a password is tried.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) login: Login,
    _alone: Option<MutexGuard<'a, ()>>,
}

impl Logins {
    /// What is lent, where it is: whoever lends it takes its own time, which is not that of the server.
    ///
    /// # Errors
    ///
    /// Why nobody lends it.
    pub(crate) async fn lent(&self, config: &Config) -> Result<Option<Login>, Error> {
        match &config.auth {
            Auth::Lent(source) => source.login().await.map(Some),
            Auth::Password(_) => Ok(None),
        }
    }

    /// What to log in with now: what was lent, or the password, one login at a time.
    ///
    /// # Errors
    ///
    /// The password was refused too often.
    pub(crate) async fn attempt(&self, config: &Config, lent: Option<Login>) -> Result<Attempt<'_>, Error> {
        if let Some(login) = lent {
            return Ok(Attempt { login, _alone: None });
        }
        let alone = self.trying.lock().await;
        Ok(Attempt { login: self.password(config)?, _alone: Some(alone) })
    }

    fn password(&self, config: &Config) -> Result<Login, Error> {
        match &config.auth {
            Auth::Password(password) if self.refused.load(Relaxed) < TRIES => {
                Ok(Login { username: config.admin_user.clone(), secret: password.clone() })
            }
            _ => Err(Error {
                class: Class::Unreachable,
                reason: Reason::LoginFailed,
                attempted: format!("connecting to {} as {:?}", config.address(), config.admin_user),
                code: "28000".to_owned(),
                detail: format!(
                    "the server has refused its password {TRIES} times, and a few more would lock the user out"
                ),
                remedy: "put the right password into the Secret; where the user is locked by now, run ALTER USER ... PASSWORD as a superuser".to_owned(),
            }),
        }
    }

    /// The server let nobody in with it.
    pub(crate) fn refused(&self, config: &Config) {
        match &config.auth {
            Auth::Lent(source) => source.refused(),
            Auth::Password(_) => drop(self.refused.fetch_add(1, Relaxed)),
        }
    }

    /// The server let the admin user in.
    pub(crate) fn accepted(&self) {
        self.refused.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_not_tried_until_the_user_is_locked_out() {
        let config = Config::new("wh", 5439, "adm", Auth::Password("wrong".into()));
        let logins = Logins::default();
        for _ in 0..TRIES {
            assert_eq!(logins.attempt(&config, None).await.unwrap().login.username, "adm");
            logins.refused(&config);
        }
        assert_eq!(logins.attempt(&config, None).await.unwrap_err().reason, Reason::LoginFailed);
        logins.accepted();
        assert!(logins.attempt(&config, None).await.is_ok());
    }
}
