//! mongosh, MongoDB's shell.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rolecall_api::DatabaseAdmin;
use rolecall_resolve::MongodbAddress as Address;
use tokio::process::Command;

use super::client::Program;
use super::identity::Identity;

/// The program.
pub(super) const MONGOSH: Program = Program {
    name: "mongosh",
    origin: "install MongoDB's shell: https://www.mongodb.com/docs/mongodb-shell/install",
};

/// What can be checked before there is a session.
pub(crate) fn check(address: Option<&str>) -> anyhow::Result<()> {
    if address.is_some() {
        bail!(
            "--address does not work with MongoDB, whose clients check the name that they dial; let the server's own \
             name lead to that address, for example in /etc/hosts"
        );
    }
    Ok(())
}

/// The program with what it needs to connect.
pub(super) fn command(
    program: &Path,
    admin: &DatabaseAdmin,
    database: Option<&str>,
    identity: &Identity,
) -> anyhow::Result<Command> {
    let address = Address::parse(&admin.spec.uri).context("reading spec.uri of the DatabaseAdmin")?;
    let mut command = Command::new(program);
    command.args(arguments(
        &address,
        database,
        identity.together().into(),
        identity.authorities().map(OsString::from),
    ));
    Ok(command)
}

/// The user is not named: it is the subject of the certificate. Nothing in the arguments is secret.
fn arguments(
    address: &Address,
    database: Option<&str>,
    identity: OsString,
    authorities: Option<OsString>,
) -> Vec<OsString> {
    let (uri, options) = (address.to_string(), address.uri());
    let options = options.split_once('?').map_or("", |(_, options)| options);
    let database = utf8_percent_encode(database.unwrap_or_default(), NON_ALPHANUMERIC);
    let mut arguments: Vec<OsString> =
        vec![format!("{uri}/{database}?{options}").into(), "--tlsCertificateKeyFile".into(), identity];
    arguments.extend(authorities.into_iter().flat_map(|file| ["--tlsCAFile".into(), file]));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_gets_every_host_and_the_files() {
        let address = Address::parse("mongodb://m0,m1/?replicaSet=rs0").expect("it is an address");
        let given = arguments(&address, Some("sh op"), "/d/tls.pem".into(), Some("/d/ca.crt".into()));
        let uri = "mongodb://m0:27017,m1:27017/sh%20op?tls=true&authMechanism=MONGODB-X509&authSource=%24external\
                   &replicaSet=rs0";
        assert_eq!(given, [uri, "--tlsCertificateKeyFile", "/d/tls.pem", "--tlsCAFile", "/d/ca.crt"]);
        // Without authorities of one's own the shell trusts those of the system.
        let address = Address::parse("m0:1").expect("it is an address");
        let given = arguments(&address, None, "/d/tls.pem".into(), None);
        let uri = "mongodb://m0:1/?tls=true&authMechanism=MONGODB-X509&authSource=%24external";
        assert_eq!(given, [uri, "--tlsCertificateKeyFile", "/d/tls.pem"]);
    }
}
