//! A session with a certificate, and a client program in it: psql or mongosh.

mod client;
mod identity;
pub(crate) mod mongosh;
mod psql;
mod session;
mod signals;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, Protocol};

pub use psql::{Target, environment};

use crate::Exit;
use crate::args::{ConnectArgs, Global};
use crate::input::{Cluster, Namespace, list, own_user, plain};
use crate::output;
use identity::Identity;
use session::Session;
use signals::Signals;

/// Status of what the caller interrupted.
const INTERRUPTED: u8 = 130;

/// The command.
///
/// # Errors
///
/// A database that issues no certificates, a client program that is not there, a session that does not start.
pub async fn run(global: &Global, args: ConnectArgs) -> anyhow::Result<Exit> {
    let cluster = Cluster::connect(global).await?;
    let admin = cluster.api::<DatabaseAdmin>().get(&args.database).await.map_err(plain);
    let admin = admin.with_context(|| format!("reading the DatabaseAdmin {:?}", args.database))?;
    let shell = check(&admin, &args)?;
    let program = shell.program().find()?;
    let user = user(&cluster, &args).await?;
    let identity = Identity::new(authorities(&cluster, &admin, &args).await?.as_deref())?;
    // Before there is a session, so that no signal leaves it behind.
    let mut signals = Signals::new()?;
    let session = Session::create(cluster.api(), &user, &args, &identity).await?;
    let started = tokio::select! {
        started = session.start(&identity, args.timeout) => started.map(Some),
        () = signals.any() => Ok(None),
    };
    let ran = match started {
        Ok(Some(access)) => {
            let command = match shell {
                Shell::Psql => Target::new(&admin, &access, args.address.as_deref())
                    .await
                    .map(|target| psql::command(&program, &target, &identity)),
                Shell::Mongosh => mongosh::command(&program, &admin, args.db_name.as_deref(), &identity),
            };
            match command {
                Ok(command) => {
                    let name = shell.program().name;
                    client::run(name, command, &args.client_args, &identity, &session, &mut signals).await
                }
                Err(error) => Err(error),
            }
        }
        Ok(None) => Ok(Exit::Other(INTERRUPTED)),
        Err(error) => Err(error),
    };
    if let Err(error) = session.end().await {
        output::say(format_args!("warning: {error:#}; end it: kubectl rolecall end {}", session.name()));
    }
    ran
}

/// The client programs.
#[derive(Clone, Copy, Debug)]
enum Shell {
    Psql,
    Mongosh,
}

impl Shell {
    fn program(self) -> client::Program {
        match self {
            Self::Psql => psql::PSQL,
            Self::Mongosh => mongosh::MONGOSH,
        }
    }
}

/// What can be told before anything is created.
fn check(admin: &DatabaseAdmin, args: &ConnectArgs) -> anyhow::Result<Shell> {
    let name = admin.name_any();
    let shell = match admin.spec.protocol {
        Protocol::Postgres => Shell::Psql,
        Protocol::Mongodb => Shell::Mongosh,
        Protocol::Redshift => bail!(
            "connect works with PostgreSQL and MongoDB; {name} is another kind of server: create a DatabaseSession for it"
        ),
    };
    if admin.spec.user_credentials.x509.is_none() {
        bail!("the DatabaseAdmin {name} issues no certificates (userCredentials.x509), which connect needs");
    }
    match shell {
        Shell::Psql if args.db_name.is_none() => {
            bail!("which logical database on {name}? name it with --db-name")
        }
        Shell::Psql => {}
        Shell::Mongosh => mongosh::check(args.address.as_deref())?,
    }
    Ok(shell)
}

/// The DatabaseUser to act for.
async fn user(cluster: &Cluster, args: &ConnectArgs) -> anyhow::Result<String> {
    let users = Namespace {
        name: Some(cluster.namespace_name().to_owned()),
        cluster_name: args.cluster_name.clone(),
        users: list(cluster.api()).await?,
        ..Namespace::default()
    };
    match &args.user {
        Some(user) => Ok(users.user(user)?.name_any()),
        None => own_user(cluster, &users).await,
    }
}

/// The authorities that the server's certificate is checked against, in PEM; `None`: those of the system.
async fn authorities(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    args: &ConnectArgs,
) -> anyhow::Result<Option<Vec<u8>>> {
    if let Some(path) = &args.ca_file {
        return std::fs::read(path).map(Some).with_context(|| format!("reading {}", path.display()));
    }
    let Some(reference) = &admin.spec.tls.ca_secret_ref else { return Ok(None) };
    let reading = || {
        format!(
            "reading the server's certificate authorities from the Secret {:?}; name a file with them with --ca-file",
            reference.name
        )
    };
    let secret = cluster.api::<Secret>().get(&reference.name).await.map_err(plain).with_context(reading)?;
    let value = secret.data.unwrap_or_default().remove(&reference.key);
    value
        .map(|value| Some(value.0))
        .with_context(|| format!("it has no key {:?}", reference.key))
        .with_context(reading)
}
