//! psql, PostgreSQL's shell.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};

use rolecall_api::{DatabaseAdmin, TlsMode};
use secrecy::{ExposeSecret, SecretString};
use tokio::process::Command;

use super::client::Program;
use super::identity::Identity;
use super::session::Access;
use crate::reach::{LocalPort, Route};

/// The program.
pub(super) const PSQL: Program = Program {
    name: "psql",
    origin: "install PostgreSQL's client programs: the package postgresql-client of Debian and Ubuntu",
};

/// Variables that would change what psql connects to, or how.
const FOREIGN: [&str; 18] = [
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGREQUIRESSL",
    "PGREQUIREPEER",
    "PGREQUIREAUTH",
    "PGCHANNELBINDING",
    "PGGSSENCMODE",
    "PGSSLCERTMODE",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLSNI",
    "PGTARGETSESSIONATTRS",
    "PGLOADBALANCEHOSTS",
    "PGHOSTADDR",
    "PGSSLCERT",
    "PGSSLKEY",
];

/// Where psql connects, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name that the server's certificate must carry.
    pub server_name: String,
    /// The address to connect to, where it is not that name's.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// The logical database.
    pub database: String,
    /// The user in the database.
    pub username: String,
    /// What of the server is checked.
    pub tls: TlsMode,
}

impl Target {
    /// The server of a session, at its own address or at another one.
    pub(super) fn new(
        admin: &DatabaseAdmin,
        access: &Access,
        username: &str,
        elsewhere: Option<SocketAddr>,
    ) -> Self {
        let connection = &access.connection;
        Self {
            server_name: server_name(admin).unwrap_or_else(|| connection.host.clone()),
            address: elsewhere.map(|address| address.ip()),
            port: elsewhere.map_or(connection.port, |address| address.port()),
            database: connection.database.clone().unwrap_or_default(),
            username: username.to_owned(),
            tls: admin.spec.tls.mode,
        }
    }
}

impl Target {
    /// Whether the connection is over TLS.
    pub(super) fn uses_tls(&self) -> bool {
        self.tls != TlsMode::Disable
    }

    /// What is checked, in libpq's words. `own`: against authorities of one's own.
    pub(super) fn ssl_mode(&self, own: bool) -> &'static str {
        match self.tls {
            TlsMode::Disable => "disable",
            // libpq trusts the system's authorities only together with the name.
            TlsMode::VerifyCa if own => "verify-ca",
            TlsMode::VerifyCa | TlsMode::VerifyFull => "verify-full",
        }
    }
}

/// How the user proves itself.
#[derive(Clone, Debug)]
pub enum Proof {
    /// By a certificate and its key, in these files.
    Certificate {
        /// The certificate.
        certificate: OsString,
        /// The key.
        key: OsString,
    },
    /// By a token.
    Token(SecretString),
}

/// The variables by which psql connects there. With them no argument is needed, and none shows who connects where.
pub fn environment(
    target: &Target,
    proof: &Proof,
    authorities: Option<OsString>,
) -> Vec<(&'static str, OsString)> {
    let mut variables = vec![
        ("PGHOST", target.server_name.clone().into()),
        ("PGPORT", target.port.to_string().into()),
        ("PGDATABASE", target.database.clone().into()),
        ("PGUSER", target.username.clone().into()),
        ("PGSSLMODE", target.ssl_mode(authorities.is_some()).into()),
    ];
    if target.uses_tls() {
        // The word means the system's.
        variables.push(("PGSSLROOTCERT", authorities.unwrap_or_else(|| "system".into())));
    }
    match proof {
        Proof::Certificate { certificate, key } => {
            variables.push(("PGSSLCERT", certificate.clone()));
            variables.push(("PGSSLKEY", key.clone()));
        }
        Proof::Token(token) => variables.push(("PGPASSWORD", token.expose_secret().into())),
    }
    // An empty one would be resolved; only a missing one means "as PGHOST says".
    variables.extend(target.address.map(|address| ("PGHOSTADDR", address.to_string().into())));
    variables
}

/// The name that the server's certificate must carry, where it is another one than that in the address.
pub(super) fn server_name(admin: &DatabaseAdmin) -> Option<String> {
    let own = admin.spec.auth.aws_iam.as_ref().and_then(|iam| iam.endpoint.as_deref());
    let own = own.map(|own| own.split_once(':').map_or(own, |(host, _)| host).to_owned());
    admin.spec.tls.server_name.clone().or(own)
}

/// The address to connect to where it is not the one of the name that the server's certificate carries: the one asked
/// for, a forwarded port, or that of the server where its certificate carries another name.
///
/// # Errors
///
/// No port can be opened.
pub(super) async fn elsewhere(
    route: Route,
    admin: &DatabaseAdmin,
) -> anyhow::Result<(Option<SocketAddr>, Option<LocalPort>)> {
    if route.is_direct() && server_name(admin).is_none_or(|name| name == route.host()) {
        return Ok((None, None));
    }
    let (address, port) = route.local().await?;
    Ok((Some(address), port))
}

/// Lets a program connect there and nowhere else, whatever the caller's environment says.
pub(super) fn set(command: &mut Command, variables: &[(&'static str, OsString)]) {
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    command.envs(variables.iter().map(|(name, value)| (name, value)));
}

/// The variables of a session.
pub(super) fn of_session(
    target: &Target,
    identity: &Identity,
    secret: Option<SecretString>,
) -> Vec<(&'static str, OsString)> {
    let authorities = identity.authorities().map(OsString::from);
    let certificate =
        || Proof::Certificate { certificate: identity.certificate().into(), key: identity.key().into() };
    let proof = secret.map_or_else(certificate, Proof::Token);
    environment(target, &proof, authorities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_takes_the_place_of_a_certificate() {
        let target = Target {
            server_name: "orders".to_owned(),
            address: None,
            port: 5432,
            database: "horizon".to_owned(),
            username: "alice".to_owned(),
            tls: TlsMode::VerifyFull,
        };
        let proof = Proof::Token("token".into());
        let variables = environment(&target, &proof, Some("ca".into()));
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        assert!(names.contains(&"PGPASSWORD") && !names.contains(&"PGSSLCERT"), "{names:?}");
        assert!(!format!("{proof:?}").contains("\"token\""), "{proof:?}");
    }

    #[test]
    fn the_name_goes_unchecked_only_against_authorities_of_ones_own() {
        let mut target = Target {
            server_name: "orders-db".to_owned(),
            address: None,
            port: 5432,
            database: "horizon".to_owned(),
            username: "alice".to_owned(),
            tls: TlsMode::VerifyCa,
        };
        let mode = |target: &Target, authorities: Option<&str>| {
            let proof = Proof::Certificate { certificate: "crt".into(), key: "key".into() };
            let variables = environment(target, &proof, authorities.map(OsString::from));
            let text = |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
            assert_eq!(text("PGHOSTADDR"), None);
            (text("PGSSLMODE"), text("PGSSLROOTCERT"))
        };
        assert_eq!(mode(&target, Some("ca")), (Some("verify-ca".into()), Some("ca".into())));
        assert_eq!(mode(&target, None), (Some("verify-full".into()), Some("system".into())));
        target.tls = TlsMode::VerifyFull;
        assert_eq!(mode(&target, Some("ca")), (Some("verify-full".into()), Some("ca".into())));
        target.tls = TlsMode::Disable;
        assert_eq!(mode(&target, Some("ca")), (Some("disable".into()), None));
    }
}
