//! What the admin user logs in with.
//!
//! Five wrong passwords lock a user out, the admin user as well. So a password that was refused twice is not tried
//! again: another one means another configuration, and so another engine.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rolecall_engine::{Class, Error, Login, Reason};

use super::config::{Auth, Config};

/// How often a password is tried that the server refuses.
const TRIES: u32 = 2;

/// Counts the refusals of the configured password.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    refused: AtomicU32,
}

impl Logins {
    /// What to log in with now.
    ///
    /// # Errors
    ///
    /// Why there is nothing: nobody lends it, or it was refused too often.
    pub(crate) async fn get(&self, config: &Config) -> Result<Login, Error> {
        match &config.auth {
            Auth::Lent(source) => source.login().await,
            Auth::Password(_) if self.refused.load(Relaxed) >= TRIES => Err(Error {
                class: Class::Unreachable,
                reason: Reason::LoginFailed,
                attempted: format!("connecting to {} as {:?}", config.address(), config.admin_user),
                code: "28000".to_owned(),
                detail: format!(
                    "the server has refused its password {TRIES} times, and a few more would lock the user out"
                ),
                remedy: "put the right password into the Secret; where the user is locked by now, run ALTER USER ... PASSWORD as a superuser".to_owned(),
            }),
            Auth::Password(password) => {
                Ok(Login { username: config.admin_user.clone(), secret: password.clone() })
            }
        }
    }

    /// The server let nobody in with it. True where it is worth another try at once, with what is lent anew.
    pub(crate) fn refused(&self, config: &Config) -> bool {
        match &config.auth {
            Auth::Lent(source) => {
                source.refused();
                true
            }
            Auth::Password(_) => {
                self.refused.fetch_add(1, Relaxed);
                false
            }
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
            assert_eq!(logins.get(&config).await.unwrap().username, "adm");
            assert!(!logins.refused(&config));
        }
        assert_eq!(logins.get(&config).await.unwrap_err().reason, Reason::LoginFailed);
        logins.accepted();
        assert!(logins.get(&config).await.is_ok());
    }
}
