//! A session beside the named one, for the same user with the same roles: by it this program logs in.

use std::time::Duration;

use anyhow::{Context, anyhow};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession};
use secrecy::SecretString;

use super::Way;
use crate::args::ConnectArgs;
use crate::connect::identity::Identity;
use crate::connect::session::{Access, Session};
use crate::connect::signals::Signals;
use crate::input::{Cluster, plain};
use crate::output;

/// How long it lives if this program is killed.
const TTL: Duration = Duration::from_secs(300);

/// A session of our own.
pub(super) struct Login<'a> {
    cluster: &'a Cluster,
    session: Session,
    identity: Identity,
    signals: Signals,
    kind: Kind,
    timeout: Duration,
}

/// What its user logs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Certificate,
    Password,
    AwsIam,
}

/// What to log in with, and where.
pub(super) struct Credentials {
    /// The user in the database, and the server.
    pub(super) access: Access,
    /// What it proves itself by.
    pub(super) proof: Proof,
}

/// What a user proves itself by.
pub(super) enum Proof {
    /// A certificate and its key, as PEM.
    Certificate(String, SecretString),
    /// A password.
    Password(SecretString),
    /// AWS credentials of the caller.
    AwsIam,
}

impl<'a> Login<'a> {
    /// Creates the session.
    pub(super) async fn new(
        cluster: &'a Cluster,
        beside: &DatabaseSession,
        admin: &DatabaseAdmin,
        command: &str,
        way: &Way,
    ) -> anyhow::Result<Self> {
        let users = &admin.spec.user_credentials;
        let kind = match () {
            () if users.x509.is_some() => Kind::Certificate,
            () if users.aws_iam.is_some() => Kind::AwsIam,
            () if users.password.is_some() => Kind::Password,
            () => {
                return Err(anyhow!(
                    "the users of the DatabaseAdmin {} bring their own credentials, which {command} does not have; ask the server by a client program of theirs",
                    admin.name_any()
                ));
            }
        };
        let identity = Identity::new()?;
        // Installed before there is a session, so that no signal leaves one behind.
        let signals = Signals::new()?;
        let request = (kind == Kind::Certificate).then(|| identity.request().to_owned());
        let args = ConnectArgs {
            db_name: beside.spec.database_name.clone(),
            db_roles: beside.spec.db_roles.clone(),
            ttl: TTL,
            reason: Some(format!("kubectl rolecall {command} {}", beside.name_any())),
            timeout: way.timeout,
            ..ConnectArgs::default()
        };
        let (user, database) = (&beside.spec.user, &beside.spec.database);
        let me = cluster.whoami().await.ok();
        let session = Session::create(cluster.api(), user, database, &args, request.as_deref(), me).await?;
        Ok(Self { cluster, session, identity, signals, kind, timeout: way.timeout })
    }

    /// Waits until the session is Active, acts in it, and ends it. `None`: it was interrupted.
    pub(super) async fn run<T>(
        mut self,
        act: impl AsyncFnOnce(&Credentials) -> anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        let Self { cluster, session, identity, signals, kind, timeout } = &mut self;
        let acting = async {
            let access = session.start(identity, *timeout).await?;
            let proof = match kind {
                Kind::Certificate => {
                    let (certificate, key) = identity.pem()?;
                    Proof::Certificate(certificate, key)
                }
                Kind::Password => Proof::Password(password(cluster, session.name()).await?),
                Kind::AwsIam => Proof::AwsIam,
            };
            act(&Credentials { access, proof }).await.map(Some)
        };
        let acted = tokio::select! {
            acted = acting => acted,
            () = signals.any() => Ok(None),
        };
        if let Err(error) = session.end(signals).await {
            output::say(format_args!(
                "warning: {error:#}; end it: kubectl rolecall end {} --namespace {}; else its ttl does",
                session.name(),
                cluster.namespace_name()
            ));
        }
        acted
    }
}

/// The password of a session, which is in its Secret.
async fn password(cluster: &Cluster, session: &str) -> anyhow::Result<SecretString> {
    let secret = cluster.api::<Secret>().get(session).await.map_err(plain).with_context(|| {
        format!("users of this database log in with passwords, and you could not read the session's Secret {session:?}")
    })?;
    let value = secret.data.as_ref().and_then(|data| data.get("password"));
    let value = value.with_context(|| format!("the Secret {session:?} has no key \"password\""))?;
    let text = String::from_utf8(value.0.clone());
    Ok(text.map_err(|_| anyhow!("the key \"password\" of the Secret {session:?} is no text"))?.into())
}
