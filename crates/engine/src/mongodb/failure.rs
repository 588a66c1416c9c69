//! What failures of the driver mean: told apart by kind and code, never by text.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mongodb::bson::Document;
use mongodb::error::ErrorKind;
use mongodb::event::sdam::SdamEvent;
use mongodb::options::ServerAddress;
use rustls::{AlertDescription, CertificateError};

use super::code;
use super::config::Config;
use super::name::user_name_of;
use crate::{Class, Error, Reason};

/// What the driver last saw when it looked at each member. A command only learns that there is no server for it, or
/// nothing at all.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: Mutex<HashMap<String, mongodb::error::Error>>,
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    /// When each member answered last.
    last: HashMap<String, Instant>,
    /// The last one that said that it takes writes.
    primary: Option<String>,
}

impl Health {
    pub(super) fn note(&self, event: SdamEvent) {
        match event {
            SdamEvent::ServerHeartbeatFailed(event) => {
                self.failures().insert(event.server_address.to_string(), event.failure);
            }
            SdamEvent::ServerHeartbeatSucceeded(event) => {
                let member = event.server_address.to_string();
                self.failures().remove(&member);
                let mut answers = self.answers();
                if event.reply.get_bool("isWritablePrimary").unwrap_or_default() {
                    answers.primary = Some(member.clone());
                }
                answers.last.insert(member, Instant::now());
            }
            SdamEvent::ServerClosed(event) => drop(self.failures().remove(&event.address.to_string())),
            _ => {}
        }
    }

    /// The driver could not reach it when it looked last.
    pub(super) fn is_failing(&self, member: &ServerAddress) -> bool {
        self.failures().contains_key(&member.to_string())
    }

    /// Some failure of TLS, else some other.
    fn worst(&self) -> Option<mongodb::error::Error> {
        let failures = self.failures();
        let tls = failures.values().find(|failure| tls_error(failure).is_some());
        tls.or_else(|| failures.values().next()).cloned()
    }

    /// For how long this member has not answered the driver, which looks every few seconds; `None`: the primary. Nothing
    /// is known of one that never answered.
    pub(super) fn silent_for(&self, member: Option<&ServerAddress>) -> Option<Duration> {
        let answers = self.answers();
        let member = member.map(ToString::to_string).or_else(|| answers.primary.clone())?;
        answers.last.get(&member).map(Instant::elapsed)
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<String, mongodb::error::Error>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the server, the driver or the connection said about a command.
pub(super) fn said(what: &str, error: &mongodb::error::Error, health: &Health, config: &Config) -> Error {
    let failed = |class, reason, detail: String, remedy: &str| Error {
        class,
        reason,
        attempted: what.to_owned(),
        code: String::new(),
        detail,
        remedy: remedy.to_owned(),
    };
    let unreachable = |detail: String| {
        let remedy = "check the address, the server and the network between; a replica set needs a primary";
        failed(Class::Unreachable, Reason::DatabaseUnreachable, detail, remedy)
    };
    match &*error.kind {
        ErrorKind::Command(said) if said.code == code::AUTHENTICATION_FAILED => {
            Error { code: code::text(said.code), ..not_let_in(what, config) }
        }
        ErrorKind::Command(said) => {
            let (class, reason) = code::meaning(said.code);
            let remedy = match said.code {
                code::UNAUTHORIZED => {
                    "the condition Capable of the DatabaseAdmin names what the admin user lacks"
                }
                _ => "",
            };
            Error { code: code::text(said.code), ..failed(class, reason, said.message.clone(), remedy) }
        }
        // Its message repeats the whole answer to another command.
        ErrorKind::ConnectionPoolCleared { .. } => unreachable(format!(
            "{} failed another command, so its connections were given up",
            config.address
        )),
        ErrorKind::Authentication { .. } => not_let_in(what, config),
        ErrorKind::InvalidTlsConfig { message, .. } => {
            failed(Class::Invalid, Reason::SecretInvalid, message.clone(), "put PEM into the Secrets")
        }
        ErrorKind::ServerSelection { .. } => match health.worst() {
            Some(cause) => match (tls_error(&cause), closed_at_once(&cause)) {
                (Some(tls), _) => {
                    failed(Class::Unreachable, Reason::TlsFailed, tls.to_string(), tls_remedy(tls))
                }
                (None, true) => {
                    let detail = format!("{} closes the connection at once", config.address);
                    failed(Class::Unreachable, Reason::DatabaseUnreachable, detail, CLOSED_REMEDY)
                }
                (None, false) => unreachable(format!("{}: {}", config.address, cause.kind)),
            },
            None => unreachable(format!("{} has no member that could take it", config.address)),
        },
        kind => match tls_error(error) {
            Some(tls) => failed(Class::Unreachable, Reason::TlsFailed, tls.to_string(), tls_remedy(tls)),
            None => unreachable(format!("{}: {kind}", config.address)),
        },
    }
}

fn not_let_in(what: &str, config: &Config) -> Error {
    Error {
        class: Class::Unreachable,
        reason: Reason::LoginFailed,
        attempted: what.to_owned(),
        code: String::new(),
        detail: format!("{} does not let the admin user in", config.address),
        remedy: format!(
            "check that the user {:?} exists in $external, that its certificate has this subject, and that a CA of the server's net.tls.CAFile has signed it",
            user_name_of(&config.admin_user)
        ),
    }
}

/// A change that was made, but not confirmed by a majority in time.
pub(super) fn unconfirmed(what: &str, said: &Document) -> Error {
    let number = said.get_i32("code").unwrap_or(code::WRITE_CONCERN_FAILED);
    let (class, reason) = code::meaning(number);
    Error {
        class,
        reason,
        attempted: what.to_owned(),
        code: code::text(number),
        detail: "not enough members of the replica set have confirmed it in time".to_owned(),
        remedy: "check that a majority of the members is up and keeps up with the primary".to_owned(),
    }
}

/// The server went away under the command, or is not primary any more: it may have been carried out or not.
pub(super) fn is_interrupted(error: &Error) -> bool {
    let number = error.code.strip_prefix("MongoDB ").and_then(|code| code.parse().ok());
    match number {
        Some(number) => code::is_election(number),
        None => error.class == Class::Unreachable && error.reason == Reason::DatabaseUnreachable,
    }
}

/// The failure of TLS that is behind it.
fn tls_error(error: &mongodb::error::Error) -> Option<&rustls::Error> {
    match &*error.kind {
        ErrorKind::Io(io) => io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        _ => None,
    }
}

/// The server says nothing when it does not like the client's certificate.
fn closed_at_once(error: &mongodb::error::Error) -> bool {
    matches!(&*error.kind, ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof)
}

const CLOSED_REMEDY: &str = "check that the admin user's certificate has not expired, and that a CA of the server's net.tls.CAFile has signed it; else check what is between";

fn tls_remedy(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "the server's certificate is not signed by the CA given: correct the CA",
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server's certificate is made out to another name: write that name into spec.uri",
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "renew the server's certificate",
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the server says that the admin user's certificate has expired: renew it"
        }
        rustls::Error::AlertReceived(_) => {
            "the server does not accept the admin user's certificate: it must be signed by a CA of the server's net.tls.CAFile"
        }
        _ => "",
    }
}
