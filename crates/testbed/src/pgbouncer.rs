//! A real PgBouncer in front of a PostgreSQL.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::error::{Error, Result};
use crate::postgres::Postgres;
use crate::process::{Program, Spec};
use crate::scratch::Scratch;
use crate::{components, ports};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// For how long a client keeps a connection of the pooler to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// For its session.
    Session,
    /// For a transaction.
    Transaction,
}

/// A running PgBouncer. It stops, and its directory is removed, when this value is dropped or the process dies.
///
/// Clients prove themselves to it by a certificate, as they do to the server. It does not prove whose session it opens
/// at the server: give that [`PgBouncer::server_hba`].
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    _program: Program,
    // Dropped last: the directory goes when the program has ended.
    _dir: Scratch,
}

impl PgBouncer {
    /// Starts one in front of `server`, for these users. `settings` are lines of pgbouncer.ini, as
    /// `ignore_startup_parameters = options`.
    ///
    /// # Errors
    /// When it cannot be fetched (on other systems than Debian and Ubuntu) or does not start.
    pub async fn start(server: &Postgres, mode: PoolMode, users: &[&str], settings: &str) -> Result<Self> {
        let prepared = tokio::task::spawn_blocking(components::pgbouncer).await;
        // The closure does not panic, and the runtime cancels blocking tasks only while it shuts down.
        let installation = prepared.map_err(|error| Error::Build {
            component: "PgBouncer".to_owned(),
            detail: error.to_string(),
        })??;
        let account = Account::unprivileged();
        let dir = Scratch::new("pgbouncer", account)?;
        let port = ports::free()?;
        let (certificate, clients) = server.front()?;
        let users: String =
            users.iter().map(|user| format!("\"{}\" \"\"\n", user.replace('"', "\"\""))).collect();
        let configuration = configuration(server.port(), port, dir.path(), mode, settings);
        for (name, text) in [
            ("server.crt", certificate.cert_pem.as_str()),
            ("server.key", &certificate.key_pem),
            ("clients.crt", clients.cert_pem()),
            ("users.txt", &users),
            ("pgbouncer.ini", &configuration),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, text).map_err(Error::io("writing", &path))?;
            account.own(&path)?;
        }
        let program = Program::start(Spec {
            name: "PgBouncer",
            program: &installation.program,
            args: vec![dir.path().join("pgbouncer.ini").display().to_string()],
            env: installation.environment,
            dir: dir.path(),
            log: dir.path().join("log"),
            account,
            end_signal: "TERM",
        })?;
        let deadline = Instant::now() + START_TIMEOUT;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if !program.is_running() {
                return Err(program.failure("ended while starting"));
            }
            if Instant::now() > deadline {
                return Err(program.failure("was not ready in time"));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Self { port, _program: program, _dir: dir })
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lines of pg_hba.conf that let whatever it opens in.
    pub fn server_hba() -> &'static str {
        "hostssl all all 127.0.0.1/32 trust\n"
    }
}

fn configuration(server: u16, port: u16, dir: &Path, mode: PoolMode, settings: &str) -> String {
    let dir = dir.display();
    let mode = match mode {
        PoolMode::Session => "session",
        PoolMode::Transaction => "transaction",
    };
    format!(
        "[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = cert
auth_file = {dir}/users.txt
client_tls_sslmode = verify-full
client_tls_ca_file = {dir}/clients.crt
client_tls_cert_file = {dir}/server.crt
client_tls_key_file = {dir}/server.key
server_tls_sslmode = require
pool_mode = {mode}
{settings}
"
    )
}
