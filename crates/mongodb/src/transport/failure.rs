//! What failures of the driver mean: classified by kind and code, never by text.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mongodb::bson::Document;
use mongodb::error::ErrorKind;
use mongodb::event::sdam::SdamEvent;
use mongodb::options::ServerAddress;
use rolecall_engine::dialect::mongodb::user_name_of;
use rolecall_engine::{Class, Error, Reason};
use rolecall_pki::pem::Fault;
use rolecall_pki::tls::{self, ClientFacts, ServerFacts, Verifier, Whose};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::transport::code;
use crate::transport::config::Config;

/// What the driver last saw when it checked each member. A command only learns that there is no server for it, or
/// nothing at all.
#[derive(Debug, Default)]
pub(crate) struct Health {
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
    pub(crate) fn note(&self, event: SdamEvent) {
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

    /// The driver could not reach it when it last checked.
    pub(crate) fn is_failing(&self, member: &ServerAddress) -> bool {
        self.failures().contains_key(&member.to_string())
    }

    /// Some failure of TLS, else some other.
    fn worst(&self) -> Option<mongodb::error::Error> {
        let failures = self.failures();
        let tls = failures.values().find(|failure| tls_error(failure).is_some());
        tls.or_else(|| failures.values().next()).cloned()
    }

    /// For how long this member has not answered the driver, which checks every few seconds; `None`: the primary.
    /// Nothing is known of one that never answered.
    pub(crate) fn silent_for(&self, member: Option<&ServerAddress>) -> Option<Duration> {
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

/// What is known beside a failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) health: &'a Health,
    pub(crate) config: &'a Config,
    /// What the admin user shows: its certificate first.
    pub(crate) chain: &'a [CertificateDer<'static>],
}

impl Context<'_> {
    /// Why a handshake failed; `shown`: the certificate of the server, and what it sends with it, where that is known.
    pub(crate) fn tls_fault(&self, error: &rustls::Error, host: &str, shown: Option<&Verifier>) -> Fault {
        let refused = shown.map(Verifier::refused).unwrap_or_default();
        let named = self.config.tls.ca_pem.as_ref().map(|_| &[][..]);
        let server = ServerFacts {
            host,
            chain: &refused,
            trusted: shown.map_or(named, Verifier::trusted),
            trusts_leaves: false,
            name_remedy: "write a name that it has into spec.uri",
        };
        let client = ClientFacts { whose: Whose::Admin, chain: self.chain, trust: trusting };
        tls::handshake(error, server, Some(client), UnixTime::now())
    }

    /// The first host, where the driver does not say which.
    fn host(&self) -> String {
        self.config.address.hosts().first().map(|(host, _)| host.clone()).unwrap_or_default()
    }

    /// The server says nothing when it does not like the client's certificate.
    fn closed(&self) -> Fault {
        let client = ClientFacts { whose: Whose::Admin, chain: self.chain, trust: trusting };
        let fault = tls::refused_client(client, UnixTime::now());
        Fault::new(
            format!("{} closes the connection at once: {}", self.config.address, fault.detail),
            format!("{}; else check what is between", fault.remedy),
        )
    }
}

/// How the server comes to take client certificates of a CA.
pub(crate) fn trusting(ca: &str) -> String {
    format!(
        "it must be signed by a CA of the server's net.tls.CAFile: append the certificate of {ca} to that file (net.tls.clusterCAFile, where that is set) on every member, then run db.rotateCertificates() there, or restart it"
    )
}

/// What the server, the driver or the connection said about a command.
pub(crate) fn said(what: &str, error: &mongodb::error::Error, context: Context<'_>) -> Error {
    let Context { health, config, .. } = context;
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
        // All of it was checked before the driver saw it.
        ErrorKind::InvalidTlsConfig { .. } => failed(
            Class::Invalid,
            Reason::SecretInvalid,
            "the driver for MongoDB does not take the admin user's certificate or key".to_owned(),
            "issue the certificate as X.509 version 3, with a key on P-256 (openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256)",
        ),
        ErrorKind::ServerSelection { .. } => match health.worst() {
            Some(cause) => match (tls_error(&cause), closed_at_once(&cause)) {
                (Some(tls), _) => {
                    let fault = context.tls_fault(tls, &context.host(), None);
                    failed(Class::Unreachable, Reason::TlsFailed, fault.detail, &fault.remedy)
                }
                (None, true) => {
                    let fault = context.closed();
                    failed(Class::Unreachable, Reason::DatabaseUnreachable, fault.detail, &fault.remedy)
                }
                (None, false) => unreachable(format!("{}: {}", config.address, cause.kind)),
            },
            None => unreachable(format!("{} has no member that could take it", config.address)),
        },
        kind => match tls_error(error) {
            Some(tls) => {
                let fault = context.tls_fault(tls, &context.host(), None);
                failed(Class::Unreachable, Reason::TlsFailed, fault.detail, &fault.remedy)
            }
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
pub(crate) fn unconfirmed(what: &str, said: &Document) -> Error {
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
pub(crate) fn is_interrupted(error: &Error) -> bool {
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

/// The connection ended where an answer was due.
fn closed_at_once(error: &mongodb::error::Error) -> bool {
    matches!(&*error.kind, ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof)
}
