//! A session, and a client in it: psql, mongosh, another program, or one that is told how to connect.

mod client;
mod credentials;
mod files;
mod forms;
pub(crate) mod iam;
pub(crate) mod identity;
mod mongosh;
mod proxy;
mod psql;
mod server;
pub(crate) mod session;
pub(crate) mod signals;
mod socks;
mod tunnel;

use anyhow::{Context, bail};
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, Protocol};
use tokio::process::Command;

pub use psql::{Proof, Target, environment};

use crate::Exit;
use crate::args::{ConnectArgs, Global};
use crate::input::{Cluster, Namespace, get, list, name_of, own_user, user_of};
use crate::output::{self, Form};
use credentials::Credentials;
use identity::Identity;
use server::{Server, Started};
use session::{Access, News, Session};
use signals::Signals;

/// Exit status after an interruption.
const INTERRUPTED: u8 = 130;

/// The command.
///
/// # Errors
///
/// A server that is not reached from here, a client program that is not installed, a session that does not start.
pub async fn run(global: &Global, args: ConnectArgs) -> anyhow::Result<Exit> {
    let cluster = Cluster::connect(global).await?;
    let admin: DatabaseAdmin = get(&cluster, &name_of::<DatabaseAdmin>(&args.database)?).await?;
    check(&admin, &args)?;
    let client = Client::of(&admin, &args)?;
    let authorities = args
        .ca_file
        .as_ref()
        .map(|path| std::fs::read(path).with_context(|| format!("reading {}", path.display())));
    let authorities = authorities.transpose()?;
    let user = user(&cluster, &args).await?;
    // Before there is a session: without a way or credentials it would be of no use.
    let server = Server::find(&cluster, &admin, &args).await?;
    let credentials = Credentials::of(&cluster, &admin).await?;
    let mut identity = Identity::new()?;
    // Installed before there is a session, so that no signal leaves one behind.
    let mut signals = Signals::new()?;
    let request = credentials.are_certificates().then(|| identity.request().to_owned());
    // Where the API server does not write it, who asked would need a further right to end the session.
    let me = cluster.whoami().await.ok();
    let session =
        Session::create(cluster.api(), &user, &admin.name_any(), &args, request.as_deref(), me).await?;
    // From here on it is said what the session waits for.
    cluster.keep_quiet();
    let started = tokio::select! {
        started = session.start(&mut identity, args.timeout) => started.map(Some),
        () = signals.any() => Ok(None),
    };
    let ran = match started {
        Ok(Some(access)) => {
            let used = async {
                put_authorities(&mut identity, authorities, &admin, &access)?;
                let started = server.start(&admin, access, credentials).await?;
                let running = Running { session: &session, identity: &mut identity, signals: &mut signals };
                use_session(client, global, &args, started, running).await
            };
            used.await
        }
        Ok(None) => Ok(Exit::Other(INTERRUPTED)),
        Err(error) => Err(error),
    };
    if let Err(error) = session.end(&mut signals).await {
        output::say(format_args!(
            "warning: {error:#}; end it: kubectl rolecall end {} --namespace {}; else its ttl does",
            session.name(),
            cluster.namespace_name()
        ));
    }
    ran
}

/// What uses the session.
enum Client {
    /// A program, with arguments of ours before the caller's.
    Shell(std::path::PathBuf),
    /// Any other program, which reads its environment.
    Command(std::path::PathBuf),
    /// Whoever reads what is printed.
    Print(Form),
    /// Whoever connects to a local port.
    Proxy,
}

impl Client {
    fn of(admin: &DatabaseAdmin, args: &ConnectArgs) -> anyhow::Result<Self> {
        if args.proxy {
            return Ok(Self::Proxy);
        }
        if let Some(form) = args.print {
            if admin.spec.protocol == Protocol::Mongodb && matches!(form, Form::Jdbc | Form::Dsn) {
                bail!("MongoDB's clients take a URI: --print uri");
            }
            return Ok(Self::Print(form));
        }
        if args.exec {
            let Some(name) = args.client_args.first() else {
                bail!(
                    "--exec runs the command after --, and there is none; for example: --exec -- pg_dump --schema-only"
                );
            };
            let found = client::find(name);
            return Ok(Self::Command(
                found.with_context(|| format!("there is no program {} on the PATH", name.display()))?,
            ));
        }
        let program = match admin.spec.protocol {
            Protocol::Postgres | Protocol::Redshift => psql::PSQL,
            Protocol::Mongodb => mongosh::MONGOSH,
        };
        program.find().map(Self::Shell)
    }
}

