//! One connection: how it is opened.
//!
//! | module | contains |
//! |---|---|
//! | `connection` | a connection that is open |
//! | `login` | what to log in with, where it changes over time |
//! | `refusal` | what a failure to open one means |

mod connection;
mod login;
mod refusal;

use std::collections::HashSet;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rolecall_engine::counters::Counters;
use rolecall_engine::{Class, Error, Login, Reason};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, CancelToken, Client, NoTls, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::transport::announcement::{Announcements, announcements};
use crate::transport::backends::{Backend, Backends};
use crate::transport::config::{Auth, Config};
use crate::transport::platform::Platform;
use crate::transport::pooler::{self, Signs};
use crate::transport::progress::Progress;
use crate::transport::session::{self, Prepared, Startup};
use crate::transport::sqlstate;
use crate::transport::tls::{Tls, request_tls};
use crate::transport::version::{Dialect, Version};

/// How long a connection that is not needed any more may take to close properly.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// How long the server is asked to cancel a statement, and whether it is there at all.
const ASKING: Duration = Duration::from_secs(3);

/// How often a new session is made what it has to be.
const ATTEMPTS: u32 = 10;

/// Opens connections to one server.
pub(crate) struct Connector {
    config: Arc<Config>,
    tls: Option<(MakeRustlsConnect, Tls)>,
    prepared: Prepared,
    counters: Arc<Counters>,
    backends: Arc<Backends>,
    signs: Signs,
    known: Mutex<Known>,
    /// Counts the connections that broke: those that ended and were not closed here.
    broken: Arc<watch::Sender<u64>>,
}

