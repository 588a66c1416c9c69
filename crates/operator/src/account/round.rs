//! One look at an account: its sessions sorted by what should happen to them, and what needs no server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use rolecall_api::{Deletion, reasons};

use super::carry_out::{Attempt, Place};
use super::gather::{Gathered, Item};
use super::handing::take_back;
use super::lifecycle::{Blocker, Ending, Life, Next, Times, Verdict, give_up, is_late, last_blocker, phase};
use super::memory::Report;
use super::outcome_of_end;
use super::report::{Left, Outcome};
use crate::Shared;
use crate::api_writer::Severity;
use crate::model::{AccountKey, ObjectKey, Priority, ReconcileError};
use crate::servers::ServerState;
use crate::sets::{SetContents, SetState};

/// Starts may fail one by one, and each failure can change what the account should be. After so many attempts, and one
/// for each session, the rest waits for the next look.
const ATTEMPTS: usize = 8;

/// One look at an account, while it is carried out.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) gathered: Gathered,
    pub(super) now: Timestamp,
    pub(super) outcomes: Vec<Option<Outcome>>,
    /// Starts that wait for what becomes of others, whose roles are not theirs.
    pub(super) set_aside: BTreeSet<usize>,
    /// A start waits for its permission set.
    pub(super) prepares_set: bool,
    /// The permission set of each session that wants one, and how it stands.
    pub(super) sets: BTreeMap<usize, (String, SetState)>,
    /// The database roles that the account has, where those that it should have cannot be given.
    pub(super) held_roles: Option<Vec<String>>,
    /// Permission sets that nobody wants any more and that the account stays in until it has others.
    pub(super) held_sets: BTreeSet<String>,
    /// The permission sets that the account was seen to be a member of; `None` where it has not been read.
    pub(super) member_of: Option<BTreeSet<String>>,
    /// What the permission set holds that a live session stays in meanwhile.
    pub(super) meanwhile: BTreeMap<usize, Arc<SetContents>>,
    /// When to look again by itself.
    pub(super) again: Option<(Timestamp, Priority)>,
    /// Something failed that may work when it is tried again.
    pub(super) retry: bool,
    /// What the status of the DatabaseUser will say.
    pub(super) report: Option<Report>,
}

impl Round {
    pub(super) fn new(gathered: Gathered, now: Timestamp) -> Self {
        let outcomes = gathered.sessions.iter().map(|_| None).collect();
        Self {
            gathered,
            now,
            outcomes,
            set_aside: BTreeSet::new(),
            prepares_set: false,
            sets: BTreeMap::new(),
            held_roles: None,
            held_sets: BTreeSet::new(),
            member_of: None,
            meanwhile: BTreeMap::new(),
            again: None,
            retry: false,
            report: None,
        }
    }

    /// What became of each session; `None` where nothing is to be said.
    pub(super) fn outcomes(self) -> impl Iterator<Item = (Item, Option<Outcome>)> {
        self.gathered.sessions.into_iter().zip(self.outcomes)
    }

    /// Look again at that time, or earlier if that was said before.
    pub(super) fn look_again(&mut self, at: Option<(Timestamp, Priority)>) {
        self.again = self.again.into_iter().chain(at).min();
    }

    pub(super) async fn run(&mut self, shared: &Shared, key: &AccountKey) -> Result<(), ReconcileError> {
        self.settle_without_server();
        if !self.needs_server() {
            return Ok(());
        }
        if self.retained(shared, key).await? {
            return Ok(());
        }
        let state = match self.gathered.server.clone() {
            // Nobody is there who could say when it may be touched.
            Some(state) if state.retain && self.gathered.admin.is_none() => ServerState::default(),
            Some(state) => state,
            None if self.gathered.admin.is_some() => {
                // Its reconciler is on the way and triggers this account when it knows more.
                self.wait_for_first_look();
                return Ok(());
            }
            None => ServerState::default(),
        };
        if let Some(blocker) = self.obstacle_to_starts(&state) {
            self.fail_starts(&blocker);
        }
        if let Some(blocker) = self.obstacle_to_everything(&state) {
            self.hold_ends(shared, key, &blocker).await?;
            if let Some(server) = &state.server {
                self.want_sets(shared, key, server);
            }
            if let (Some(server), Some(account)) = (&state.server, &self.gathered.account.clone()) {
                self.keep_lives(Place { shared, key, server, account }, None, true).await;
            }
            return Ok(());
        }
        // The blocker to everything is a server that is missing.
        let (Some(server), Some(account)) = (state.server, self.gathered.account.clone()) else {
            return Ok(());
        };
        let on = Place { shared, key, server: &server, account: &account };
        for _ in 0..ATTEMPTS + self.gathered.sessions.len() {
            if self.attempt(on).await? == Attempt::Finished && !self.has_more_candidates(on.server) {
                return Ok(());
            }
        }
        self.retry = true;
        Ok(())
    }

