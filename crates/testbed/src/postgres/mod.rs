//! Real PostgreSQL servers, each with its own data, certificates and port.

mod builder;
mod client;
mod standby;
mod version;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::{Mutex, OnceCell};

pub use builder::PostgresBuilder;
use builder::Source;
pub use client::rows;
pub use version::PgVersion;

use crate::account::Account;
use crate::certificates::{Authority, Certificate, ClientOptions};
use crate::components::PostgresInstallation;
use crate::error::{Error, Result};
use crate::ports;
use crate::process::{Program, Spec};
use crate::scratch::Scratch;

/// A start takes a fraction of a second; a loaded machine with many servers may need much longer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// A running PostgreSQL server. It stops, and its data is removed, when this value is dropped or the process dies.
///
/// Over TCP only TLS is spoken. Users log in with a client certificate of [`Postgres::client_authority`] whose common
/// name is the user; members of the role `password_users` (see [`Postgres::create_password_user`]) with a SCRAM
/// password. The superuser `postgres` needs no password on the Unix socket, which is what [`Postgres::sql`] uses.
///
/// All servers of one version start from one template, so they share their system identifier.
#[derive(Debug)]
pub struct Postgres {
    installation: PostgresInstallation,
    port: u16,
    server_authority: Arc<Authority>,
    client_authority: Arc<Authority>,
    account: Account,
    program: Mutex<Option<Program>>,
    // Dropped last: the directory goes when the program has ended.
    dir: Scratch,
}

impl Postgres {
    /// A server with settings of your own.
    pub fn builder(version: PgVersion) -> PostgresBuilder {
        PostgresBuilder::new(Source::Version(version))
    }

    /// A server whose messages are German, to show that nothing depends on their wording.
    ///
    /// Its version is that of the machine's Debian or Ubuntu; on other machines the start fails.
    pub fn german() -> PostgresBuilder {
        PostgresBuilder::new(Source::German)
    }

    /// Starts a server with the testbed's settings.
    ///
    /// # Errors
    /// When the component cannot be fetched or the server does not start.
    pub async fn start(version: PgVersion) -> Result<Self> {
        Self::builder(version).start().await
    }

