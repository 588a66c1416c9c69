//! What is needed to reach one server as its admin user.

use std::time::Duration;

use rolecall_pki::tls::{ClientCertificate, Tls};

use crate::transport::address::Address;

/// How to reach one server. [`Config::new`] sets everything that has a default.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server is found.
    pub address: Address,
    /// How the server proves itself. A client certificate needs TLS, and the driver verifies the chain together with
    /// the name that it dials: only `VerifyFull` without `server_name` can be used.
    pub tls: Tls,
    /// How the admin user proves itself.
    pub certificate: ClientCertificate,
    /// The admin user, without `CN=`: the CN of its certificate.
    pub admin_user: String,
    /// Connections for commands to each member of the server at any time. The driver watches each member through two
    /// more, which are not logged in.
    pub max_connections: usize,
    /// For waiting until one of the connections to the primary is free.
    pub acquire_timeout: Duration,
    /// For reaching a server, TLS and login together, and for finding a primary.
    pub connect_timeout: Duration,
    /// For one command; kept by the server.
    pub command_timeout: Duration,
    /// How long a connection that nobody uses stays open.
    pub idle_timeout: Duration,
}

impl Config {
    /// A server with TLS verified against the system's roots, five connections, and short time-outs.
    pub fn new(address: Address, admin_user: impl Into<String>, certificate: ClientCertificate) -> Self {
        Self {
            address,
            tls: Tls::default(),
            certificate,
            admin_user: admin_user.into(),
            max_connections: 5,
            acquire_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_no_secret() {
        let certificate = ClientCertificate { cert_pem: "CERT".into(), key_pem: "hunter2".into() };
        let config = Config::new(Address::parse("m0").unwrap(), "adm", certificate);
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("CERT"), "{shown}");
    }
}
