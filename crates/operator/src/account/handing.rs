//! What sessions are handed before they start, while they live, and what is taken back when they end.

use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use rolecall_api::names::{ACCOUNT_FINALIZER, USERNAME_ANNOTATION};
use rolecall_api::reasons;
use rolecall_api::{AccountPhase, Connection, DatabaseSession};
use rolecall_engine::Applied;
use rolecall_pki::credentials::only_certificates;
use serde_json::json;

use super::carry_out::Place;
use super::credentials::{self, Handed};
use super::gather::Item;
use super::lifecycle::{Blocker, Life, Times, Verdict, started_at};
use super::note::api_mode;
use super::password::{AccountPassword, Password};
use super::report::{Active, Outcome};
use super::round::{Round, held};
use super::{deadline, outcome_of_end};
use crate::Shared;
use crate::api_writer::{Severity, is_conflict};
use crate::model::Priority;
use crate::servers::{Issuer, Server};

/// How many requests for the sessions of one account are under way at once.
const REQUESTS_AT_ONCE: usize = 8;

impl Round {
    /// Before anything is done on the server: the finalizer, with the account's name beside it, and the credentials.
    /// False: not all starts are left.
    pub(super) async fn prepare_starts(&mut self, on: Place<'_>, password: Option<&AccountPassword>) -> bool {
        let Place { shared, key, server, account } = on;
        let starts = self.starts();
        let untouched: Vec<usize> =
            starts.iter().copied().filter(|index| !self.gathered.sessions[*index].touched).collect();
        let patched =
            few_at_once(untouched.iter().map(|index| mark(on, &self.gathered.sessions[*index].session)));
        for (index, patched) in untouched.iter().copied().zip(patched.await) {
            match patched {
                Ok(Some(session)) => self.gathered.sessions[index].mark(session),
                // It is gone: nothing was done.
                Ok(None) => self.gathered.sessions[index].verdict = Verdict::Untouched,
                // Somebody changed it: the next look decides anew.
                Err(error) if is_conflict(&error) => {
                    self.gathered.sessions[index].verdict = Verdict::Untouched;
                    self.retry = true;
                }
                Err(error) => {
                    tracing::warn!(account = %key, %error, "a session could not be marked");
                    self.fail_start(index, Blocker::of_api("marking the session", &error));
                }
            }
        }
        let now = self.now;
        let marked = self.starts();
        let handed = few_at_once(marked.iter().map(|index| {
            let item = &self.gathered.sessions[*index];
            let expires_at = self.life(*index).and_then(|life| life.expires_at);
            credentials::hand_out(shared, &item.session, server, account, password, expires_at, now)
        }))
        .await;
        for (index, handed) in marked.into_iter().zip(handed) {
            match handed {
                Ok(handed) => self.keep_handed(shared, index, handed),
                Err(blocker) => self.fail_start(index, blocker),
            }
        }
        self.starts() == starts
    }

    fn keep_handed(&self, shared: &Shared, index: usize, handed: Handed) {
        shared.memory.set_handed(self.uid(index), Some(handed));
    }

