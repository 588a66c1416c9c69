//! What a failure to open a connection means, by the types in its chain of causes.

use std::error::Error as _;
use std::io;

use rolecall_engine::error::cause;
use rolecall_engine::{Class, Error, Reason};
use rolecall_pki::tls::{self, TlsClient};
use rustls_pki_types::UnixTime;

use super::config::{Auth, Config};
use super::sqlstate;
use crate::quote::identifier;

/// Says what was attempted.
pub(crate) fn failed(config: &Config, class: Class, reason: Reason, detail: String, remedy: &str) -> Error {
    Error {
        class,
        reason,
        attempted: format!("connecting to {} as {:?}", config.address(), config.admin_user),
        code: String::new(),
        detail,
        remedy: remedy.to_owned(),
    }
}

/// Nothing answers there.
pub(crate) fn unreachable(config: &Config, detail: String) -> Error {
    let remedy = "check the address, the cluster (is it paused?) and the network between";
    failed(config, Class::Unreachable, Reason::DatabaseUnreachable, detail, remedy)
}

/// What a failed attempt to connect means.
pub(crate) fn refused(
    config: &Config,
    tls: Option<&TlsClient>,
    database: &str,
    error: &tokio_postgres::Error,
) -> Error {
    if let Some(said) = error.as_db_error() {
        return login_refused(config, database, said);
    }
    if let (Some(cause), Some(client)) = (cause::<rustls::Error>(error), tls) {
        let chain = client.verifier.refused();
        let server = tls::ServerFacts {
            host: config.tls.server_name.as_ref().unwrap_or(&config.host),
            chain: &chain,
            trusted: client.verifier.trusted(),
            trusts_leaves: true,
            name_remedy: "set tls.serverName to a name that it has, or tls.mode: VerifyCa",
        };
        let fault = tls::handshake(cause, server, None, UnixTime::now());
        return failed(config, Class::Unreachable, Reason::TlsFailed, fault.detail, &fault.remedy);
    }
    if let Some(cause) = cause::<io::Error>(error) {
        return unreachable(config, cause.to_string());
    }
    // Neither the network, nor TLS, nor the server's word: it asks for a proof that is not known here (its own ones for
    // sha256 passwords and identity providers), or speaks no TLS.
    let detail = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    let remedy = match &config.auth {
        Auth::Password(_) => format!(
            "let the password be an md5 one (ALTER USER {} PASSWORD 'md5...' with the md5 of password and name), and let the cluster speak TLS",
            identifier(&config.admin_user)
        ),
        Auth::Lent(_) => "check that a Redshift cluster listens there, and that it speaks TLS".to_owned(),
    };
    failed(config, Class::Unreachable, Reason::LoginFailed, detail, &remedy)
}

fn login_refused(config: &Config, database: &str, said: &tokio_postgres::error::DbError) -> Error {
    let code = said.code().code();
    let (class, reason) = sqlstate::meaning_of_login(code);
    let admin = identifier(&config.admin_user);
    let remedy = match (code, &config.auth) {
        (sqlstate::LOGIN_REFUSED | "28P01", Auth::Password(_)) => {
            "check the password, and that the user is not locked".to_owned()
        }
        (sqlstate::LOGIN_REFUSED | "28P01", Auth::Lent(_)) => {
            "check that auth.awsIam names this cluster: the password was issued for it".to_owned()
        }
        // AWS lends credentials for users that do not exist.
        (sqlstate::UNDEFINED_OBJECT, _) => {
            format!(
                "create the admin user: CREATE USER {admin} PASSWORD DISABLE; GRANT ROLE \"sys:superuser\" TO {admin}"
            )
        }
        _ => String::new(),
    };
    let mut error = failed(config, class, reason, said.message().to_owned(), &remedy);
    code.clone_into(&mut error.code);
    error.attempted.push_str(&format!(", database {database:?},"));
    error
}
