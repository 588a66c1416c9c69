//! One connection: how it is opened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rolecall_engine::counters::Counters;
use rolecall_engine::{Class, Error, Login, Reason};
use rolecall_pki::tls::{self, TlsClient, TlsMode};
use secrecy::ExposeSecret;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{Auth, Config};
use super::exchange::{exchange, said};
use super::login::Logins;
use super::refusal::{failed, refused, unreachable};
use super::rows::{Row, text};
use super::sqlstate;
use super::statement::Statement;

/// How long a connection that is not needed any more may take to close properly.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Opens connections to one server.
pub(crate) struct Connector {
    config: Arc<Config>,
    tls: Option<(MakeRustlsConnect, TlsClient)>,
    logins: Logins,
    counters: Arc<Counters>,
}

/// An open connection. It closes when this is dropped.
pub(crate) struct Connection {
    /// Dropped with the connection, and before it: signals its task that it is no longer needed.
    _alive: oneshot::Sender<()>,
    pub(crate) client: Client,
    /// What the server says of itself.
    pub(crate) version: String,
}

impl rolecall_engine::idle::Connection for Connection {
    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct NotOpened {
    pub(crate) error: Error,
    /// Another logical database may let the admin user in.
    pub(crate) elsewhere: bool,
}

impl Connector {
    pub(crate) fn new(config: Config, counters: Arc<Counters>) -> Result<Self, Error> {
        let tls = match config.tls.mode {
            TlsMode::Disable => None,
            TlsMode::VerifyFull | TlsMode::VerifyCa => {
                let client = tls::client(&config.tls, None)?;
                Some((MakeRustlsConnect::new(client.config.clone()), client))
            }
        };
        Ok(Self { config: Arc::new(config), tls, logins: Logins::default(), counters })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Opens a connection to a database. `permit` is given back when the connection has ended, not before.
    pub(crate) async fn open(
        &self,
        database: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<Connection, NotOpened> {
        let permit = Arc::new(permit);
        match self.log_in(database, &permit).await {
            // What was lent may have ended early. What is lent anew is worth another try at once.
            Err(NotOpened { error, .. })
                if is_refused(&error) && matches!(self.config.auth, Auth::Lent(_)) =>
            {
                self.log_in(database, &permit).await
            }
            result => result,
        }
    }

    async fn log_in(
        &self,
        database: &str,
        permit: &Arc<OwnedSemaphorePermit>,
    ) -> Result<Connection, NotOpened> {
        let here = |error| NotOpened { error, elsewhere: false };
        // Before the server's time begins: how long AWS takes says nothing about the server.
        let lent = self.logins.lent(&self.config).await.map_err(here)?;
        let deadline = self.config.connect_timeout;
        match tokio::time::timeout(deadline, self.log_in_with(lent, database, permit)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => {
                let elsewhere = sqlstate::may_be_about_the_database(&error.code);
                Err(NotOpened { error, elsewhere })
            }
            Err(_) => {
                let seconds = deadline.as_secs_f32();
                let detail = format!("no login to the database {database:?} within {seconds} s");
                Err(here(unreachable(&self.config, detail)))
            }
        }
    }

    async fn log_in_with(
        &self,
        lent: Option<Login>,
        database: &str,
        permit: &Arc<OwnedSemaphorePermit>,
    ) -> Result<Connection, Error> {
        // Resolved each time: after a resize the name means another address.
        let host = (self.config.host.as_str(), self.config.port);
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(host)
            .await
            .map_err(|error| unreachable(&self.config, format!("the host name cannot be resolved: {error}")))?
            .collect();
        if addresses.is_empty() {
            return Err(unreachable(&self.config, "the host name has no address".to_owned()));
        }
        let attempt = self.logins.attempt(&self.config, lent).await?;
        let startup = self.startup(database, &addresses, &attempt.login);
        let permit = Arc::clone(permit);
        let opened = match &self.tls {
            Some((tls, _)) => self.handshake(&startup, tls.clone(), database, permit).await,
            None => self.handshake(&startup, NoTls, database, permit).await,
        };
        match &opened {
            Ok(_) => self.logins.accepted(),
            Err(error) if is_refused(error) => self.logins.refused(&self.config),
            Err(_) => {}
        }
        opened
    }

    fn startup(&self, database: &str, addresses: &[SocketAddr], login: &Login) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        // The host is the name that TLS verifies; the address is what is dialled.
        let name = self.config.tls.server_name.as_ref().unwrap_or(&self.config.host);
        for address in addresses {
            config.host(name).hostaddr(address.ip()).port(self.config.port);
        }
        config
            // With the prefix that it was lent with: the server hashes the password with it.
            .user(&login.username)
            .password(login.secret.expose_secret())
            .dbname(database)
            .application_name("rolecall")
            .ssl_mode(if self.tls.is_some() { SslMode::Require } else { SslMode::Disable })
            .connect_timeout(self.config.connect_timeout)
            .tcp_user_timeout(Duration::from_secs(15))
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(2);
        config
    }

    async fn handshake<T>(
        &self,
        startup: &tokio_postgres::Config,
        tls: T,
        database: &str,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Result<Connection, Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, connection) = startup.connect(tls).await.map_err(|error| {
            refused(&self.config, self.tls.as_ref().map(|(_, client)| client), database, &error)
        })?;
        let (alive, mut abandoned) = oneshot::channel::<()>();
        let counters = Arc::clone(&self.counters);
        counters.opened();
        tokio::spawn(async move {
            let mut ended = std::pin::pin!(connection);
            tokio::select! {
                biased;
                _ = &mut abandoned => drop(tokio::time::timeout(CLOSE_GRACE, ended).await),
                _ = &mut ended => {}
            }
            counters.closed();
            drop(permit);
        });
        let mut connection = Connection { _alive: alive, client, version: String::new() };
        self.prepare(&mut connection).await?;
        Ok(connection)
    }

