//! How a server is set up before its first start.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::{PgVersion, Postgres};
use crate::account::Account;
use crate::certificates::Authority;
use crate::components::PostgresInstallation;
use crate::error::{Error, Result};
use crate::scratch::{Scratch, copy_tree};
use crate::{components, ports};

/// Certificates for everybody, passwords for the members of one role.
pub(super) const DEFAULT_HBA: &str = "\
hostssl all +password_users 0.0.0.0/0 scram-sha-256
hostssl all +password_users ::/0 scram-sha-256
hostssl all all 0.0.0.0/0 cert
hostssl all all ::/0 cert
";

/// The superuser's access, which no test may close.
const SUPERUSER_HBA: &str = "local all postgres trust\nlocal replication postgres trust\n";

/// Durable against a killed server, not against a power cut; small, because many run at once.
const SETTINGS: [(&str, &str); 13] = [
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "16MB"),
    ("max_connections", "100"),
    ("max_prepared_transactions", "10"),
    ("max_wal_size", "256MB"),
    ("min_wal_size", "2MB"),
    ("jit", "off"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
    ("password_encryption", "scram-sha-256"),
    // In files below the data directory, which go with it, where POSIX segments would stay behind after a kill.
    ("dynamic_shared_memory_type", "mmap"),
    ("ssl", "on"),
    ("listen_addresses", "127.0.0.1, ::1"),
];

/// Which PostgreSQL to start.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// This version, in English.
    Version(PgVersion),
    /// The distribution's version, in German.
    German,
}

/// A server that is about to be started.
#[derive(Clone, Debug)]
pub struct PostgresBuilder {
    source: Source,
    settings: BTreeMap<String, String>,
    hba: String,
    identity: Option<(String, String)>,
    client_cas: String,
}

impl PostgresBuilder {
    pub(super) fn new(source: Source) -> Self {
        let settings =
            SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { source, settings, hba: DEFAULT_HBA.to_owned(), identity: None, client_cas: String::new() }
    }

    /// Sets a parameter of postgresql.conf, for example `("max_connections", "20")`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Replaces the lines of pg_hba.conf after the superuser's local one; see [`Postgres::default_hba`].
    pub fn hba(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.hba);
        self
    }

    /// Another certificate and key of the server, as PEM.
    pub fn identity(mut self, cert_pem: &str, key_pem: &str) -> Self {
        self.identity = Some((cert_pem.to_owned(), key_pem.to_owned()));
        self
    }

    /// More CAs, as PEM, whose client certificates the server takes.
    pub fn client_cas(mut self, pem: &str) -> Self {
        self.client_cas.push_str(pem);
        self
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// # Errors
    /// When the component cannot be fetched or the server does not start.
    pub async fn start(self) -> Result<Postgres> {
        let prepared = tokio::task::spawn_blocking(move || self.prepare()).await;
        // The closure does not panic, and the runtime cancels blocking tasks only while it shuts down.
        let server = prepared.map_err(|error| Error::Build {
            component: "PostgreSQL".to_owned(),
            detail: error.to_string(),
        })??;
        server.create().await
    }

    /// Everything before the process: blocking work on files.
    fn prepare(self) -> Result<Postgres> {
        let installation = match self.source {
            Source::Version(version) => components::postgres(version)?,
            Source::German => components::german_postgres()?,
        };
        let account = Account::unprivileged();
        let dir = Scratch::new(&format!("pg{}", installation.version.major()), account)?;
        let data = dir.path().join("data");
        copy_tree(&installation.template, &data, account)?;

        let server_authority = Authority::new("Rolecall test server CA")?;
        let client_authority = Authority::new("Rolecall test client CA")?;
        let (certificate, key) = match self.identity.clone() {
            Some(identity) => identity,
            None => {
                let server = server_authority.server(&["localhost", "127.0.0.1", "::1"])?;
                (server.cert_pem, server.key_pem)
            }
        };
        write(&data.join("server.crt"), &certificate, account)?;
        write(&data.join("server.key"), &key, account)?;
        let client_cas = format!("{}{}", client_authority.cert_pem(), self.client_cas);
        write_client_cas(&data, &client_cas, account)?;
        write_hba(&data, &self.hba, account)?;
        write(&data.join("postgresql.conf"), &self.configuration(&installation, dir.path()), account)?;

        Ok(Postgres {
            installation,
            port: ports::free()?,
            server_authority: Arc::new(server_authority),
            client_authority: Arc::new(client_authority),
            account,
            program: Mutex::new(None),
            dir,
        })
    }

    fn configuration(&self, installation: &PostgresInstallation, socket_dir: &Path) -> String {
        let socket_dir = socket_dir.display().to_string();
        let files = [
            ("ssl_cert_file", "server.crt"),
            ("ssl_key_file", "server.key"),
            ("ssl_ca_file", "clients.crt"),
            ("unix_socket_directories", socket_dir.as_str()),
        ];
        let own = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // The last line wins, and the test's own are the last.
        files.iter().copied().chain(installation.settings).chain(own).fold(
            String::new(),
            |mut text, (name, value)| {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
                text
            },
        )
    }
}

/// Writes pg_hba.conf.
pub(super) fn write_hba(data: &Path, lines: &str, account: Account) -> Result<()> {
    write(&data.join("pg_hba.conf"), &format!("{SUPERUSER_HBA}{lines}\n"), account)
}

/// Writes the CAs whose client certificates the server takes.
pub(super) fn write_client_cas(data: &Path, pem: &str, account: Account) -> Result<()> {
    write(&data.join("clients.crt"), pem, account)
}

/// The environment of the server, nothing of the caller's.
pub(super) fn environment() -> Vec<(&'static str, String)> {
    vec![("LC_ALL", "C".to_owned()), ("TZ", "UTC".to_owned())]
}

/// Writes a file that only `account` may read, as PostgreSQL demands of keys.
fn write(path: &Path, text: &str, account: Account) -> Result<()> {
    fs::write(path, text).map_err(Error::io("writing", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(Error::io("closing", path))?;
    account.own(path)
}
