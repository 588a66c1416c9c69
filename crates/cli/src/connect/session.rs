//! The DatabaseSession.

use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use rolecall_api::{
    Condition, Connection, DatabaseSession, DatabaseSessionSpec, GoDuration, SessionPhase, conditions,
    reasons,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::identity::Identity;
use super::signals::Signals;
use crate::args::ConnectArgs;
use crate::input::{Silent, plain};
use crate::output;

/// How often a starting session is checked.
const POLL: Duration = Duration::from_millis(200);

/// A reason to wait that lasts less than this is not shown.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// The message for a session that no operator has processed.
const UNSEEN: &str =
    "no operator has processed it yet (is rolecall-operator running, and does it watch this namespace?)";

/// How often to check whether the certificate was renewed or the session has ended.
const WATCH: Duration = Duration::from_secs(15);

/// How long the API server may take for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long to wait between two attempts to end the session.
const RETRY: Duration = Duration::from_secs(2);

/// How long to try to end the session.
const END: Duration = Duration::from_secs(90);

/// Longest name that leaves room for what the API server adds.
const MAX_PREFIX: usize = 200;

/// A session that was created here.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    api: Api<DatabaseSession>,
    name: String,
    uid: Option<String>,
}

/// What a started session gives.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// The name in the database.
    pub(crate) username: String,
    /// Where the server is.
    pub(crate) connection: Connection,
    /// The Secret with the credentials, where there is one.
    pub(crate) secret: Option<String>,
    /// When the session ends by itself.
    pub(crate) expires: Option<Timestamp>,
}

/// What happens to a session while it is used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Its certificate was renewed; or not yet, and this is the one before.
    Certificate(Vec<u8>),
    /// It is over, for this reason.
    Over(String),
    /// It is not known, for this reason. It is asked on.
    Unknown(String),
    /// After that it is known again.
    Known,
}

/// The watch over a session. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    news: mpsc::Receiver<News>,
    _task: AbortOnDropHandle<()>,
}

impl Watch {
    /// The next news; none any more where the session is over.
    pub(crate) async fn next(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }
}