/// What earlier logins have shown.
#[derive(Debug, Default)]
struct Known {
    dialect: Option<Dialect>,
    /// Databases with a login event trigger that fails with a pinned search path.
    triggered: HashSet<String>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct NotOpened {
    pub(crate) error: Error,
    /// It may concern this logical database alone.
    pub(crate) elsewhere: bool,
}

impl From<NotOpened> for Error {
    fn from(not: NotOpened) -> Self {
        not.error
    }
}

/// An open connection. It closes when this is dropped.
pub(crate) struct Connection {
    /// Dropped with the connection, and before it: signals its task that it is no longer needed.
    _alive: oneshot::Sender<()>,
    pub(crate) client: Client,
    pub(crate) version: Version,
    /// What others announced on a channel that this connection listens to. It ends with the connection.
    pub(crate) announced: Announcements,
    config: Arc<Config>,
    prepared: Prepared,
    /// Which of ours it is.
    backend: Option<Backend>,
    /// What the session said of itself when it began: see [`session::identity`].
    identity: Vec<Option<String>>,
    /// Messages may meet other sessions than this one.
    shared: OnceLock<()>,
    /// Warnings of the server so far.
    warnings: Arc<AtomicU64>,
}

impl rolecall_engine::idle::Connection for Connection {
    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl Connector {
    pub(crate) fn new(config: Config, counters: Arc<Counters>, prepared: Prepared) -> Result<Self, Error> {
        let tls = Tls::new(&config)?.map(|tls| (MakeRustlsConnect::new(tls.client.config.clone()), tls));
        Ok(Self {
            config: Arc::new(config),
            tls,
            prepared,
            counters,
            backends: Arc::default(),
            signs: Signs::default(),
            known: Mutex::default(),
            broken: Arc::new(watch::Sender::new(0)),
        })
    }

    /// Signs that something between here and the server keeps connections of its own.
    pub(crate) fn signs(&self) -> &Signs {
        &self.signs
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Changes whenever a connection breaks.
    pub(crate) fn broken(&self) -> watch::Receiver<u64> {
        self.broken.subscribe()
    }

    /// A connection is of no use any more, though it has not come to an end.
    pub(crate) fn note_broken(&self) {
        self.broken.send_modify(|broken| *broken += 1);
    }

    /// The backends of its connections.
    pub(crate) fn backends(&self) -> &Backends {
        &self.backends
    }

    /// Opens a connection to a database. `permit` is given back when the connection has ended, not before.
    pub(crate) async fn open(
        &self,
        database: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<Connection, NotOpened> {
        // Whoever gives it out has a time-out of its own, and says more than that the server did not answer.
        let login = self.login().await.map_err(|error| NotOpened { error, elsewhere: false })?;
        let (deadline, progress) = (self.config.connect_timeout, Progress::default());
        let opening = self.open_unbounded(database, login, Arc::new(permit), &progress);
        match tokio::time::timeout(deadline, opening).await {
            Ok(result) => result,
            Err(_) => Err(NotOpened {
                error: self.unreachable(format!(
                    "no login to the database {database:?} within {} s",
                    deadline.as_secs_f32()
                )),
                elsewhere: self.is_past_tls(&progress),
            }),
        }
    }

    /// A server that hangs as a whole does not answer the request for TLS.
    fn is_past_tls(&self, progress: &Progress) -> bool {
        self.tls.is_none() || progress.is_past_tls()
    }

    async fn open_unbounded(
        &self,
        database: &str,
        mut login: Option<Login>,
        permit: Arc<OwnedSemaphorePermit>,
        progress: &Progress,
    ) -> Result<Connection, NotOpened> {
        let everywhere = |error| NotOpened { error, elsewhere: false };
        // Resolved each time: after a failover the name means another address.
        let host = (self.config.host.as_str(), self.config.port);
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(host)
            .await
            .map_err(|error| {
                everywhere(self.unreachable(format!("the host name cannot be resolved: {error}")))
            })?
            .collect();
        if addresses.is_empty() {
            return Err(everywhere(self.unreachable("the host name has no address".to_owned())));
        }
        let mut startup = {
            let known = self.known();
            let pins_search_path = !known.triggered.contains(database);
            Startup { dialect: known.dialect, pins_search_path, bare: false }
        };
        let mut renewed = false;
        loop {
            let mark = format!("{:016x}", RandomState::new().hash_one(()));
            let options = startup.options(&self.config, &mark);
            let config = self.startup(database, &addresses, login.as_ref(), &options);
            let permit = Arc::clone(&permit);
            let opened = match &self.tls {
                Some((tls, _)) => {
                    let tls = progress.watch(tls.clone());
                    self.handshake(&config, tls, database, &mark, permit).await
                }
                None => self.handshake(&config, NoTls, database, &mark, permit).await,
            };
            let error = match opened {
                Ok(connection) => {
                    let mut known = self.known();
                    known.dialect = Some(connection.version.dialect);
                    if !startup.pins_search_path && !startup.bare {
                        known.triggered.insert(database.to_owned());
                    }
                    return Ok(connection);
                }
                Err(error) => error,
            };
            if login.is_some() && sqlstate::is_of_login(&error.code) {
                let refused = login.take();
                login = self.login_after_refusal(refused.as_ref()).await.map_err(everywhere)?;
                if !renewed && login::is_another(login.as_ref(), refused.as_ref()) {
                    tracing::debug!(database, code = error.code, "logging in with a new token");
                    renewed = true;
                    continue;
                }
            }
            let Some(other) = startup.otherwise(&error.code) else {
                let unanswered = error.code.is_empty() && error.reason == Reason::DatabaseUnreachable;
                let elsewhere = if unanswered {
                    self.is_past_tls(progress)
                } else {
                    sqlstate::may_be_about_the_database(&error.code, self.config.auth.by())
                };
                return Err(NotOpened { error, elsewhere });
            };
            tracing::debug!(database, code = error.code, ?other, "logging in another way");
            startup = other;
        }
    }

    /// Asks the server to cancel what it does for a connection. Best effort: it is not known whether it did.
    pub(crate) async fn cancel(&self, token: CancelToken) {
        let asking = async {
            match &self.tls {
                Some((tls, _)) => token.cancel_query(tls.clone()).await,
                None => token.cancel_query(NoTls).await,
            }
        };
        match tokio::time::timeout(ASKING, asking).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a statement could not be cancelled"),
            Err(_) => tracing::debug!("a statement could not be cancelled: no answer"),
        }
    }

    /// Does a server answer there at all? Nobody logs in for that.
    pub(crate) async fn answers(&self) -> bool {
        let asking = async {
            let mut stream = TcpStream::connect((self.config.host.as_str(), self.config.port)).await?;
            request_tls(&mut stream).await
        };
        // Whatever it answers.
        match tokio::time::timeout(ASKING, asking).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => error.kind() == std::io::ErrorKind::InvalidData,
            Err(_) => false,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn startup(
        &self,
        database: &str,
        addresses: &[SocketAddr],
        login: Option<&Login>,
        options: &str,
    ) -> tokio_postgres::Config {
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
            .ssl_mode(if self.tls.is_some() { SslMode::Require } else { SslMode::Disable })
            .connect_timeout(self.config.connect_timeout)
            // A host that is gone says nothing: its successor is waiting.
            .tcp_user_timeout(Duration::from_secs(15))
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(2);
        if !options.is_empty() {
            config.options(options);
        }
        match (&self.config.auth, login) {
            (_, Some(login)) => config.user(&login.username).password(login.secret.expose_secret()),
            (Auth::Password(password), None) => config.password(password.expose_secret()),
            // A server that asks for a password gets to refuse this one, with its SQLSTATE.
            (Auth::X509 { .. } | Auth::Login(_), None) => config.password(""),
        };
        config
    }

    async fn handshake<T>(
        &self,
        config: &tokio_postgres::Config,
        tls: T,
        database: &str,
        mark: &str,
        permit: Arc<OwnedSemaphorePermit>,
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
        let (ear, announced) = announcements();
        let broken = Arc::clone(&self.broken);
        let warnings = Arc::new(AtomicU64::new(0));
        let warned = Arc::clone(&warnings);
        tokio::spawn(async move {
            let mut ended = std::pin::pin!(async move {
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    match message {
                        AsyncMessage::Notification(sent) if !backends.are_ours(sent.process_id()) => {
                            ear.hear(sent.payload());
                        }
                        // The texts are of no use: what was achieved is read back, and they may be in any language.
                        AsyncMessage::Notice(notice) if notice.code().code() == sqlstate::WARNING => {
                            warned.fetch_add(1, Relaxed);
                        }
                        _ => {}
                    }
                }
            });
            tokio::select! {
                biased;
                _ = &mut abandoned => drop(tokio::time::timeout(CLOSE_GRACE, ended).await),
                () = &mut ended => broken.send_modify(|broken| *broken += 1),
            }
            counters.closed();
            drop(permit);
        });
        let mut connection = Connection {
            _alive: alive,
            client,
            version,
            announced,
            config: Arc::clone(&self.config),
            prepared: self.prepared,
            backend: None,
            identity: Vec::new(),
            shared: OnceLock::new(),
            warnings,
        };
        connection.version.check_supported(self.config.platform == Platform::Rds)?;
        self.set_up(&mut connection, database, mark).await?;
        Ok(connection)
    }

    /// Makes the session what it has to be, whatever is stored for it, and checks whose it is.
    async fn set_up(&self, connection: &mut Connection, database: &str, mark: &str) -> Result<(), Error> {
        let statements = session::set_up(&self.config, connection.version.dialect, self.prepared);
        self.counters.sent(statements.len());
        let (text, mut attempt) = (statements.join(";"), 0);
        let answers = loop {
            let error = match connection.client.simple_query(&text).await {
                Ok(answers) => break answers,
                Err(error) => self.refused(database, &error),
            };
            attempt += 1;
            if error.code != sqlstate::QUERY_CANCELED || attempt == ATTEMPTS {
                return Err(error);
            }
            // A login event trigger may have left a time-out that is too short for all of it, which counts from the
            // beginning of a message.
            let longer = connection.client.simple_query("SET statement_timeout = 0").await;
            tracing::debug!(database, ?longer, "setting the time-out first");
        };
        let rows = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let identity: Vec<Option<String>> =
            rows.map(connection::columns).find(|row| row.len() > 1).unwrap_or_default();
        connection.backend =
            identity.first().and_then(Option::as_deref).and_then(|pid| self.backends.note(pid));
        let column = |index: usize| identity.get(index).and_then(Option::as_deref).unwrap_or_default();
        let (session_user, current_user) = (column(1), column(2));
        let admin = self.config.admin_user.as_str();
        let is_admin = session_user == admin || admin.len() > rolecall_engine::account::MAX_NAME_BYTES;
        if !is_admin || current_user != session_user {
            let detail = format!("the session is that of {session_user:?}, and acts as {current_user:?}");
            return Err(self.failed(Class::Refused, Reason::PoolerInBetween, detail, pooler::REMEDY));
        }
        let lost = column(3) != mark;
        if lost {
            connection.mark_shared();
        }
        self.signs.at_login(lost.then(|| "settings of the startup packet do not arrive".to_owned()));
        connection.identity = identity;
        Ok(())
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}
