//! Speaking to a server: as the superuser, or as a user with a certificate or a password.

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Postgres;
use crate::certificates::{Certificate, tls_client};
use crate::error::{Error, Result};

/// Long enough for a loaded machine, short enough for a test.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

impl Postgres {
    /// Runs statements as the superuser in `database` and returns the rows of all of them, as text.
    ///
    /// Several statements in one text run in one transaction, as in psql's `-c`.
    ///
    /// # Errors
    /// When the server refuses; [`Error::sqlstate`] says why.
    pub async fn sql(&self, database: &str, statements: &str) -> Result<Vec<Vec<Option<String>>>> {
        let client = self.superuser(database).await?;
        rows(&client, statements).await
    }

    /// The first column of the first row of a query of the superuser; none when there is no row or the value is null.
    ///
    /// # Errors
    /// As [`Postgres::sql`].
    pub async fn value(&self, database: &str, query: &str) -> Result<Option<String>> {
        let rows = self.sql(database, query).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// A connection of the superuser over the Unix socket.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn superuser(&self, database: &str) -> Result<Client> {
        let mut config = Config::new();
        config.host_path(self.socket_dir()).port(self.port()).user("postgres").dbname(database);
        config.connect_timeout(CONNECT_TIMEOUT).application_name("testbed");
        let (client, connection) =
            config.connect(NoTls).await.map_err(|source| refused("connecting as the superuser", source))?;
        // Ends when the client is dropped; its errors reach the client too.
        tokio::spawn(connection);
        Ok(client)
    }

    /// A connection over TLS with a client certificate, as the user that it names.
    ///
    /// # Errors
    /// When the server refuses the certificate or the user.
    pub async fn connect(&self, database: &str, identity: &Certificate) -> Result<Client> {
        let mut config = self.tcp(database, &identity.common_name);
        let tls = tls_client(self.server_ca_pem(), Some(identity))?;
        open(&mut config, tls).await
    }

    /// As [`Postgres::connect`], through what listens on another port of this machine, such as a pooler.
    ///
    /// # Errors
    /// As [`Postgres::connect`].
    pub async fn connect_through(&self, port: u16, database: &str, identity: &Certificate) -> Result<Client> {
        let mut config = self.tcp_at(port, database, &identity.common_name);
        open(&mut config, tls_client(self.server_ca_pem(), Some(identity))?).await
    }

    /// A connection over TLS with a password, for members of `password_users`.
    ///
    /// # Errors
    /// When the server refuses the password or the user.
    pub async fn connect_with_password(&self, database: &str, user: &str, password: &str) -> Result<Client> {
        let mut config = self.tcp(database, user);
        config.password(password);
        open(&mut config, tls_client(self.server_ca_pem(), None)?).await
    }

    /// As [`Postgres::connect_with_password`], through what listens on another port of this machine.
    ///
    /// # Errors
    /// As [`Postgres::connect_with_password`].
    pub async fn connect_with_password_through(
        &self,
        port: u16,
        database: &str,
        user: &str,
        password: &str,
    ) -> Result<Client> {
        let mut config = self.tcp_at(port, database, user);
        config.password(password);
        open(&mut config, tls_client(self.server_ca_pem(), None)?).await
    }

    /// Makes the user that an operator works as, `LOGIN CREATEROLE` and nothing more, with its certificate.
    ///
    /// # Errors
    /// When the role exists already.
    pub async fn create_admin(&self, name: &str) -> Result<Certificate> {
        self.sql("postgres", &format!("create role {} login createrole", quote(name))).await?;
        self.client_cert(name)
    }

    /// Makes a login user that authenticates with `password` instead of a certificate. `attributes` go into the
    /// statement, for example `"createrole"`.
    ///
    /// # Errors
    /// When the role exists already.
    pub async fn create_password_user(&self, name: &str, password: &str, attributes: &str) -> Result<()> {
        let statements = format!(
            "do $$ begin create role password_users nologin; exception when duplicate_object then null; end $$;
             create role {user} login {attributes} password {password} in role password_users",
            user = quote(name),
            password = literal(password),
        );
        self.sql("postgres", &statements).await.map(drop)
    }

    fn tcp(&self, database: &str, user: &str) -> Config {
        self.tcp_at(self.port(), database, user)
    }

    fn tcp_at(&self, port: u16, database: &str, user: &str) -> Config {
        let mut config = Config::new();
        config.host(self.host()).port(port).user(user).dbname(database).connect_timeout(CONNECT_TIMEOUT);
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        config
    }
}

/// Runs statements on a connection and returns the rows of all of them, as text.
///
/// # Errors
/// When the server refuses; [`Error::sqlstate`] says why.
pub async fn rows(client: &Client, statements: &str) -> Result<Vec<Vec<Option<String>>>> {
    let messages = client.simple_query(statements).await.map_err(|source| refused(statements, source))?;
    let text = |row: &tokio_postgres::SimpleQueryRow| {
        (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()
    };
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(text(row)),
            _ => None,
        })
        .collect())
}

async fn open(config: &mut Config, tls: rustls::ClientConfig) -> Result<Client> {
    let (client, connection) = config
        .application_name("testbed")
        .connect(MakeRustlsConnect::new(tls))
        .await
        .map_err(|source| refused("connecting", source))?;
    tokio::spawn(connection);
    Ok(client)
}

/// An SQL identifier.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An SQL string.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn refused(what: &str, source: tokio_postgres::Error) -> Error {
    Error::Sql { what: what.to_owned(), source }
}
