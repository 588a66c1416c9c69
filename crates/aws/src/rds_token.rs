//! Logins to RDS and Aurora: a token that is signed here, without a call to AWS.
//!
//! A token is a URL without its scheme, signed for the server's own name and port, the database user and the region. It
//! is good for new connections for 15 minutes. RDS lets in about 200 logins a second with new tokens and does not count
//! those with one that it has seen, so a token is used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use percent_encoding::utf8_percent_encode;
use rolecall_engine::{Error, Login, LoginSource};
use secrecy::SecretString;

use crate::credentials::{Aws, Credentials};
use crate::sign::{self, COMPONENT, Scope};

/// How long a token is good for, from its signature on.
const LIVES: Duration = Duration::from_secs(900);
/// How long it is used.
const USED_FOR: Duration = Duration::from_secs(600);

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The server's own name. An alias (a CNAME, an IP address, a tunnel) is refused by the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database user.
    pub user: String,
    /// The region that the server is in.
    pub region: String,
}

/// A token, signed at this time.
///
/// # Errors
///
/// A host that no URL can have.
pub fn token(target: &Target, credentials: &Credentials, at: SystemTime) -> Result<SecretString, Error> {
    let host = target.host.trim_end_matches('.').to_ascii_lowercase();
    let user = utf8_percent_encode(&target.user, COMPONENT);
    let request = format!("{host}:{}/?Action=connect&DBUser={user}", target.port);
    let scope = Scope { service: "rds-db", region: &target.region, at };
    let signed = sign::query(&format!("https://{request}"), scope, LIVES, credentials)?;
    let mut token = request;
    for (name, value) in signed {
        token.push_str(&format!("&{name}={}", utf8_percent_encode(&value, COMPONENT)));
    }
    Ok(token.into())
}

/// Logs in to one server as one user.
#[derive(Debug)]
pub struct RdsLogin {
    aws: Arc<Aws>,
    target: Target,
    cached: Mutex<Option<Cached>>,
}

#[derive(Clone, Debug)]
struct Cached {
    token: SecretString,
    signed: SystemTime,
    until: SystemTime,
}

impl Cached {
    fn new(token: SecretString, credentials: &Credentials, signed: SystemTime) -> Self {
        let until = signed + USED_FOR;
        // The server checks the credentials at the login, not only the token.
        let until = credentials.expiry().map_or(until, |expiry| expiry.min(until));
        Self { token, signed, until }
    }

    /// Not after a clock was put back either.
    fn is_usable(&self, now: SystemTime) -> bool {
        self.signed <= now && now < self.until
    }
}

impl RdsLogin {
    /// With the credentials of this process.
    pub fn new(aws: Arc<Aws>, target: Target) -> Self {
        Self { aws, target, cached: Mutex::default() }
    }

    // A poisoned lock means that a thread panicked between two plain assignments.
    fn cached(&self) -> MutexGuard<'_, Option<Cached>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LoginSource for RdsLogin {
    async fn login(&self) -> Result<Login, Error> {
        let login =
            |cached: &Cached| Login { username: self.target.user.clone(), secret: cached.token.clone() };
        let now = SystemTime::now();
        if let Some(cached) = self.cached().as_ref().filter(|cached| cached.is_usable(now)) {
            return Ok(login(cached));
        }
        let credentials = self.aws.credentials().await?;
        let at = SystemTime::now();
        let made = Cached::new(token(&self.target, &credentials, at)?, &credentials, at);
        Ok(login(self.cached().insert(made)))
    }

    fn refused(&self, login: &Login) {
        self.cached().take_if(|cached| login.has_secret(&cached.token));
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn credentials(lives: Option<u64>) -> Credentials {
        let expiry = lives.map(|lives| SystemTime::now() + Duration::from_secs(lives));
        Credentials::new("AKIDEXAMPLE", "SECRET", Some("SESSION/+=".to_owned()), expiry, "test")
    }

    fn target() -> Target {
        Target {
            host: "db.abc.eu-west-1.rds.amazonaws.com".to_owned(),
            port: 5432,
            user: "alice".to_owned(),
            region: "eu-west-1".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_token_is_used_again_until_it_is_refused() {
        let source = RdsLogin::new(Arc::new(Aws::of(credentials(None), None)), target());
        let first = source.login().await.unwrap();
        assert_eq!(first.username, "alice");
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let second = source.login().await.unwrap();
        assert_eq!(first.secret.expose_secret(), second.secret.expose_secret());
        source.refused(&second);
        let third = source.login().await.unwrap();
        assert_ne!(first.secret.expose_secret(), third.secret.expose_secret());
        // A token of another second would be another one.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        source.refused(&first);
        assert!(third.has_secret(&source.login().await.unwrap().secret), "it was signed since");
        assert!(!format!("{source:?} {third:?}").contains("X-Amz"), "{source:?}");
    }

    #[test]
    fn it_is_used_for_ten_minutes_and_no_longer_than_the_credentials_live() {
        let now = SystemTime::now();
        let in_ = |seconds| now + Duration::from_secs(seconds);
        let cached = Cached::new("token".into(), &credentials(None), now);
        assert!(cached.is_usable(now) && cached.is_usable(in_(599)) && !cached.is_usable(in_(600)));
        assert!(!cached.is_usable(now - Duration::from_secs(1)), "signed in the future");
        let cached = Cached::new("token".into(), &credentials(Some(60)), now);
        assert!(cached.is_usable(in_(30)) && !cached.is_usable(in_(61)));
    }

    #[test]
    fn the_name_is_signed_as_the_server_writes_it() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_460_800);
        let signed = |host: &str| {
            let target = Target { host: host.to_owned(), ..target() };
            token(&target, &credentials(None), at).unwrap().expose_secret().to_owned()
        };
        let plain = signed("db.abc.eu-west-1.rds.amazonaws.com");
        assert_eq!(plain, signed("DB.abc.eu-west-1.rds.amazonaws.com."));
        assert!(
            plain.starts_with("db.abc.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=alice&X-Amz-")
        );
    }
}
