//! A session with a certificate or an IAM token, and a client program in it: psql or mongosh.

mod client;
mod files;
pub(crate) mod iam;
pub(crate) mod identity;
pub(crate) mod mongosh;
mod psql;
pub(crate) mod session;
pub(crate) mod signals;

use anyhow::{Context, bail};
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, Protocol};
use rolecall_engine::Login;

pub use psql::{Proof, Target, environment};

use crate::Exit;
use crate::args::{ConnectArgs, Global};
use crate::input::{Cluster, Namespace, get, list, name_of, own_user, user_of};
use crate::output;
use identity::Identity;
use session::{Access, Session};
use signals::Signals;

/// Exit status after an interruption.
const INTERRUPTED: u8 = 130;

/// The command.
///
/// # Errors
///
/// A database whose users log in in another way, a client program that is not installed, a session that does not start.
pub async fn run(global: &Global, args: ConnectArgs) -> anyhow::Result<Exit> {
    let cluster = Cluster::connect(global).await?;
    let admin: DatabaseAdmin = get(&cluster, &name_of::<DatabaseAdmin>(&args.database)?).await?;
    let shell = check(&admin, &args)?;
    let program = shell.program().find()?;
    // The local port is open until this ends.
    let (elsewhere, _port) = match shell {
        Shell::Psql => psql::elsewhere(&cluster, &admin, args.address.as_deref()).await?,
        Shell::Mongosh => (None, None),
    };
    let authorities = args
        .ca_file
        .as_ref()
        .map(|path| std::fs::read(path).with_context(|| format!("reading {}", path.display())));
    let authorities = authorities.transpose()?;
    let user = user(&cluster, &args).await?;
    let mut identity = Identity::new()?;
    // Installed before there is a session, so that no signal leaves one behind.
    let mut signals = Signals::new()?;
    // Before there is a session: without credentials it would be of no use.
    let signer = match by_iam(&admin) {
        true => Some(iam::Signer::new().await?),
        false => None,
    };
    let request = signer.is_none().then(|| identity.request().to_owned());
    let session = Session::create(cluster.api(), &user, &admin.name_any(), &args, request.as_deref()).await?;
    let started = tokio::select! {
        started = session.start(&mut identity, args.timeout) => started.map(Some),
        () = signals.any() => Ok(None),
    };
    let ran = match started {
        Ok(Some(access)) => {
            let login = match &signer {
                Some(signer) => signer.login(&admin, &access.username).await.map(Some),
                None => Ok(None),
            };
            let command = login.and_then(|login| {
                put_authorities(&mut identity, authorities, &admin, &access)?;
                match shell {
                    Shell::Psql => {
                        let mut target = Target::new(&admin, &access, elsewhere);
                        let token = login.map(|Login { username, secret }| {
                            target.username = username;
                            secret
                        });
                        Ok(psql::command(&program, &target, &identity, token))
                    }
                    Shell::Mongosh => mongosh::command(&program, &admin, args.db_name.as_deref(), &identity),
                }
            });
            match command {
                Ok(command) => {
                    let name = shell.program().name;
                    let arguments = &args.client_args;
                    client::run(name, command, arguments, &mut identity, &session, &mut signals).await
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

/// What can be checked before anything is created.
fn check(admin: &DatabaseAdmin, args: &ConnectArgs) -> anyhow::Result<Shell> {
    let name = admin.name_any();
    let shell = match admin.spec.protocol {
        Protocol::Postgres | Protocol::Redshift => Shell::Psql,
        Protocol::Mongodb => Shell::Mongosh,
    };
    if admin.spec.user_credentials.x509.is_none() && !by_iam(admin) {
        bail!(
            "the users of the DatabaseAdmin {name} log in neither with certificates (userCredentials.x509) nor with IAM tokens (userCredentials.awsIam), which connect needs"
        );
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

fn by_iam(admin: &DatabaseAdmin) -> bool {
    admin.spec.user_credentials.aws_iam.is_some()
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