impl Session {
    pub(crate) async fn create(
        api: Api<DatabaseSession>,
        user: &str,
        database: &str,
        args: &ConnectArgs,
        request: Option<&str>,
        requested_by: Option<String>,
    ) -> anyhow::Result<Self> {
        let mut prefix = format!("{user}-{database}-");
        if prefix.len() > MAX_PREFIX {
            prefix = "connect-".to_owned();
        }
        let spec = DatabaseSessionSpec {
            user: user.to_owned(),
            database: database.to_owned(),
            database_name: args.db_name.clone(),
            db_roles: args.db_roles.clone(),
            ttl: Some(args.ttl.into()),
            reason: args.reason.clone(),
            requested_by,
            certificate_request: request.map(str::to_owned),
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

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the session is Active, and puts its certificate into place. What it waits for is shown meanwhile.
    pub(crate) async fn start(&self, identity: &mut Identity, limit: Duration) -> anyhow::Result<Access> {
        let mut deadline = Instant::now() + limit;
        let mut shown = String::new();
        let mut since = Instant::now();
        let mut silent_since = None;
        let status = loop {
            // By reading it and not by a watch, which takes more rights.
            let patience = ANSWER.min(deadline.saturating_duration_since(Instant::now()));
            let Ok(asked) = timeout(patience, self.api.get_opt(&self.name)).await else {
                let since = *silent_since.get_or_insert_with(|| Instant::now() - patience);
                let silent = Silent(Duration::from_secs(since.elapsed().as_secs()));
                if Instant::now() >= deadline {
                    let timeout = GoDuration::from(limit);
                    return Err(anyhow::Error::new(silent)
                        .context(format!("the session {} does not start within {timeout}", self.name)));
                }
                if since.elapsed() < ANSWER * 2 {
                    output::say(format_args!("waiting for the session {}: {silent}", self.name));
                }
                shown = String::new();
                continue;
            };
            silent_since = None;
            match asked {
                Ok(None) => bail!("the session {} does not start: somebody deleted it", self.name),
                Ok(Some(session)) => match progress(&session) {
                    Progress::Started => break session.status.unwrap_or_default(),
                    Progress::Hopeless(why) => bail!("the session {} does not start: {why}", self.name),
                    Progress::Waiting(why) => {
                        // People take as long as the role lets them, and the operator says when that is over.
                        if awaits_approval(&session) {
                            deadline = Instant::now() + limit;
                        }
                        if Instant::now() >= deadline {
                            let timeout = GoDuration::from(limit);
                            bail!("the session {} does not start within {timeout}: {why}", self.name);
                        }
                        // A short wait is not worth a line.
                        if why != shown && since.elapsed() >= SHOWN_AFTER {
                            output::say(format_args!("waiting for the session {}: {why}", self.name));
                            shown = why;
                        }
                    }
                },
                // A request that failed for now may succeed later.
                Err(error) if may_pass(&error) && Instant::now() < deadline => {
                    let why = format!("{:#}", plain(error));
                    if why != shown {
                        output::say(format_args!("waiting for the session {}: {why}", self.name));
                        shown = why;
                        since = Instant::now();
                    }
                }
                Err(error) => {
                    return Err(plain(error)).with_context(|| format!("starting the session {}", self.name));
                }
            }
            sleep(POLL).await;
        };
        if let Some(certificate) = status.certificate {
            identity.put_certificate(&certificate.0)?;
        }
        let connection =
            status.connection.context("the session is Active and does not say where the server is")?;
        Ok(Access {
            username: status.username.unwrap_or_default(),
            connection,
            secret: status.credentials_secret_ref.map(|secret| secret.name),
            expires: status.expires_at.map(|time| time.0),
        })
    }

    /// Watches it, beside whatever else is done. An API server that does not answer is asked on: a network that is gone
    /// for a while does not end a session.
    pub(crate) fn watch(&self) -> Watch {
        let (sender, news) = mpsc::channel(1);
        let session = self.clone();
        let task = tokio::spawn(async move {
            let mut known = true;
            loop {
                sleep(WATCH).await;
                let asked = timeout(ANSWER, session.api.get_opt(&session.name)).await;
                let asked = match asked {
                    Ok(asked) => asked.map_err(plain),
                    Err(_) => Err(Silent(ANSWER).into()),
                };
                let told = match asked {
                    Ok(found) => {
                        if !known && sender.send(News::Known).await.is_err() {
                            return;
                        }
                        known = true;
                        news_of(found)
                    }
                    Err(error) if known => {
                        known = false;
                        Some(News::Unknown(format!("{error:#}")))
                    }
                    Err(_) => None,
                };
                let over = matches!(told, Some(News::Over(_)));
                if let Some(told) = told
                    && sender.send(told).await.is_err()
                {
                    return;
                }
                if over {
                    return;
                }
            }
        });
        Watch { news, _task: AbortOnDropHandle::new(task) }
    }

    /// Deletes it, without waiting for the end. Where the API server does not answer it is tried again for a while, until
    /// somebody interrupts.
    pub(crate) async fn end(&self, signals: &mut Signals) -> anyhow::Result<()> {
        let deadline = Instant::now() + END;
        let mut told = false;
        loop {
            let failed = match timeout(ANSWER, self.delete()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if !may_pass(&error) => {
                    let failed = plain(error);
                    return Err(failed.context(format!("the session {} could not be ended", self.name)));
                }
                Ok(Err(error)) => plain(error),
                Err(_) => Silent(ANSWER).into(),
            };
            if Instant::now() >= deadline {
                return Err(failed.context(format!("the session {} could not be ended", self.name)));
            }
            if !told {
                told = true;
                output::say(format_args!(
                    "ending the session {}: {failed:#}; trying again (Ctrl-C leaves it to its ttl)",
                    self.name
                ));
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                () = signals.any() => {
                    return Err(failed.context(format!("the session {} was not ended", self.name)));
                }
            }
        }
    }

    async fn delete(&self) -> Result<(), kube::Error> {
        let same = Preconditions { uid: self.uid.clone(), resource_version: None };
        match self.api.delete(&self.name, &DeleteParams::default().preconditions(same)).await {
            // Another one ended it before.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            ended => ended.map(drop),
        }
    }
}

fn news_of(session: Option<DatabaseSession>) -> Option<News> {
    let Some(session) = session else { return Some(News::Over("it was deleted".to_owned())) };
    let status = session.status.unwrap_or_default();
    if status.phase != Some(SessionPhase::Active) {
        let reason = status.end_reason.map_or("it is ending".to_owned(), |reason| format!("{reason:?}"));
        return Some(News::Over(reason));
    }
    status.certificate.map(|certificate| News::Certificate(certificate.0))
}

/// How far a starting session has come.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// It is Active, with its certificate where it asked for one.
    Started,
    /// It waits for this.
    Waiting(String),
    /// It never will start, or not before somebody acts, for this reason.
    Hopeless(String),
}

/// Does it wait for other people?
fn awaits_approval(session: &DatabaseSession) -> bool {
    let ready =
        session.status.as_ref().and_then(|status| conditions::find(&status.conditions, conditions::READY));
    ready.is_some_and(|ready| ready.reason == reasons::AWAITING_APPROVAL)
}

fn progress(session: &DatabaseSession) -> Progress {
    let Some(status) = &session.status else { return Progress::Waiting(UNSEEN.to_owned()) };
    let describe = |condition: &Condition| format!("{}: {}", condition.reason, condition.message);
    let ready = conditions::find(&status.conditions, conditions::READY);
    let why = match ready {
        // As the API server makes it.
        Some(ready) if status.observed_generation.is_none() && ready.status == conditions::UNKNOWN => {
            UNSEEN.to_owned()
        }
        Some(ready) => describe(ready),
        None => "nothing is said about it".to_owned(),
    };
    match status.phase {
        Some(SessionPhase::Active)
            if status.certificate.is_some() || session.spec.certificate_request.is_none() =>
        {
            return Progress::Started;
        }
        Some(SessionPhase::Ending | SessionPhase::Ended | SessionPhase::Rejected) => {
            return Progress::Hopeless(why);
        }
        _ => {}
    }
    let stalled = conditions::find(&status.conditions, conditions::STALLED);
    match stalled.filter(|stalled| stalled.status == conditions::TRUE) {
        Some(stalled) => Progress::Hopeless(ready.map_or_else(|| describe(stalled), describe)),
        None => Progress::Waiting(why),
    }
}

/// Whether the next attempt may succeed.
fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(status: Value) -> Progress {
        of(status, Some("LS0t"))
    }