    fn uid(&self, index: usize) -> &str {
        self.gathered.sessions[index].session.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The server shows the access that starting sessions ask for.
    pub(super) fn finish_starts(&mut self, on: Place<'_>) {
        let roles = self.role_names(on.server);
        for index in self.starts() {
            let Some(life) = self.life(index) else { continue };
            let started = on.shared.now();
            let expires_at = life.ttl.and_then(|ttl| super::lifecycle::plus(started, ttl));
            let active = self.active(on, index, life, &roles, Some(started), expires_at);
            self.outcomes[index] = Some(Outcome::Active(active));
        }
        self.note_account(on.key, AccountPhase::Enabled, &roles, None);
    }

    /// Live sessions: their credentials are renewed when it is time, unless that would do no good, and their status
    /// follows. `trouble`: what is wrong although they have access.
    pub(super) async fn keep_lives(&mut self, on: Place<'_>, trouble: Option<&Blocker>, renew: bool) {
        let roles = self.role_names(on.server);
        for index in self.lives() {
            let Some(life) = self.life(index).cloned() else { continue };
            self.mark_again(on, index).await;
            let renewed = if renew { self.renew(on, index, life.expires_at).await } else { Ok(()) };
            self.retry |= renewed.is_err();
            let item = &self.gathered.sessions[index];
            let started = started_at(&item.session).unwrap_or(item.times.seen);
            let mut active = self.active(on, index, &life, &roles, Some(started), life.expires_at);
            active.trouble = trouble.cloned().or(renewed.err()).or_else(|| self.cannot_log_in(on, index));
            self.outcomes[index] = Some(Outcome::Active(active));
        }
        if !self.lives().is_empty() && trouble.is_none() {
            self.note_account(on.key, AccountPhase::Enabled, &roles, None);
        }
    }

    /// That the server takes no certificates of the CA for users.
    fn distrust(&self) -> Option<&Blocker> {
        let blocker = self.gathered.server.as_ref().and_then(|state| state.blocker.as_ref());
        blocker.filter(|blocker| blocker.reason == reasons::CLIENT_CA_NOT_TRUSTED)
    }

    /// That the server takes no certificates of the CA, of which this session has one.
    fn cannot_log_in(&self, on: Place<'_>, index: usize) -> Option<Blocker> {
        let handed = on.shared.memory.handed(self.uid(index));
        let is_of_it = handed.is_some_and(|handed| handed.made_from == Some(on.server.credentials()));
        self.distrust().filter(|_| is_of_it).cloned()
    }

    /// Somebody took the finalizer off a session that has access: it gets it back.
    async fn mark_again(&mut self, on: Place<'_>, index: usize) {
        let item = &mut self.gathered.sessions[index];
        if item.touched {
            return;
        }
        match mark(on, &item.session).await {
            Ok(Some(session)) => item.mark(session),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(account = %on.key, %error, "a session could not be marked again");
                self.retry = true;
            }
        }
    }

    /// Makes the credentials of a live session anew when it is time, or when they are not there any more.
    async fn renew(&self, on: Place<'_>, index: usize, expires_at: Option<Timestamp>) -> Result<(), Blocker> {
        let Place { shared, key, server, account } = on;
        let session = &self.gathered.sessions[index].session;
        let password = shared.memory.password(key);
        let mut handed = shared.memory.handed(self.uid(index));
        if handed.is_none() {
            let recalled = credentials::recall(shared, session, server, account, self.now).await;
            let recalled =
                recalled.map_err(|error| Blocker::of_api("reading the session's Secret", &error))?;
            let is_right = |found: Option<&AccountPassword>| match (found, &password) {
                (Some(found), Some(password)) => found.is_same(password),
                _ => true,
            };
            if let Some((known, _)) = recalled.filter(|(_, found)| is_right(found.as_ref())) {
                self.keep_handed(shared, index, known.clone());
                handed = Some(known);
            }
        }
        if handed.is_some_and(|handed| {
            // Those of a CA that the server does not take, not yet perhaps, do no good before they have to.
            let stale = handed.made_from != Some(server.credentials());
            let renewed = stale
                && matches!(server.issuer, Issuer::X509 { .. } | Issuer::Password)
                && self.distrust().is_none();
            !renewed && handed.renew_at(expires_at).is_none_or(|at| at > self.now)
        }) {
            return Ok(());
        }
        let made =
            credentials::hand_out(shared, session, server, account, password.as_ref(), expires_at, self.now)
                .await;
        match made {
            Ok(handed) => self.keep_handed(shared, index, handed),
            Err(blocker) => {
                shared.memory.set_handed(self.uid(index), None);
                return Err(blocker);
            }
        }
        Ok(())
    }

    /// One password serves all sessions of an account: the Secrets of those that stay follow its change. One that
    /// cannot be written is tried again, and told of, with whatever else is due for live sessions.
    pub(super) async fn renew_shared_password(&self, on: Place<'_>, password: &Password) {
        let Place { shared, server, account, .. } = on;
        let Password::New(new) = password else { return };
        for index in self.lives() {
            let session = &self.gathered.sessions[index].session;
            let made =
                credentials::hand_out(shared, session, server, account, Some(new), None, self.now).await;
            shared.memory.set_handed(self.uid(index), made.ok());
        }
    }