/// What a client needs while it uses a session.
struct Running<'a> {
    session: &'a Session,
    identity: &'a mut Identity,
    signals: &'a mut Signals,
}

async fn use_session(
    client: Client,
    global: &Global,
    args: &ConnectArgs,
    started: Started,
    running: Running<'_>,
) -> anyhow::Result<Exit> {
    let Running { session, identity, signals } = running;
    match client {
        Client::Shell(program) => {
            let mut command = Command::new(program);
            started.set_up(&mut command, identity, args.db_name.as_deref()).await?;
            client::run(command, &args.client_args, identity, session, signals).await
        }
        Client::Command(program) => {
            let mut command = Command::new(program);
            let variables = started.variables(identity, args.db_name.as_deref()).await?;
            psql::set(&mut command, &variables);
            let arguments = args.client_args.get(1..).unwrap_or_default();
            client::run(command, arguments, identity, session, signals).await
        }
        Client::Print(form) => {
            let text = started.print(form, identity, args.db_name.as_deref()).await?;
            output::print(&text)?;
            output::say(format_args!(
                "the session {} and its files are there until this ends: Ctrl-C",
                session.name()
            ));
            stay(session, identity, signals, |_| ()).await
        }
        Client::Proxy => tunnel::run(global, args, started, Running { session, identity, signals }).await,
    }
}

/// Stays until somebody interrupts, or the session is over. `renewed`: what else is to be done with a certificate.
async fn stay(
    session: &Session,
    identity: &mut Identity,
    signals: &mut Signals,
    renewed: impl Fn(&[u8]),
) -> anyhow::Result<Exit> {
    let mut watch = session.watch();
    loop {
        tokio::select! {
            () = signals.any() => return Ok(Exit::Done),
            news = watch.next() => {
                if let News::Certificate(pem) = &news {
                    renewed(pem);
                }
                let over = matches!(news, News::Over(_));
                client::heed(news, identity, session)?;
                if over {
                    return Ok(Exit::Done);
                }
            }
        }
    }
}

/// What can be checked before anything is asked or created.
fn check(admin: &DatabaseAdmin, args: &ConnectArgs) -> anyhow::Result<()> {
    let name = admin.name_any();
    match admin.spec.protocol {
        Protocol::Postgres | Protocol::Redshift if args.db_name.is_none() => {
            bail!(
                "which logical database on {name}? name it with --db-name; kubectl rolecall ls shows which you may reach"
            )
        }
        _ => Ok(()),
    }
}

/// The DatabaseUser to act for.
async fn user(cluster: &Cluster, args: &ConnectArgs) -> anyhow::Result<String> {
    let users = Namespace {
        name: Some(cluster.namespace_name().to_owned()),
        cluster_name: args.cluster.cluster_name.clone(),
        users: list(cluster.api()).await?,
        ..Namespace::default()
    };
    match &args.user {
        Some(user) => Ok(users.user(&user_of(user)?)?.name_any()),
        None => own_user(cluster, &users).await,
    }
}

/// Puts the authorities into place that the server's certificate is checked against: those of a file, else those that
/// the session reports; without either, those of the system are used.
fn put_authorities(
    identity: &mut Identity,
    of_file: Option<Vec<u8>>,
    admin: &DatabaseAdmin,
    access: &Access,
) -> anyhow::Result<()> {
    let reported = access.connection.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice());
    match of_file.as_deref().or(reported) {
        Some(authorities) => identity.put_authorities(authorities),
        // The system's authorities did not sign what authorities of one's own were named for.
        None if admin.spec.tls.ca_secret_ref.is_some() => bail!(
            "the session does not contain the CAs of the server's certificate; give a file with them by --ca-file"
        ),
        None => Ok(()),
    }
}
