//! The server of a session, as its clients find it.

use std::ffi::OsString;
use std::net::SocketAddr;

use anyhow::Context;
use rolecall_api::{DatabaseAdmin, Protocol};
use rolecall_engine::Login;
use rolecall_resolve::parse_postgres_address;
use tokio::process::Command;

use super::credentials::Credentials;
use super::forms::{self, Paths};
use super::identity::Identity;
use super::mongosh::Way;
use super::psql::{self, Target};
use super::session::Access;
use crate::args::ConnectArgs;
use crate::input::Cluster;
use crate::output::{self, Form};
use crate::reach::{LocalPort, Route};

/// The variable that clients of MongoDB find the URI in, with `--exec` and `--print env`.
const MONGODB_URI: &str = "MONGODB_URI";

/// The way to a server.
pub(super) enum Server {
    /// PostgreSQL and Redshift.
    Postgres(Route),
    /// MongoDB, which may have several members.
    Mongodb(Way),
}

impl Server {
    /// Finds the way, before there is a session.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) async fn find(
        cluster: &Cluster,
        admin: &DatabaseAdmin,
        args: &ConnectArgs,
    ) -> anyhow::Result<Self> {
        let asked = args.address.as_deref();
        if admin.spec.protocol == Protocol::Mongodb {
            let port = args.proxy.then_some(args.port);
            return Way::find(cluster, admin, asked, port).await.map(Self::Mongodb);
        }
        let (host, port) =
            parse_postgres_address(&admin.spec.uri).context("reading spec.uri of the DatabaseAdmin")?;
        let route = Route::find(cluster, &host, port, asked).await?;
        if route.is_forwarded() {
            output::say(format_args!("connecting {}", route.describe()));
        }
        Ok(Self::Postgres(route))
    }

    /// The server of a started session.
    ///
    /// # Errors
    ///
    /// There are no credentials, or no local port.
    pub(super) async fn start(
        self,
        admin: &DatabaseAdmin,
        access: Access,
        credentials: Credentials,
    ) -> anyhow::Result<Started> {
        let redshift = admin.spec.protocol == Protocol::Redshift;
        let kind = match self {
            Self::Mongodb(way) => Kind::Mongodb(way),
            Self::Postgres(route) => {
                let (elsewhere, port) = psql::elsewhere(route.clone(), admin).await?;
                Kind::Postgres(Box::new(Postgres {
                    admin: admin.clone(),
                    elsewhere,
                    route,
                    redshift,
                    _port: port,
                }))
            }
        };
        Ok(Started { access, credentials, kind })
    }
}

/// The server of a started session.
pub(super) struct Started {
    /// The session's user.
    pub(super) access: Access,
    /// What it logs in with.
    pub(super) credentials: Credentials,
    /// The engine.
    pub(super) kind: Kind,
}

/// What differs between the engines.
pub(super) enum Kind {
    /// PostgreSQL or Redshift.
    Postgres(Box<Postgres>),
    /// MongoDB.
    Mongodb(Way),
}

/// A PostgreSQL or Redshift server.
pub(super) struct Postgres {
    pub(super) admin: DatabaseAdmin,
    pub(super) route: Route,
    elsewhere: Option<SocketAddr>,
    redshift: bool,
    // Open as long as this.
    _port: Option<LocalPort>,
}

impl Postgres {
    /// Where a client connects, as this user.
    pub(super) fn target(&self, access: &Access, username: &str) -> Target {
        Target::new(&self.admin, access, username, self.elsewhere)
    }
}

impl Started {
    /// Sets up psql or mongosh.
    ///
    /// # Errors
    ///
    /// There are no credentials.
    pub(super) async fn set_up(
        &self,
        command: &mut Command,
        identity: &Identity,
        database: Option<&str>,
    ) -> anyhow::Result<()> {
        match &self.kind {
            // With variables no argument is needed, and none shows who connects where.
            Kind::Postgres(_) => psql::set(command, &self.variables(identity, database).await?),
            Kind::Mongodb(way) => {
                command.args(way.arguments(database, identity));
            }
        }
        Ok(())
    }

    /// The variables by which clients connect.
    ///
    /// # Errors
    ///
    /// There are no credentials.
    pub(super) async fn variables(
        &self,
        identity: &Identity,
        database: Option<&str>,
    ) -> anyhow::Result<Vec<(&'static str, OsString)>> {
        match &self.kind {
            Kind::Postgres(server) => {
                let (username, secret) = self.login().await?;
                Ok(psql::of_session(&server.target(&self.access, &username), identity, secret))
            }
            Kind::Mongodb(way) => Ok(vec![(MONGODB_URI, way.uri_with_files(database, identity).into())]),
        }
    }

    /// How to connect, in a form that a client takes, with a line break.
    ///
    /// # Errors
    ///
    /// There are no credentials, or the form cannot say it.
    pub(super) async fn print(
        &self,
        form: Form,
        identity: &Identity,
        database: Option<&str>,
    ) -> anyhow::Result<String> {
        if form == Form::Env {
            return Ok(forms::exports(&self.variables(identity, database).await?));
        }
        let server = match &self.kind {
            Kind::Postgres(server) => server,
            Kind::Mongodb(way) => return Ok(way.uri_with_files(database, identity) + "\n"),
        };
        let (username, secret) = self.login().await?;
        if secret.is_some() {
            output::say("the password is not part of it; --print env shows it as PGPASSWORD");
        }
        let target = server.target(&self.access, &username);
        let files = (identity.certificate(), identity.key(), identity.key_der());
        let (certificate, key, der) = (files.0.as_path(), files.1.as_path(), files.2.as_path());
        let authorities = identity.authorities();
        let paths = Paths {
            certificate: secret.is_none().then_some((certificate, key, der)),
            authorities: authorities.as_deref(),
        };
        let text = match form {
            Form::Uri => forms::uri(&target, &paths),
            Form::Jdbc => forms::jdbc(&target, &paths, server.redshift)?,
            Form::Dsn | Form::Env => forms::dsn(&target, &paths),
        };
        Ok(text + "\n")
    }

    async fn login(&self) -> anyhow::Result<(String, Option<secrecy::SecretString>)> {
        let login = self.credentials.login(&self.access).await?;
        Ok(match login {
            Some(Login { username, secret }) => (username, Some(secret)),
            None => (self.access.username.clone(), None),
        })
    }
}