    /// The access of these sessions is gone: their credentials follow.
    pub(super) async fn finish_ends(&mut self, on: Place<'_>, applied: &Applied) {
        let Place { shared, key, server, .. } = on;
        for index in self.ends() {
            let Verdict::End(ending) = self.gathered.sessions[index].verdict.clone() else { continue };
            let session = Arc::clone(&self.gathered.sessions[index].session);
            let listed =
                session.status.as_ref().is_some_and(|status| status.credentials_secret_ref.is_some());
            let taken_back = if listed || !matches!(server.issuer, Issuer::None) {
                take_back(shared, &session).await
            } else {
                shared.memory.set_handed(self.uid(index), None);
                Ok(())
            };
            if let Some(why) = &applied.kept_because {
                let note = format!("{} on {} is disabled, not dropped: {why}", key.username, key.admin);
                shared.api.event(&*session, Severity::Warning, reasons::ACCOUNT_KEPT, "Drop", &note);
            }
            self.outcomes[index] = Some(match taken_back {
                Ok(()) => outcome_of_end(&ending, None),
                Err(error) => {
                    self.retry = true;
                    held(ending, &Blocker::of_api("deleting the session's Secret", &error))
                }
            });
        }
    }

    fn role_names(&self, server: &Server) -> Vec<String> {
        let wanted = || self.account_roles(server).unwrap_or_default().into_keys().collect();
        self.held_roles.clone().unwrap_or_else(wanted)
    }

    /// What is told of a session that has access.
    fn active(
        &self,
        on: Place<'_>,
        index: usize,
        life: &Life,
        roles: &[String],
        started_at: Option<Timestamp>,
        expires_at: Option<Timestamp>,
    ) -> Active {
        let session = &self.gathered.sessions[index].session;
        let told = session.status.clone().unwrap_or_default();
        // What is not known here was handed out by an operator before this one.
        let handed = on.shared.memory.handed(self.uid(index)).unwrap_or_else(|| Handed {
            secret: told.credentials_secret_ref.map(|secret| secret.name),
            certificate: told.certificate.and_then(|pem| only_certificates(&String::from_utf8_lossy(&pem.0))),
            ..Handed::default()
        });
        let mut active = Active {
            username: on.account.to_string(),
            db_roles: roles.to_vec(),
            mode: api_mode(&life.grant),
            started_at,
            expires_at,
            secret: handed.secret,
            certificate: handed.certificate,
            connection: Some(Connection {
                host: on.server.binding.host.clone(),
                port: on.server.binding.port,
                database: session.spec.database_name.clone(),
                ca_bundle: on.server.binding.server_ca.clone().map(|ca| ByteString(ca.into_bytes())),
            }),
            ..Active::default()
        };
        self.add_permissions(index, &mut active);
        active
    }
}

/// An account may have any number of sessions, and the API server has others to serve.
async fn few_at_once<F: Future>(requests: impl Iterator<Item = F>) -> Vec<F::Output> {
    let requests: Vec<F> = requests.collect();
    futures::stream::iter(requests).buffered(REQUESTS_AT_ONCE).collect().await
}

impl Item {
    /// The session as it is with the finalizer.
    fn mark(&mut self, session: DatabaseSession) {
        self.session = Arc::new(session);
        self.touched = true;
    }
}

async fn mark(on: Place<'_>, session: &DatabaseSession) -> kube::Result<Option<DatabaseSession>> {
    let annotations = json!({ USERNAME_ANNOTATION: &*on.key.username });
    on.shared.api.add_finalizer(on.shared, session, ACCOUNT_FINALIZER, annotations).await
}

/// Takes the credentials of a session back, and forgets them.
pub(super) async fn take_back(shared: &Shared, session: &DatabaseSession) -> kube::Result<()> {
    let uid = session.metadata.uid.as_deref().unwrap_or_default();
    credentials::take_back(shared, session, shared.memory.handed(uid).as_ref()).await?;
    shared.memory.set_handed(uid, None);
    Ok(())
}

/// When a session is looked at again by itself.
pub(super) fn next_look(
    shared: &Shared,
    session: &DatabaseSession,
    timed: bool,
    outcome: &Outcome,
    times: Times,
) -> Option<(Timestamp, Priority)> {
    match outcome {
        Outcome::Active(active) => {
            let expiry = active.expires_at.map(|at| (at, Priority::Urgent));
            let renewal = session
                .metadata
                .uid
                .as_deref()
                .and_then(|uid| shared.memory.handed(uid))
                .and_then(|handed| handed.renew_at(active.expires_at))
                .map(|at| (at, Priority::Normal));
            [expiry, renewal].into_iter().flatten().min()
        }
        Outcome::Waiting(blocker) | Outcome::Withdrawn(blocker) => {
            let before =
                session.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            let stalled_at = crate::progress::stalled_at(blocker, before, times.now);
            [deadline(session, timed, times), stalled_at]
                .into_iter()
                .flatten()
                .min()
                .map(|at| (at, Priority::Normal))
        }
        _ => None,
    }
}
