//! What a failure to open a connection means.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;

use rolecall_engine::error::cause;
use rolecall_engine::{Class, Error, Reason};

use super::Connector;
use crate::quote;
use crate::transport::config::Auth;
use crate::transport::{pooler, sqlstate};

impl Connector {
    pub(super) fn unreachable(&self, detail: String) -> Error {
        self.failed(
            Class::Unreachable,
            Reason::DatabaseUnreachable,
            detail,
            "check the address, the server and the network between",
        )
    }

    pub(super) fn failed(&self, class: Class, reason: Reason, detail: String, remedy: &str) -> Error {
        Error {
            class,
            reason,
            attempted: format!("connecting to {} as {:?}", self.config.address(), self.config.admin_user),
            code: String::new(),
            detail,
            remedy: remedy.to_owned(),
        }
    }

    /// What a failed connection attempt means, by the types in its chain of causes.
    pub(super) fn refused(&self, database: &str, error: &tokio_postgres::Error) -> Error {
        if let Some(said) = error.as_db_error() {
            return self.login_refused(database, said);
        }
        if let Some(cause) = cause::<rustls::Error>(error) {
            return self.tls_failed(cause);
        }
        match cause::<io::Error>(error) {
            Some(cause) => self.unreachable(cause.to_string()),
            // Neither the network, nor TLS, nor the server's word: the server does not speak TLS at all.
            None if self.tls.is_some() => {
                let detail = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                self.failed(
                    Class::Unreachable,
                    Reason::TlsFailed,
                    detail,
                    "turn TLS on in the server (ssl = on), or set tls.mode: Disable",
                )
            }
            None => self.unreachable(error.to_string()),
        }
    }

    fn login_refused(&self, database: &str, said: &tokio_postgres::error::DbError) -> Error {
        let code = said.code().code();
        let (admin, name) = (quote::identifier(&self.config.admin_user), quote::identifier(database));
        let (class, reason) = sqlstate::meaning_of_login(code);
        let (class, reason, remedy) = match (code, &self.config.auth) {
            // It was said by a function: nothing but a login event trigger runs one.
            (_, _) if said.where_().is_some() => (
                class,
                if class == Class::Unreachable { reason } else { Reason::LoginFailed },
                "a login event trigger of the database refuses it: let its function name what it uses by schema, or let the admin user pass"
                    .to_owned(),
            ),
            (sqlstate::PROTOCOL_VIOLATION, _) => {
                (Class::Unreachable, Reason::PoolerInBetween, pooler::REMEDY.to_owned())
            }
            (sqlstate::INSUFFICIENT_PRIVILEGE, _) => {
                (Class::Refused, Reason::MissingConnect, format!("run GRANT CONNECT ON DATABASE {name} TO {admin}"))
            }
            ("28P01", Auth::X509 { .. }) => (
                Class::Unreachable,
                Reason::LoginFailed,
                "the server asks for a password: let pg_hba.conf ask for the method cert".to_owned(),
            ),
            ("28000" | "28P01", Auth::Login(_)) => (
                Class::Unreachable,
                Reason::LoginFailed,
                format!(
                    "check that IAM database authentication is on and the role {admin} has LOGIN and rds_iam, that the IAM policy allows rds-db:connect to it with the resource id of this database, and that the token is signed for the database's own name and region (auth.awsIam.endpoint, auth.awsIam.region); the database's log iam-db-auth-error says which"
                ),
            ),
            ("28P01", _) => (
                Class::Unreachable,
                Reason::LoginFailed,
                "check the password, and that the admin user exists with LOGIN".to_owned(),
            ),
            ("28000", _) => (
                Class::Unreachable,
                Reason::LoginFailed,
                "check that the admin user exists with LOGIN, that pg_hba.conf lets it in from here, and that the certificate's common name is its name"
                    .to_owned(),
            ),
            (sqlstate::TOO_MANY_CONNECTIONS, _) => (
                class,
                reason,
                format!(
                    "let the admin user in: ALTER DATABASE {name} CONNECTION LIMIT -1, ALTER ROLE {admin} CONNECTION LIMIT -1, or a larger max_connections; from PostgreSQL 16 on, reserved_connections and GRANT pg_use_reserved_connections TO {admin} keep some for it"
                ),
            ),
            ("55000", _) => (class, reason, format!("run ALTER DATABASE {name} ALLOW_CONNECTIONS true")),
            (_, _) if code.starts_with("58") => (
                class,
                reason,
                format!(
                    "if it is a library to be preloaded: run ALTER DATABASE {name} RESET session_preload_libraries; ALTER ROLE {admin} RESET session_preload_libraries"
                ),
            ),
            _ => (class, reason, String::new()),
        };
        let detail = match said.where_() {
            Some(place) => format!("{} ({})", said.message(), place.replace('\n', ", ")),
            None => said.message().to_owned(),
        };
        let mut error = self.failed(class, reason, detail, &remedy);
        code.clone_into(&mut error.code);
        // Appending to a String cannot fail.
        let _ = write!(error.attempted, ", database {database:?},");
        error
    }

    fn tls_failed(&self, error: &rustls::Error) -> Error {
        let Some((_, tls)) = &self.tls else {
            return self.unreachable("the TLS handshake failed".to_owned());
        };
        let fault = tls.fault(&self.config, error);
        self.failed(Class::Unreachable, Reason::TlsFailed, fault.detail, &fault.remedy)
    }
}
