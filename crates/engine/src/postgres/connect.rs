//! One connection: how it is opened, and what a failure to do so means.

use std::error::Error as _;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use secrecy::ExposeSecret;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::backends::{Backend, Backends};
use super::config::{Auth, Config};
use super::sqlstate;
use super::tls;
use super::version::Version;
use super::{guard, observe, rights};
use crate::counters::Counters;
use crate::{Class, Error, Reason};

/// How long a connection that nobody wants any more may take to end in order.
const FAREWELL: Duration = Duration::from_secs(2);

/// Opens connections to one server.
pub(super) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    options: String,
    counters: Arc<Counters>,
    backends: Arc<Backends>,
}

/// An open connection. It closes when this is dropped.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) version: Version,
    /// One message where others announced something on a channel that this connection listens to, however much it was.
    /// It closes with the connection.
    pub(super) announced: mpsc::Receiver<()>,
    /// Which of ours it is.
    backend: Option<Backend>,
    /// Dropped with the connection: tells its task to come to an end.
    _alive: oneshot::Sender<()>,
}

impl Connector {
    pub(super) fn new(config: Config, counters: Arc<Counters>) -> Result<Self, Error> {
        let tls = tls::client_config(&config)?.map(MakeRustlsConnect::new);
        let options = startup_options(&config);
        Ok(Self { config, tls, options, counters, backends: Arc::default() })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Opens a connection to a database. `permit` is given back when the connection has ended, not before.
    pub(super) async fn open(
        &self,
        database: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<Connection, Error> {
        let deadline = self.config.connect_timeout;
        match tokio::time::timeout(deadline, self.open_unbounded(database, permit)).await {
            Ok(result) => result,
            Err(_) => Err(self.unreachable(format!("no login within {} s", deadline.as_secs_f32()))),
        }
    }

    async fn open_unbounded(
        &self,
        database: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<Connection, Error> {
        // Looked up each time: after a failover the name means another address.
        let host = (self.config.host.as_str(), self.config.port);
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(host)
            .await
            .map_err(|error| self.unreachable(format!("the host name cannot be resolved: {error}")))?
            .collect();
        if addresses.is_empty() {
            return Err(self.unreachable("the host name has no address".to_owned()));
        }
        let config = self.startup(database, &addresses);
        match &self.tls {
            Some(tls) => self.handshake(&config, tls.clone(), database, permit).await,
            None => self.handshake(&config, NoTls, database, permit).await,
        }
    }

    fn startup(&self, database: &str, addresses: &[SocketAddr]) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        // The host is the name that TLS verifies; the address is what is dialled.
        let name = self.config.tls.server_name.as_ref().unwrap_or(&self.config.host);
        for address in addresses {
            config.host(name).hostaddr(address.ip()).port(self.config.port);
        }
        config
            .user(&self.config.admin_user)
            .dbname(database)
            .application_name("rolecall")
            .options(&self.options)
            .ssl_mode(if self.tls.is_some() { SslMode::Require } else { SslMode::Disable })
            .connect_timeout(self.config.connect_timeout)
            .tcp_user_timeout(Duration::from_secs(30))
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3);
        match &self.config.auth {
            Auth::Password(password) => config.password(password.expose_secret()),
            // A server that asks for a password gets to refuse this one, with its SQLSTATE.
            Auth::X509 { .. } => config.password(""),
        };
        config
    }

    async fn handshake<T>(
        &self,
        config: &tokio_postgres::Config,
        tls: T,
        database: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<Connection, Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, mut connection) =
            config.connect(tls).await.map_err(|error| self.refused(database, &error))?;
        let version = Version::parse(connection.parameter("server_version").unwrap_or_default());
        let (alive, mut abandoned) = oneshot::channel::<()>();
        let counters = Arc::clone(&self.counters);
        counters.opened();
        let backends = Arc::clone(&self.backends);
        let (announce, announced) = mpsc::channel(1);
        tokio::spawn(async move {
            // Notices are of no use: what was achieved is read back, and their text may be in any language.
            let mut ended = std::pin::pin!(async move {
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notification(sent) = message
                        && !backends.are_ours(sent.process_id())
                    {
                        // Where one waits already, it says as much.
                        let _ = announce.try_send(());
                    }
                }
            });
            tokio::select! {
                () = &mut ended => {}
                _ = &mut abandoned => drop(tokio::time::timeout(FAREWELL, ended).await),
            }
            counters.closed();
            drop(permit);
        });
        let mut connection = Connection { client, version, announced, backend: None, _alive: alive };
        connection.version.check_supported()?;
        self.settle(&mut connection, database).await?;
        Ok(connection)
    }

    /// Settings that not every version knows, so that the startup packet cannot hold them, and the large query.
    async fn settle(&self, connection: &mut Connection, database: &str) -> Result<(), Error> {
        let mut statements = connection.version.session_settings(self.config.statement_timeout);
        statements.extend(observe::prepare(connection.version.dialect));
        statements.extend([guard::prepare(), rights::prepare(), Backends::QUERY.to_owned()]);
        self.counters.sent(statements.len());
        let answers = connection
            .client
            .simple_query(&statements.join(";"))
            .await
            .map_err(|error| self.refused(database, &error))?;
        connection.backend = self.backends.note(&answers);
        Ok(())
    }

    fn unreachable(&self, detail: String) -> Error {
        self.failed(
            Class::Unreachable,
            Reason::DatabaseUnreachable,
            detail,
            "check the address, the server and the network between",
        )
    }

    fn failed(&self, class: Class, reason: Reason, detail: String, remedy: &str) -> Error {
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
    fn refused(&self, database: &str, error: &tokio_postgres::Error) -> Error {
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
        let (class, reason, remedy) = match (code, &self.config.auth) {
            (sqlstate::INSUFFICIENT_PRIVILEGE, _) => (
                Class::Refused,
                Reason::MissingConnect,
                format!(
                    "run GRANT CONNECT ON DATABASE {} TO {}",
                    super::quote::identifier(database),
                    super::quote::identifier(&self.config.admin_user)
                ),
            ),
            ("28P01", Auth::X509 { .. }) => (
                Class::Unreachable,
                Reason::LoginFailed,
                "the server asks for a password: let pg_hba.conf ask for the method cert".to_owned(),
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
            _ => {
                let (class, reason) = sqlstate::meaning(code);
                (class, reason, String::new())
            }
        };
        let mut error = self.failed(class, reason, said.message().to_owned(), &remedy);
        code.clone_into(&mut error.code);
        // Appending to a String cannot fail.
        let _ = write!(error.attempted, ", database {database:?},");
        error
    }

    fn tls_failed(&self, error: &rustls::Error) -> Error {
        let remedy = match error {
            // BadSignature: a CA of the same name, made anew.
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => "the server's certificate is not signed by the CA given: correct the CA",
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => {
                "the server's certificate is made out to another name: set tls.serverName, or tls.mode: VerifyCa"
            }
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => "renew the server's certificate",
            rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
                "the server says that the admin user's certificate has expired: renew it"
            }
            rustls::Error::AlertReceived(
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateRequired
                | AlertDescription::DecryptError,
            ) => {
                "the server does not accept the admin user's certificate: it must be signed by a CA of the server's ssl_ca_file"
            }
            _ => "",
        };
        self.failed(Class::Unreachable, Reason::TlsFailed, error.to_string(), remedy)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Settings that no ALTER ROLE and no ALTER DATABASE can precede: those of the startup packet win.
///
/// Everything is qualified as well; search_path is pinned because operators are looked up in it, too.
/// synchronous_commit: what ends an access must survive a crash right after.
fn startup_options(config: &Config) -> String {
    let mut options = String::new();
    for setting in [
        "search_path=pg_catalog",
        "synchronous_commit=on",
        "idle_in_transaction_session_timeout=10s",
        if config.read_only {
            "default_transaction_read_only=on"
        } else {
            "default_transaction_read_only=off"
        },
        r"default_transaction_isolation=read\ committed",
        "row_security=off",
        "jit=off",
        "plan_cache_mode=force_generic_plan",
        "client_min_messages=warning",
        "standard_conforming_strings=on",
        "DateStyle=ISO",
        "TimeZone=UTC",
    ] {
        options.push_str(&format!("-c {setting} "));
    }
    let [lock, statement] =
        [config.lock_timeout, config.statement_timeout].map(|timeout| timeout.as_millis());
    options.push_str(&format!("-c lock_timeout={lock} -c statement_timeout={statement}"));
    options
}

/// The first cause of this type, also where an `io::Error` wraps it.
fn cause<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|inner| inner.downcast_ref::<T>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
