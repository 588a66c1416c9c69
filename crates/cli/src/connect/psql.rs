//! psql, PostgreSQL's shell.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use rolecall_api::{DatabaseAdmin, TlsMode};
use tokio::process::Command;

use super::client::Program;
use super::identity::Identity;
use super::session::Access;

/// The program.
pub(super) const PSQL: Program = Program {
    name: "psql",
    origin: "install PostgreSQL's client programs: the package postgresql-client of Debian and Ubuntu",
};

/// Variables that would change what psql connects to, or how.
const FOREIGN: [&str; 16] = [
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
    /// Whether the server's name is checked, beside its authority.
    pub verify_name: bool,
}

impl Target {
    /// The server of a session, at its own address or at another one.
    pub(super) fn new(admin: &DatabaseAdmin, access: &Access, elsewhere: Option<SocketAddr>) -> Self {
        let connection = &access.connection;
        Self {
            server_name: admin.spec.tls.server_name.clone().unwrap_or_else(|| connection.host.clone()),
            address: elsewhere.map(|address| address.ip()),
            port: elsewhere.map_or(connection.port, |address| address.port()),
            database: connection.database.clone().unwrap_or_default(),
            username: access.username.clone(),
            verify_name: admin.spec.tls.mode == TlsMode::VerifyFull,
        }
    }
}

/// The variables by which psql connects there. With them no argument is needed, and none shows who connects where.
pub fn environment(
    target: &Target,
    certificate: OsString,
    key: OsString,
    authorities: Option<OsString>,
) -> Vec<(&'static str, OsString)> {
    // libpq trusts the system's authorities only together with the name.
    let verify_name = target.verify_name || authorities.is_none();
    let mut variables = vec![
        ("PGHOST", target.server_name.clone().into()),
        ("PGPORT", target.port.to_string().into()),
        ("PGDATABASE", target.database.clone().into()),
        ("PGUSER", target.username.clone().into()),
        ("PGSSLMODE", if verify_name { "verify-full" } else { "verify-ca" }.into()),
        ("PGSSLCERT", certificate),
        ("PGSSLKEY", key),
        // The word means the system's.
        ("PGSSLROOTCERT", authorities.unwrap_or_else(|| "system".into())),
    ];
    // An empty one would be resolved; only a missing one means "as PGHOST says".
    variables.extend(target.address.map(|address| ("PGHOSTADDR", address.to_string().into())));
    variables
}

/// The program with what it needs to connect.
pub(super) fn command(program: &Path, target: &Target, identity: &Identity) -> Command {
    let mut command = Command::new(program);
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    let authorities = identity.authorities().map(OsString::from);
    command.envs(environment(target, identity.certificate().into(), identity.key().into(), authorities));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_goes_unchecked_only_against_authorities_of_ones_own() {
        let mut target = Target {
            server_name: "orders-db".to_owned(),
            address: None,
            port: 5432,
            database: "horizon".to_owned(),
            username: "alice".to_owned(),
            verify_name: false,
        };
        let mode = |target: &Target, authorities: Option<&str>| {
            let variables = environment(target, "crt".into(), "key".into(), authorities.map(OsString::from));
            let text = |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
            assert_eq!(text("PGHOSTADDR"), None);
            (text("PGSSLMODE"), text("PGSSLROOTCERT"))
        };
        assert_eq!(mode(&target, Some("ca")), (Some("verify-ca".into()), Some("ca".into())));
        assert_eq!(mode(&target, None), (Some("verify-full".into()), Some("system".into())));
        target.verify_name = true;
        assert_eq!(mode(&target, Some("ca")), (Some("verify-full".into()), Some("ca".into())));
    }
}