    /// What needs no server: waiting, rejected, untouched sessions.
    pub(super) fn settle_without_server(&mut self) {
        for (index, item) in self.gathered.sessions.iter().enumerate() {
            self.outcomes[index] = match &item.verdict {
                Verdict::Wait(blocker) => Some(Outcome::Waiting(blocker.clone())),
                Verdict::Reject(blocker) => Some(Outcome::Rejected(blocker.clone())),
                Verdict::Over
                | Verdict::Untouched
                | Verdict::Live(_)
                | Verdict::Start(_)
                | Verdict::End(_) => None,
            };
        }
    }

    pub(super) fn needs_server(&self) -> bool {
        self.gathered
            .sessions
            .iter()
            .any(|item| matches!(item.verdict, Verdict::Live(_) | Verdict::Start(_) | Verdict::End(_)))
    }

    pub(super) fn wait_for_first_look(&mut self) {
        let blocker = Blocker::passing(reasons::PENDING, "the DatabaseAdmin has not been looked at yet");
        for index in self.starts() {
            if phase(&self.gathered.sessions[index].session) != rolecall_api::SessionPhase::Active {
                self.outcomes[index] = Some(Outcome::Waiting(blocker.clone()));
            }
        }
        self.retry = true;
    }

    pub(super) fn obstacle_to_starts(&self, state: &ServerState) -> Option<Blocker> {
        if let Some(blocker) = self.suspended() {
            return Some(blocker);
        }
        state.blocker.clone()
    }

    pub(super) fn obstacle_to_everything(&self, state: &ServerState) -> Option<Blocker> {
        if let Some(blocker) = self.suspended() {
            return Some(blocker);
        }
        if state.unreachable || state.server.is_none() {
            return Some(state.blocker.clone().unwrap_or_else(|| {
                Blocker::stalled(
                    reasons::DATABASE_NOT_FOUND,
                    "there is no DatabaseAdmin to reach the server with",
                )
            }));
        }
        None
    }

    pub(super) fn suspended(&self) -> Option<Blocker> {
        let admin = self.gathered.admin.as_ref().filter(|admin| admin.spec.suspend)?;
        Some(Blocker::stalled(
            reasons::DATABASE_SUSPENDED,
            format!(
                "the DatabaseAdmin {:?} is suspended: nothing on its server is touched",
                admin.metadata.name.as_deref().unwrap_or_default()
            ),
        ))
    }

    /// The starts that this attempt is about.
    pub(super) fn starts(&self) -> Vec<usize> {
        let mut starts = self.indexes(|item| matches!(item.verdict, Verdict::Start(_)));
        starts.retain(|index| !self.set_aside.contains(index));
        starts
    }

    pub(super) fn lives(&self) -> Vec<usize> {
        self.indexes(|item| matches!(item.verdict, Verdict::Live(_)))
    }

    pub(super) fn ends(&self) -> Vec<usize> {
        self.indexes(|item| matches!(item.verdict, Verdict::End(_)))
    }

    pub(super) fn indexes(&self, is: impl Fn(&Item) -> bool) -> Vec<usize> {
        let items = self.gathered.sessions.iter().enumerate();
        items.filter(|(_, item)| is(item)).map(|(index, _)| index).collect()
    }

    pub(super) fn life(&self, index: usize) -> Option<&Life> {
        match &self.gathered.sessions[index].verdict {
            Verdict::Live(life) | Verdict::Start(life) => Some(life),
            _ => None,
        }
    }

    pub(super) fn fail_starts(&mut self, blocker: &Blocker) {
        for index in self.starts() {
            self.fail_start(index, blocker.clone());
        }
    }

    /// Whoever could not start in time does not start, whatever the server has done by now. True where there was one.
    pub(super) fn refuse_late_starts(&mut self, shared: &Shared) -> bool {
        let now = shared.now();
        let is_late = |index: &usize| {
            let item = &self.gathered.sessions[*index];
            is_late(&item.session, item.timed, Times { now, ..item.times })
        };
        let late: Vec<usize> = self.starts().into_iter().filter(is_late).collect();
        for index in &late {
            self.now = now;
            self.gathered.sessions[*index].times.now = now;
            self.fail_start(*index, last_blocker(&self.gathered.sessions[*index].session));
        }
        !late.is_empty()
    }