    /// One server of this version for all tests of the process, started on first use.
    ///
    /// Roles belong to the whole server: tests that share it must not use the same names.
    ///
    /// # Errors
    /// When the server does not start; the next call tries again.
    pub async fn shared(version: PgVersion) -> Result<&'static Self> {
        // Never dropped; the servers end because the process does.
        static SHARED: [OnceCell<Postgres>; PgVersion::ALL.len()] =
            [const { OnceCell::const_new() }; PgVersion::ALL.len()];
        SHARED[version.index()].get_or_try_init(|| Self::start(version)).await
    }

    /// The server's version.
    pub fn version(&self) -> PgVersion {
        self.installation.version
    }

    /// The name that the server's certificate is made out to, next to `127.0.0.1` and `::1`.
    pub fn host(&self) -> &'static str {
        "localhost"
    }

    /// The TCP port on 127.0.0.1 and, where the machine has it, ::1. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `localhost:PORT`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host(), self.port)
    }

    /// The directory of the Unix socket, for libpq's `host`. Only the server's account and root may enter.
    pub fn socket_dir(&self) -> &Path {
        self.dir.path()
    }

    /// The CA certificate, as PEM, that the server's certificate is verified with.
    pub fn server_ca_pem(&self) -> &str {
        self.server_authority.cert_pem()
    }

    /// Another certificate of the authority that signed the server's, for what stands before the server.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn server_certificate(&self, names: &[&str]) -> Result<Certificate> {
        self.server_authority.server(names)
    }

    /// The authority whose client certificates the server accepts.
    pub fn client_authority(&self) -> &Authority {
        &self.client_authority
    }

    /// A client certificate, valid now, to log in as `user`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn client_cert(&self, user: &str) -> Result<Certificate> {
        self.client_authority.client(user)
    }

    /// A client certificate for `user` that has expired.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn expired_client_cert(&self, user: &str) -> Result<Certificate> {
        self.client_authority.client_with(user, &ClientOptions::expired())
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Replaces pg_hba.conf by `lines`, keeps the superuser's access over the Unix socket, and reloads.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn set_hba(&self, lines: &str) -> Result<()> {
        builder::write_hba(&self.data(), lines, self.account)?;
        self.sql("postgres", "select pg_reload_conf()").await.map(drop)
    }

    /// Replaces the CAs, as PEM, whose client certificates the server takes, and reloads.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn set_client_cas(&self, pem: &str) -> Result<()> {
        builder::write_client_cas(&self.data(), pem, self.account)?;
        self.sql("postgres", "select pg_reload_conf()").await.map(drop)
    }

    /// The pg_hba.conf lines that the server starts with.
    pub fn default_hba() -> &'static str {
        builder::DEFAULT_HBA
    }

    /// Whether the server process exists (it may be paused or refusing connections).
    pub async fn is_running(&self) -> bool {
        self.program.lock().await.as_ref().is_some_and(Program::is_running)
    }

    /// Stops the server in order: sessions are ended, data is kept (PostgreSQL's fast shutdown).
    pub async fn stop(&self) {
        if let Some(program) = self.program.lock().await.take() {
            program.end(Signal::INT, false, STOP_TIMEOUT).await;
        }
    }

    /// Kills the server and its backends at once, as a crash would. Committed data is kept.
    pub async fn kill(&self) {
        if let Some(program) = self.program.lock().await.take() {
            program.end(Signal::KILL, true, STOP_TIMEOUT).await;
        }
    }

    /// Starts the server again after [`Postgres::stop`] or [`Postgres::kill`], on the same port with the same data.
    ///
    /// # Errors
    /// When it does not start, for example because the port was taken meanwhile.
    pub async fn start_again(&self) -> Result<()> {
        let mut slot = self.program.lock().await;
        if slot.as_ref().is_some_and(Program::is_running) {
            return Ok(());
        }
        *slot = None;
        *slot = Some(self.launch().await?);
        Ok(())
    }

    /// Stops in order and starts again.
    ///
    /// # Errors
    /// As [`Postgres::start_again`].
    pub async fn restart(&self) -> Result<()> {
        self.stop().await;
        self.start_again().await
    }

    /// Freezes the server and its backends: connections are accepted by the kernel and never answered.
    pub async fn pause(&self) {
        if let Some(program) = self.program.lock().await.as_ref() {
            program.pause().await;
        }
    }

    /// Ends a [`Postgres::pause`].
    pub async fn unpause(&self) {
        if let Some(program) = self.program.lock().await.as_ref() {
            program.unpause();
        }
    }

    /// What a pooler in front of this server needs: a certificate of the same authority, and the authority whose client
    /// certificates are accepted.
    pub(crate) fn front(&self) -> Result<(Certificate, &Authority)> {
        let names = [self.host(), "127.0.0.1", "::1"];
        Ok((self.server_authority.server(&names)?, &self.client_authority))
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Starts the server process and waits until it accepts connections.
    async fn launch(&self) -> Result<Program> {
        let pid_file = self.data().join("postmaster.pid");
        // Left by a kill. The id in it may belong to another process by now, which PostgreSQL would take for itself.
        let _ = fs::remove_file(&pid_file);
        let mut env = builder::environment();
        env.extend(self.installation.environment.iter().cloned());
        env.push(("HOME", self.dir.path().display().to_string()));
        let program = Program::start(Spec {
            name: "PostgreSQL",
            program: &self.installation.bin.join("postgres"),
            args: vec![
                "-D".to_owned(),
                self.data().display().to_string(),
                "-p".to_owned(),
                self.port.to_string(),
            ],
            env,
            dir: self.dir.path(),
            log: self.log_path(),
            account: self.account,
            // Immediate shutdown: nobody needs the data, but shared memory is given back.
            end_signal: "QUIT",
        })?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            // The server writes its state into the last line of this file.
            let state = fs::read_to_string(&pid_file).unwrap_or_default();
            if state.lines().last().is_some_and(|line| line.trim_end() == "ready") {
                return Ok(program);
            }
            if !program.is_running() {
                return Err(program.failure("ended while starting"));
            }
            if Instant::now() > deadline {
                return Err(program.failure("was not ready in time"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Makes the server's directory and starts it, on another port when the first one is taken meanwhile.
    async fn create(mut self) -> Result<Self> {
        for _ in 0..10 {
            match self.launch().await {
                Ok(program) => {
                    *self.program.get_mut() = Some(program);
                    return Ok(self);
                }
                Err(Error::Start { log, .. }) if log.contains("Address already in use") => {
                    self.port = ports::free()?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Build {
            component: "PostgreSQL".to_owned(),
            detail: "ten ports in a row were taken".to_owned(),
        })
    }
}
