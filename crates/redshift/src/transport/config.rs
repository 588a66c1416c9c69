//! What is needed to reach one cluster as its admin user.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rolecall_engine::address::host_and_port;
use rolecall_engine::dialect::redshift::name::MAX_USER_BYTES;
use rolecall_engine::{Class, Error, LoginSource, Reason};
use rolecall_pki::tls::Tls;
use secrecy::SecretString;

/// Where clusters listen.
pub const DEFAULT_PORT: u16 = 5439;

/// The logical database that every cluster has.
pub const DEFAULT_DATABASE: &str = "dev";

/// How to reach one cluster. [`Config::new`] sets everything that has a default.
#[derive(Clone, Debug)]
pub struct Config {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether and how the server proves itself.
    pub tls: Tls,
    /// How the admin user proves itself.
    pub auth: Auth,
    /// The admin user, as its database user is called.
    pub admin_user: String,
    /// Where the admin user connects; `None`: in the session's database, and in `dev` where there is none.
    pub default_database: Option<String>,
    /// Connections to the server at any time, over all its databases.
    pub max_connections: usize,
    /// For waiting until one of the connections is free.
    pub acquire_timeout: Duration,
    /// For reaching the server, TLS and login together.
    pub connect_timeout: Duration,
    /// For one statement; kept by the server.
    pub statement_timeout: Duration,
    /// How long a connection that nobody uses stays open.
    pub idle_timeout: Duration,
}

impl Config {
    /// A server with TLS verified against the system's roots, five connections, and time-outs for a server whose
    /// catalogues are slow.
    pub fn new(host: impl Into<String>, port: u16, admin_user: impl Into<String>, auth: Auth) -> Self {
        Self {
            host: host.into(),
            port,
            tls: Tls::default(),
            auth,
            admin_user: admin_user.into(),
            default_database: None,
            max_connections: 5,
            acquire_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
        }
    }

    /// `host:port`, as messages show it.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The list of sessions has no room for the whole of a longer name: the admin user's own sessions would look like those
    /// of somebody else, and an admin user who sees nobody else as if it did.
    pub(crate) fn check_admin_user(&self) -> Result<(), Error> {
        let length = self.admin_user.len();
        if length <= MAX_USER_BYTES {
            return Ok(());
        }
        Err(Error {
            class: Class::Invalid,
            reason: Reason::InvalidUsername,
            attempted: format!("using {} as {:?}", self.address(), self.admin_user),
            code: String::new(),
            detail: format!(
                "the name of the admin user has {length} bytes, and the sessions of a user of Redshift can be told apart by {MAX_USER_BYTES} at most"
            ),
            remedy: "name another admin user in spec.adminUser".to_owned(),
        })
    }
}

/// How the admin user proves itself.
#[derive(Clone)]
pub enum Auth {
    /// By a password.
    Password(SecretString),
    /// By what somebody lends for a while: GetClusterCredentials.
    Lent(Arc<dyn LoginSource>),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password",
            Self::Lent(_) => "Lent",
        })
    }
}

/// Parses `host:port`; without a port: 5439.
///
/// # Errors
///
/// `Invalid` when the text is no address that a server could have.
pub fn parse_address(text: &str) -> Result<(String, u16), Error> {
    host_and_port(text, DEFAULT_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_no_secret() {
        let shown = format!("{:?}", Config::new("wh", 5439, "adm", Auth::Password("hunter2".into())));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn an_admin_user_whose_sessions_would_look_like_those_of_others_is_refused() {
        let named = |length| Config::new("wh", 5439, "x".repeat(length), Auth::Password("p".into()));
        let refused = crate::Redshift::new(named(MAX_USER_BYTES + 1)).unwrap_err();
        assert_eq!((refused.class, refused.reason), (Class::Invalid, Reason::InvalidUsername));
        assert!(refused.to_string().contains("adminUser"), "{refused}");
        assert_eq!(named(MAX_USER_BYTES).check_admin_user(), Ok(()));
    }

    #[test]
    fn the_port_is_that_of_clusters() {
        assert_eq!(parse_address("wh").unwrap(), ("wh".to_owned(), 5439));
    }
}