    fn of(status: Value, request: Option<&str>) -> Progress {
        let spec = json!({"user": "alice", "database": "orders", "certificateRequest": request});
        let session = json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession", "metadata": {},
                             "spec": spec, "status": status});
        progress(&serde_json::from_value(session).expect("it is a session"))
    }

    fn condition(type_: &str, status: &str, reason: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": "m",
               "lastTransitionTime": "2024-01-01T00:00:00Z"})
    }

    #[test]
    fn what_a_session_says_of_itself_while_it_is_used() {
        let of = |status: Value| {
            let spec = json!({"user": "alice", "database": "orders"});
            let session = json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession", "metadata": {},
                                 "spec": spec, "status": status});
            news_of(Some(serde_json::from_value(session).expect("it is a session")))
        };
        assert_eq!(news_of(None), Some(News::Over("it was deleted".to_owned())));
        assert_eq!(of(json!({"phase": "Active"})), None);
        assert_eq!(
            of(json!({"phase": "Active", "certificate": "QQ=="})),
            Some(News::Certificate(b"A".to_vec()))
        );
        let ended = json!({"phase": "Ended", "endReason": "Expired"});
        assert_eq!(of(ended), Some(News::Over("Expired".to_owned())));
        assert_eq!(of(json!({"phase": "Ending"})), Some(News::Over("it is ending".to_owned())));
    }

    #[test]
    fn it_is_waited_for_as_long_as_that_is_of_use() {
        let fresh = json!({"phase": "Pending", "conditions": [condition("Ready", "Unknown", "Pending")]});
        assert_eq!(at(fresh), Progress::Waiting(UNSEEN.to_owned()));
        let ready = condition("Ready", "False", "DatabaseUnreachable");
        let with = |more: Value, phase: &str| {
            at(json!({"phase": phase, "observedGeneration": 1, "conditions": [ready, more]}))
        };
        let why = "DatabaseUnreachable: m".to_owned();
        let reconciling = condition("Reconciling", "True", "DatabaseUnreachable");
        let stalled = condition("Stalled", "True", "DatabaseUnreachable");
        assert_eq!(with(reconciling.clone(), "Pending"), Progress::Waiting(why.clone()));
        assert_eq!(with(condition("Stalled", "False", "X"), "Pending"), Progress::Waiting(why.clone()));
        assert_eq!(with(stalled, "Pending"), Progress::Hopeless(why.clone()));
        for phase in ["Ending", "Ended", "Rejected"] {
            assert_eq!(with(reconciling.clone(), phase), Progress::Hopeless(why.clone()), "{phase}");
        }
        // The certificate comes with the phase, or right after it.
        assert_eq!(with(reconciling, "Active"), Progress::Waiting(why));
        assert_eq!(at(json!({"phase": "Active", "certificate": "QQ=="})), Progress::Started);
        assert_eq!(of(json!({"phase": "Active"}), None), Progress::Started);
    }
}