    /// A start that did not come off: it waits, is rejected, or has to be ended first.
    pub(super) fn fail_start(&mut self, index: usize, blocker: Blocker) {
        let item = &mut self.gathered.sessions[index];
        let verdict = give_up(&item.session, item.timed, blocker, item.times);
        let verdict = match verdict {
            // Something may have been done for it in this very look.
            Verdict::Reject(blocker) if item.touched => {
                Verdict::End(Ending { reason: None, next: Next::Rejected(blocker) })
            }
            Verdict::Wait(blocker) if item.touched => {
                Verdict::End(Ending { reason: None, next: Next::Again(blocker) })
            }
            other => other,
        };
        self.outcomes[index] = match &verdict {
            Verdict::Wait(blocker) => Some(Outcome::Waiting(blocker.clone())),
            Verdict::Reject(blocker) => Some(Outcome::Rejected(blocker.clone())),
            _ => None,
        };
        self.retry |= matches!(verdict, Verdict::Wait(_) | Verdict::End(_));
        item.verdict = verdict;
    }

    /// Accesses that should end and cannot: because the server is gone for good they are let go, otherwise they stay.
    pub(super) async fn hold_ends(
        &mut self,
        shared: &Shared,
        key: &AccountKey,
        blocker: &Blocker,
    ) -> Result<(), ReconcileError> {
        let given_up = given_up(
            self.gathered.admin.as_deref().map(|_| self.gathered.admin_deleted_at),
            self.gathered.server.as_ref(),
            shared.settings.teardown_deadline,
            self.now,
        );
        for index in self.ends() {
            let Verdict::End(ending) = self.gathered.sessions[index].verdict.clone() else { continue };
            let session = Arc::clone(&self.gathered.sessions[index].session);
            match given_up {
                GivenUp::No => {
                    self.outcomes[index] = Some(held(ending, blocker));
                    self.retry = true;
                }
                GivenUp::Abandoned => {
                    let note = format!(
                        "the access of {} on {} could not be taken away: {}. Disable the account on the server by hand",
                        key.username, key.admin, blocker.message
                    );
                    shared.api.event(&*session, Severity::Warning, reasons::ABANDONED, "End", &note);
                    tracing::warn!(account = %key, session = %ObjectKey::of(&*session), "abandoned");
                    // Whoever has no other copy of the credentials has no access any more.
                    take_back(shared, &session).await?;
                    self.outcomes[index] = Some(outcome_of_end(&ending, Some(Left::Abandoned)));
                }
            }
        }
        Ok(())
    }

    /// With `deletion: Retain` the database stays as it is, whether it answers or not.
    pub(super) async fn retained(
        &mut self,
        shared: &Shared,
        key: &AccountKey,
    ) -> Result<bool, ReconcileError> {
        let retained = self.gathered.admin.as_ref().is_some_and(|admin| {
            admin.metadata.deletion_timestamp.is_some() && admin.spec.deletion == Deletion::Retain
        });
        if !retained {
            return Ok(false);
        }
        for index in self.ends() {
            let Verdict::End(ending) = self.gathered.sessions[index].verdict.clone() else { continue };
            let session = Arc::clone(&self.gathered.sessions[index].session);
            take_back(shared, &session).await?;
            let note = format!(
                "{} on {} stays as it is: the DatabaseAdmin is being deleted with deletion: Retain",
                key.username, key.admin
            );
            shared.api.event(&*session, Severity::Warning, reasons::DATABASE_REMOVED, "End", &note);
            self.outcomes[index] = Some(outcome_of_end(&ending, Some(Left::Retained)));
        }
        Ok(true)
    }
}

/// What follows for a session whose access should end and is not gone yet.
pub(super) fn held(ending: Ending, blocker: &Blocker) -> Outcome {
    let reason = ending.reason;
    match ending.next {
        // It never became Active: it keeps waiting, and what may be there is closed later.
        Next::Pending(blocker) | Next::Again(blocker) if reason.is_none() => Outcome::Waiting(blocker),
        _ => Outcome::Ending { reason, blocker: blocker.clone() },
    }
}

/// Is ending accesses on a server given up?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GivenUp {
    /// Never, while its DatabaseAdmin is declared.
    No,
    /// Its DatabaseAdmin is gone, or is being deleted for longer than the deadline.
    Abandoned,
}

/// `admin`: since when it is being deleted, where it is there.
fn given_up(
    admin: Option<Option<Timestamp>>,
    server: Option<&ServerState>,
    deadline: std::time::Duration,
    now: Timestamp,
) -> GivenUp {
    let since = match admin {
        Some(deleted_at) => deleted_at,
        // While its server is known, its reconciler says since when, or is about to.
        None => match server.filter(|state| state.server.is_some() && !state.retain) {
            Some(state) => state.gone_since,
            None => return GivenUp::Abandoned,
        },
    };
    let Some(since) = since else { return GivenUp::No };
    match super::lifecycle::plus(since, deadline) {
        Some(end) if end <= now => GivenUp::Abandoned,
        _ => GivenUp::No,
    }
}
