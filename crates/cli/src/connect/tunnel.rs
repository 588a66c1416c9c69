//! `connect --proxy`: a local port for clients with windows, and what to enter in them.

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rand::distr::{Alphanumeric, SampleString as _};
use rolecall_api::TlsMode;
use rolecall_pki::tls::{self, Tls};
use secrecy::SecretString;
use serde::Serialize;

use super::proxy::{Proxy, Upstream};
use super::server::{Kind, Started};
use super::{Running, stay};
use crate::Exit;
use crate::args::{ConnectArgs, Global};
use crate::output;

/// Length of the password that clients log in with at the proxy.
const PASSWORD: usize = 24;

/// What to enter in a client.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    api_version: &'static str,
    kind: &'static str,
    /// The session's name.
    session: String,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// Where the client connects.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// The logical database.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    /// Who the client is on the server.
    user: String,
    /// What it logs in with at the proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    /// All of it but the password.
    uri: String,
}

/// Opens the port, says what to enter, and stays until somebody interrupts or the session is over.
pub(super) async fn run(
    global: &Global,
    args: &ConnectArgs,
    started: Started,
    running: Running<'_>,
) -> anyhow::Result<Exit> {
    let Running { session, identity, signals } = running;
    let Started { access, credentials, kind } = started;
    let user = access.username.clone();
    let mut entry = Entry {
        api_version: "cli.rolecall.dev/v1",
        kind: "Proxy",
        session: session.name().to_owned(),
        expires_at: access.expires.map(|time| time.to_string()),
        host: None,
        port: None,
        database: args.db_name.clone(),
        user,
        password: None,
        uri: String::new(),
    };
    let server = match kind {
        Kind::Postgres(server) => server,
        Kind::Mongodb(way) => {
            // Its clients check the server's own name, and are led to it.
            entry.uri = way.uri_with_files(args.db_name.as_deref(), identity);
            show(global, &entry)?;
            return stay(session, identity, signals, |_| ()).await;
        }
    };
    let target = server.target(&access, &access.username);
    let own = identity.authorities().map(std::fs::read_to_string).transpose();
    let certificate = match credentials.are_certificates() {
        true => Some(std::fs::read_to_string(identity.certificate()).context("reading the certificate")?),
        false => None,
    };
    let key = identity.key_pem();
    let shown = Arc::new(RwLock::new(certificate.map(|certificate| (certificate, key.clone()))));
    let upstream = Upstream {
        route: server.route.clone(),
        tls: Tls {
            mode: match target.tls {
                // The name goes unchecked only against authorities of one's own.
                TlsMode::VerifyCa if identity.authorities().is_some() => tls::TlsMode::VerifyCa,
                TlsMode::VerifyCa | TlsMode::VerifyFull => tls::TlsMode::VerifyFull,
                TlsMode::Disable => tls::TlsMode::Disable,
            },
            ca_pem: own.context("reading the CAs")?,
            server_name: None,
        },
        server_name: target.server_name.clone(),
        credentials,
        database: target.database.clone(),
        access,
        identity: Arc::clone(&shown),
    };
    let password = Alphanumeric.sample_string(&mut rand::rng(), PASSWORD);
    let proxy = Proxy::open(upstream, args.port, SecretString::from(password.clone())).await?;
    let address = proxy.address();
    let part = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    entry.host = Some(address.ip().to_string());
    entry.port = Some(address.port());
    entry.database = Some(target.database.clone());
    entry.password = Some(password);
    entry.uri =
        format!("postgresql://{}@{address}/{}?sslmode=disable", part(&entry.user), part(&target.database));
    show(global, &entry)?;
    stay(session, identity, signals, |pem| {
        let mut shown = shown.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((certificate, _)) = shown.as_mut() {
            *certificate = String::from_utf8_lossy(pem).into_owned();
        }
    })
    .await
}

fn show(global: &Global, entry: &Entry) -> anyhow::Result<()> {
    output::print(&output::render(entry, global.output(), || table(entry))?)
}

/// For people.
fn table(entry: &Entry) -> String {
    let Entry { session, expires_at, host, port, database, user, password, uri, .. } = entry;
    let until = expires_at.as_ref().map(|time| format!(" at {time}")).unwrap_or_default();
    let mut text =
        format!("The session {session} is there until this ends (Ctrl-C), or ends by itself{until}.\n");
    let mut line = |name: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {name:<10}{value}");
    };
    if let (Some(host), Some(port)) = (host, port) {
        line("Host", host);
        line("Port", &port.to_string());
    }
    if let Some(database) = database {
        line("Database", database);
    }
    line("User", user);
    if let Some(password) = password {
        line("Password", password);
        line("SSL mode", "disable: this speaks TLS to the server, and the port is open to this machine only");
    }
    line("URI", uri);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_enter_is_shown() {
        let entry = Entry {
            api_version: "cli.rolecall.dev/v1",
            kind: "Proxy",
            session: "alice-orders-x".to_owned(),
            expires_at: Some("2026-01-01T00:00:00Z".to_owned()),
            host: Some("127.0.0.1".to_owned()),
            port: Some(15432),
            database: Some("horizon".to_owned()),
            user: "alice".to_owned(),
            password: Some("p".to_owned()),
            uri: "postgresql://alice@127.0.0.1:15432/horizon?sslmode=disable".to_owned(),
        };
        let text = table(&entry);
        let names: Vec<&str> =
            text.lines().skip(1).filter_map(|line| line.get(2..12)).map(str::trim).collect();
        assert_eq!(names, ["Host", "Port", "Database", "User", "Password", "SSL mode", "URI"], "{text}");
    }
}
