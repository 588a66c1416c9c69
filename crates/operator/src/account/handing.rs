//! What sessions are handed before they start, while they live, and what is taken back when they end.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use rolecall_api::names::{ACCOUNT_FINALIZER, USERNAME_ANNOTATION};
use rolecall_api::reasons;
use rolecall_api::{AccountPhase, Connection, DatabaseSession};
use rolecall_engine::{AccountName, Applied};
use secrecy::SecretString;
use serde_json::json;

use super::carry_out::Password;
use super::credentials::{self, Failure, Handed};
use super::lifecycle::{Life, Obstacle, Verdict};
use super::note::api_mode;
use super::report::{Active, Outcome};
use super::round::Round;
use super::{deadline, outcome_of_end};
use crate::objects::{Severity, is_conflict};
use crate::runtime::Failed;
use crate::servers::{Issuer, Server};
use crate::world::AccountKey;
use crate::{Lane, Shared};

impl Round {
    /// Before anything is done on the server: the finalizer, with the account's name beside it, and the credentials.
    /// False: a start failed.
    pub(super) async fn prepare_starts(
        &mut self,
        shared: &Shared,
        key: &AccountKey,
        server: &Server,
        account: &AccountName,
        password: Option<&SecretString>,
    ) -> Result<bool, Failed> {
        let starts = self.starts();
        let untouched: Vec<usize> =
            starts.iter().copied().filter(|index| !self.gathered.sessions[*index].touched).collect();
        let annotations = json!({ USERNAME_ANNOTATION: &*key.username });
        let patched = join_all(untouched.iter().map(|index| {
            let session = &self.gathered.sessions[*index].session;
            shared.objects.add_finalizer(shared, &**session, ACCOUNT_FINALIZER, annotations.clone())
        }))
        .await;
        for (index, patched) in untouched.into_iter().zip(patched) {
            match patched {
                Ok(Some(session)) => {
                    let item = &mut self.gathered.sessions[index];
                    item.session = Arc::new(session);
                    item.touched = true;
                }
                // It is gone, or somebody changed it: nothing was done, the next look decides anew.
                Ok(None) => self.gathered.sessions[index].verdict = Verdict::Untouched,
                Err(error) if is_conflict(&error) => return Err(error.into()),
                Err(error) => return Err(error.into()),
            }
        }
        let now = self.now;
        let starts = self.starts();
        let handed = join_all(starts.iter().map(|index| {
            let item = &self.gathered.sessions[*index];
            let expires_at = self.life(*index).and_then(|life| life.expires_at);
            credentials::hand_out(shared, &item.session, server, account, password, expires_at, now)
        }))
        .await;
        let mut all = !starts.is_empty() || !self.lives().is_empty();
        for (index, handed) in starts.into_iter().zip(handed) {
            match handed {
                Ok(handed) => self.keep_handed(shared, index, handed),
                Err(Failure::Obstacle(obstacle)) => {
                    self.fail_start(index, obstacle);
                    all = false;
                }
                Err(Failure::Api(error)) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    pub(super) fn keep_handed(&self, shared: &Shared, index: usize, handed: Handed) {
        let uid = self.gathered.sessions[index].session.metadata.uid.clone().unwrap_or_default();
        shared.memory.set_handed(&uid, Some(handed));
    }

    pub(super) fn finish_starts(
        &mut self,
        shared: &Shared,
        key: &AccountKey,
        server: &Server,
        account: &AccountName,
    ) {
        let roles: Vec<String> = self.account_roles(server).unwrap_or_default().into_keys().collect();
        for index in self.starts() {
            let Some(life) = self.life(index).cloned() else { continue };
            let started = Timestamp::now();
            let expires_at = life.ttl.and_then(|ttl| super::lifecycle::plus(started, ttl));
            let session = Arc::clone(&self.gathered.sessions[index].session);
            let mut active =
                active(shared, &session, server, account, &life, &roles, Some(started), expires_at);
            self.add_permissions(index, &mut active);
            self.outcomes[index] = Some(Outcome::Active(active));
        }
        self.note_account(key, AccountPhase::Enabled, &roles, None);
    }

    /// Live sessions: their credentials are renewed when it is time, and their status follows.
    pub(super) async fn keep_lives(
        &mut self,
        shared: &Shared,
        key: &AccountKey,
        server: Option<&Server>,
        trouble: Option<&Obstacle>,
    ) -> Result<(), Failed> {
        let (Some(server), Some(account)) = (server, self.gathered.account.clone()) else { return Ok(()) };
        let roles: Vec<String> = self.account_roles(server).unwrap_or_default().into_keys().collect();
        for index in self.lives() {
            let Some(life) = self.life(index).cloned() else { continue };
            let session = Arc::clone(&self.gathered.sessions[index].session);
            let uid = session.metadata.uid.clone().unwrap_or_default();
            if trouble.is_none() {
                let mut handed = shared.memory.handed(&uid);
                if handed.is_none()
                    && let Some((known, _)) = credentials::recall(shared, &session, server, self.now).await?
                {
                    shared.memory.set_handed(&uid, Some(known.clone()));
                    handed = Some(known);
                }
                let due = handed
                    .as_ref()
                    .is_none_or(|handed| handed.renew_at(life.expires_at).is_some_and(|at| at <= self.now));
                if due {
                    let password = shared.memory.password(key);
                    let made = credentials::hand_out(
                        shared,
                        &session,
                        server,
                        &account,
                        password.as_ref(),
                        life.expires_at,
                        self.now,
                    )
                    .await;
                    match made {
                        Ok(handed) => self.keep_handed(shared, index, handed),
                        Err(Failure::Api(error)) => return Err(error.into()),
                        Err(Failure::Obstacle(obstacle)) => {
                            self.outcomes[index] = Some(self.still_active(
                                index,
                                shared,
                                &session,
                                server,
                                &account,
                                &life,
                                &roles,
                                Some(&obstacle),
                            ));
                            self.retry = true;
                            continue;
                        }
                    }
                }
            }
            self.outcomes[index] =
                Some(self.still_active(index, shared, &session, server, &account, &life, &roles, trouble));
        }
        if !self.lives().is_empty() && trouble.is_none() {
            self.note_account(key, AccountPhase::Enabled, &roles, None);
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one sentence about one session")]
    pub(super) fn still_active(
        &self,
        index: usize,
        shared: &Shared,
        session: &DatabaseSession,
        server: &Server,
        account: &AccountName,
        life: &Life,
        roles: &[String],
        trouble: Option<&Obstacle>,
    ) -> Outcome {
        let started = session.status.as_ref().and_then(|status| status.started_at.as_ref()).map(|at| at.0);
        let mut active = active(shared, session, server, account, life, roles, started, life.expires_at);
        self.add_permissions(index, &mut active);
        active.trouble = trouble.cloned();
        Outcome::Active(active)
    }

    /// One password serves all sessions of an account: the Secrets of those that stay follow its change.
    pub(super) async fn renew_shared_password(
        &mut self,
        shared: &Shared,
        server: &Server,
        account: &AccountName,
        password: &Password,
    ) -> Result<(), Failed> {
        let Password::New(new) = password else { return Ok(()) };
        for index in self.lives() {
            let session = Arc::clone(&self.gathered.sessions[index].session);
            match credentials::hand_out(shared, &session, server, account, Some(new), None, self.now).await {
                Ok(handed) => self.keep_handed(shared, index, handed),
                Err(Failure::Api(error)) => return Err(error.into()),
                // The session keeps its access and is told when it is looked at again.
                Err(Failure::Obstacle(_)) => self.retry = true,
            }
        }
        Ok(())
    }

    /// The access of these sessions is gone: their credentials follow.
    pub(super) async fn finish_ends(
        &mut self,
        shared: &Shared,
        server: &Server,
        applied: &Applied,
        key: &AccountKey,
    ) -> Result<(), Failed> {
        for index in self.ends() {
            let Verdict::End(ending) = self.gathered.sessions[index].verdict.clone() else { continue };
            let session = Arc::clone(&self.gathered.sessions[index].session);
            let listed =
                session.status.as_ref().is_some_and(|status| status.credentials_secret_ref.is_some());
            if listed || !matches!(server.issuer, Issuer::None) {
                take_back(shared, &session).await?;
            } else {
                shared.memory.set_handed(session.metadata.uid.as_deref().unwrap_or_default(), None);
            }
            if let Some(why) = &applied.kept_because {
                let note = format!("{} on {} is disabled, not dropped: {why}", key.username, key.admin);
                shared.objects.event(&*session, Severity::Warning, reasons::ACCOUNT_KEPT, "Drop", &note);
            }
            self.outcomes[index] = Some(outcome_of_end(&ending, None));
        }
        Ok(())
    }
}

/// Takes the credentials of a session back, and forgets them.
pub(super) async fn take_back(shared: &Shared, session: &DatabaseSession) -> Result<(), Failed> {
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
    now: Timestamp,
) -> Option<(Timestamp, Lane)> {
    match outcome {
        Outcome::Active(active) => {
            let expiry = active.expires_at.map(|at| (at, Lane::Urgent));
            let renewal = session
                .metadata
                .uid
                .as_deref()
                .and_then(|uid| shared.memory.handed(uid))
                .and_then(|handed| handed.renew_at(active.expires_at))
                .map(|at| (at, Lane::Normal));
            [expiry, renewal].into_iter().flatten().min()
        }
        Outcome::Waiting(_) => deadline(session, timed, now).map(|at| (at, Lane::Normal)),
        _ => None,
    }
}

#[allow(clippy::too_many_arguments, reason = "one sentence about one session")]
fn active(
    shared: &Shared,
    session: &DatabaseSession,
    server: &Server,
    account: &AccountName,
    life: &Life,
    roles: &[String],
    started_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
) -> Active {
    let handed =
        session.metadata.uid.as_deref().and_then(|uid| shared.memory.handed(uid)).unwrap_or_default();
    Active {
        username: account.to_string(),
        db_roles: roles.to_vec(),
        mode: api_mode(&life.grant),
        started_at,
        expires_at,
        secret: handed.secret,
        certificate: handed.certificate,
        connection: Some(Connection {
            host: server.binding.host.clone(),
            port: server.binding.port,
            database: session.spec.database_name.clone(),
        }),
        permissions: BTreeMap::new(),
        complete: false,
        trouble: None,
        incomplete: None,
    }
}