    /// Makes the session what it has to be, whatever is stored for it, and checks what answers.
    async fn prepare(&self, connection: &mut Connection) -> Result<(), Error> {
        for statement in settings(&self.config) {
            self.send(connection, statement).await?;
        }
        let answer = self.send(connection, version()).await?;
        let version = answer.first().map(|row| text(row, 0).to_owned()).unwrap_or_default();
        match patch(&version) {
            Some(patch) => patch.clone_into(&mut connection.version),
            None => {
                return Err(failed(
                    &self.config,
                    Class::Refused,
                    Reason::Unsupported,
                    format!("the server is no Redshift cluster: {version}"),
                    "set another protocol in a new DatabaseAdmin",
                ));
            }
        }
        Ok(())
    }

    async fn send(&self, connection: &Connection, statement: Statement) -> Result<Vec<Row>, Error> {
        self.counters.sent(1);
        let answered = exchange(&connection.client, std::slice::from_ref(&statement)).await;
        let answers = answered.map_err(|(_, error)| said(&statement, &error, &self.config.admin_user))?;
        let answer = answers.into_iter().next();
        answer.ok_or_else(|| unreachable(&self.config, format!("{} was not answered", statement.what)))
    }
}

fn is_refused(error: &Error) -> bool {
    error.code == sqlstate::LOGIN_REFUSED || error.code == "28P01"
}

/// The version.
pub(crate) fn version() -> Statement {
    Statement::new("reading the version", "SELECT version()")
}

/// What each session sends first. Nothing of the kind goes into the startup packet, which the server does not take.
pub(crate) fn settings(config: &Config) -> [Statement; 3] {
    let set = |what: &str, sql: String| Statement::new(format!("setting {what}"), sql);
    [
        set("the search path", "SET search_path TO pg_catalog".to_owned()),
        // Names of objects mean what they say, as names of users do in any case.
        set("how names are read", "SET enable_case_sensitive_identifier TO true".to_owned()),
        set(
            "the time-out of statements",
            format!("SET statement_timeout TO {}", config.statement_timeout.as_millis()),
        ),
    ]
}

/// Redshift's own version in `PostgreSQL 8.0.2 on ..., Redshift 1.0.219674`.
fn patch(version: &str) -> Option<&str> {
    let (_, patch) = version.split_once("Redshift ")?;
    patch.split([' ', ',']).next()
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cluster_says_that_it_is_one() {
        let said =
            "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2, Redshift 1.0.219674";
        assert_eq!(patch(said), Some("1.0.219674"));
        assert_eq!(patch("PostgreSQL 17.2 on x86_64"), None);
    }
}
