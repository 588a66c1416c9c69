//! What is needed to reach one server as its admin user.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rolecall_engine::address::host_and_port;
use rolecall_engine::{Error, LoginSource};
use rolecall_pki::tls::Tls;
use secrecy::SecretString;

use crate::transport::platform::Platform;
use crate::transport::sqlstate::LoginBy;

/// How to reach one server. [`Config::new`] sets everything that has a default.
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
    /// The admin user: LOGIN and CREATEROLE, on 16+ also ADMIN OPTION on the roles that it hands out.
    pub admin_user: String,
    /// Where the admin user connects; `None`: in the session's database, and in `postgres` where there is none.
    pub default_database: Option<String>,
    /// What kind of server it is.
    pub platform: Platform,
    /// Its name leads to whichever server is the writer of a cluster: one that only reads is a failover under way.
    pub leads_to_writer: bool,
    /// Connections to the server at any time, over all its databases.
    pub max_connections: usize,
    /// For waiting until one of the connections is free.
    pub acquire_timeout: Duration,
    /// For reaching the server, TLS and login together.
    pub connect_timeout: Duration,
    /// For one statement; kept by the server.
    pub statement_timeout: Duration,
    /// For waiting on a lock; kept by the server.
    pub lock_timeout: Duration,
    /// How long a connection that nobody uses stays open.
    pub idle_timeout: Duration,
    /// Transactions are read-only: what would write fails with SQLSTATE 25006, and the preflight creates nothing. For
    /// callers that only read.
    pub read_only: bool,
    /// From 16 on, where the admin user is no superuser: about how many accounts each creator role holds. Up to so many
    /// roles the admin user creates accounts by itself. `0`: it always does.
    pub accounts_per_creator: usize,
}

impl Config {
    /// A server with TLS verified against the system's roots, five connections, and short time-outs.
    pub fn new(host: impl Into<String>, port: u16, admin_user: impl Into<String>, auth: Auth) -> Self {
        Self {
            host: host.into(),
            port,
            tls: Tls::default(),
            auth,
            admin_user: admin_user.into(),
            default_database: None,
            platform: Platform::default(),
            leads_to_writer: false,
            max_connections: 5,
            acquire_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            read_only: false,
            accounts_per_creator: 100,
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
}

/// How the admin user proves itself.
#[derive(Clone)]
pub enum Auth {
    /// By a client certificate.
    X509 {
        /// The certificate, with its chain, as PEM.
        cert_pem: String,
        /// Its private key, as PEM.
        key_pem: SecretString,
    },
    /// By a password.
    Password(SecretString),
    /// By a password that changes over time. It is sent as it is, so TLS is required.
    Login(Arc<dyn LoginSource>),
}

impl Auth {
    /// What the admin user logs in with.
    pub(crate) fn by(&self) -> LoginBy {
        match self {
            Self::X509 { .. } => LoginBy::Certificate,
            Self::Password(_) => LoginBy::Password,
            Self::Login(_) => LoginBy::Token,
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X509 { .. } => "X509",
            Self::Password(_) => "Password",
            Self::Login(_) => "Login",
        })
    }
}

/// Parses `host:port`: `orders-db.shop.svc:5432`, `10.0.0.1:5432`, `[::1]:5432`. Without a port: 5432.
///
/// # Errors
///
/// `Invalid` when the text is no address that a server could have.
pub fn parse_address(text: &str) -> Result<(String, u16), Error> {
    host_and_port(text, 5432)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_no_secret() {
        let auth = Auth::X509 { cert_pem: "CERT".into(), key_pem: "hunter2".into() };
        let shown = format!("{:?}", Config::new("db", 5432, "adm", auth));
        assert!(!shown.contains("hunter2") && !shown.contains("CERT"), "{shown}");
        let shown = format!("{:?}", Config::new("db", 5432, "adm", Auth::Password("hunter2".into())));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
