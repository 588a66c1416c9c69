//! The DatabaseSession.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use rolecall_api::{Connection, DatabaseSession, DatabaseSessionSpec, GoDuration, SessionPhase, conditions};
use tokio::time::timeout;

use super::identity::Identity;
use crate::args::ConnectArgs;
use crate::input::plain;

/// Longest name that leaves room for what the API server adds.
const MAX_PREFIX: usize = 200;

/// A session that was created here.
#[derive(Clone, Debug)]
pub(super) struct Session {
    api: Api<DatabaseSession>,
    name: String,
    uid: Option<String>,
}

/// What a started session gives.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// The name in the database.
    pub(super) username: String,
    /// Where the server is.
    pub(super) connection: Connection,
}

impl Session {
    pub(super) async fn create(
        api: Api<DatabaseSession>,
        user: &str,
        args: &ConnectArgs,
        identity: &Identity,
    ) -> anyhow::Result<Self> {
        let mut prefix = format!("{user}-{}-", args.database);
        if prefix.len() > MAX_PREFIX {
            prefix = "connect-".to_owned();
        }
        let spec = DatabaseSessionSpec {
            user: user.to_owned(),
            database: args.database.clone(),
            database_name: args.db_name.clone(),
            db_roles: args.db_roles.clone(),
            ttl: Some(args.ttl.into()),
            reason: args.reason.clone(),
            certificate_request: Some(identity.request().to_owned()),
            start_deadline: Some(args.timeout.into()),
            retain_after_end: GoDuration::from_secs(3_600),
        };
        let metadata = ObjectMeta { generate_name: Some(prefix), ..ObjectMeta::default() };
        let session = DatabaseSession { metadata, spec, status: None };
        let session = api
            .create(&PostParams::default(), &session)
            .await
            .map_err(plain)
            .context("creating the session")?;
        Ok(Self { name: session.name_any(), uid: session.uid(), api })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the session is Active, and puts its certificate into place.
    pub(super) async fn start(&self, identity: &Identity, patience: Duration) -> anyhow::Result<Access> {
        let starting = || format!("starting the session {}", self.name);
        let settled = |session: Option<&DatabaseSession>| session.is_none_or(is_settled);
        let waited = timeout(patience, await_condition(self.api.clone(), &self.name, settled)).await;
        let session = match waited {
            Ok(session) => session.with_context(starting)?.ok_or_else(|| anyhow!("somebody deleted it")),
            // What is in the way stands in the session.
            Err(_) => self.api.get(&self.name).await.map_err(plain),
        };
        let session = session.with_context(starting)?;
        let status = session.status.unwrap_or_default();
        if status.phase != Some(SessionPhase::Active) {
            let why = conditions::find(&status.conditions, conditions::READY);
            let why = why.map_or("nothing is said about it".to_owned(), |ready| {
                format!("{}: {}", ready.reason, ready.message)
            });
            bail!("the session {} does not start: {why}", self.name);
        }
        let certificate = status.certificate.context("the session is Active and has no certificate")?;
        identity.put_certificate(&certificate.0)?;
        let connection =
            status.connection.context("the session is Active and does not say where the server is")?;
        Ok(Access { username: status.username.unwrap_or_default(), connection })
    }

    /// Takes over a renewed certificate. Answers what ended the session, where something did.
    pub(super) async fn look(&self, identity: &Identity) -> anyhow::Result<Option<String>> {
        let Some(session) = self.api.get_opt(&self.name).await.map_err(plain)? else {
            return Ok(Some("it was deleted".to_owned()));
        };
        let status = session.status.unwrap_or_default();
        if status.phase != Some(SessionPhase::Active) {
            let reason = status.end_reason.map_or("it is ending".to_owned(), |reason| format!("{reason:?}"));
            return Ok(Some(reason));
        }
        if let Some(certificate) = status.certificate {
            identity.put_certificate(&certificate.0)?;
        }
        Ok(None)
    }

    /// Ends it, without waiting.
    pub(super) async fn end(&self) -> anyhow::Result<()> {
        let same = Preconditions { uid: self.uid.clone(), resource_version: None };
        match self.api.delete(&self.name, &DeleteParams::default().preconditions(same)).await {
            // Another one ended it before.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            ended => ended
                .map_err(plain)
                .with_context(|| format!("the session {} could not be ended", self.name))
                .map(|_| ()),
        }
    }
}

/// Whether waiting on is of no use: it has what it is to have, or never will.
fn is_settled(session: &DatabaseSession) -> bool {
    let Some(status) = &session.status else { return false };
    match status.phase {
        Some(SessionPhase::Active) => status.certificate.is_some(),
        Some(SessionPhase::Ending | SessionPhase::Ended | SessionPhase::Rejected) => true,
        _ => false,
    }
}
