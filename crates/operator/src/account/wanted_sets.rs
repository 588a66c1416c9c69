//! The permission sets of an account: which it wants, and which it may have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rolecall_api::{Condition, conditions, reasons};
use rolecall_engine::{Desired, Observed, Want};
use tokio::time::Instant;

use super::lifecycle::{Blocker, Verdict, give_up_at, plus};
use super::report::{Active, Outcome};
use super::round::Round;
use crate::Shared;
use crate::model::{AccountKey, Priority, ReconcileKey};
use crate::servers::Server;
use crate::sets::{self, SetState, Wanted};

/// How long a session waits for its permission set before it is told so. Nearly all stand long before.
const UNTOLD: Duration = Duration::from_secs(2);

impl Round {
    /// Tells which permission sets the account wants now. A start waits until its set stands; where it cannot be made,
    /// the start fails.
    pub(super) fn want_sets(&mut self, shared: &Shared, key: &AccountKey, server: &Server) {
        let needed: Vec<usize> = self.lives().into_iter().chain(self.starts()).collect();
        let wanted: Vec<(usize, Wanted)> = needed
            .into_iter()
            .filter_map(|index| {
                let session = &self.gathered.sessions[index].session;
                let wanted = sets::wanted(&key.admin, server, session, &self.life(index)?.grant)?;
                Some((index, wanted))
            })
            .collect();
        let list: Vec<Wanted> = wanted.iter().map(|(_, wanted)| wanted.clone()).collect();
        for objects in shared.sets.without_listener(&list) {
            shared.queue.add(ReconcileKey::PermissionSets(objects), Priority::Normal);
        }
        let answer = shared.sets.want(key, &list);
        for (objects, priority) in answer.to_reconcile {
            shared.queue.add(ReconcileKey::PermissionSets(objects), priority);
        }
        for until in answer.lingering.values().flatten() {
            let left = until.saturating_duration_since(Instant::now());
            self.look_again(plus(shared.now(), left).map(|at| (at, Priority::Urgent)));
        }
        self.held_sets = answer.lingering.into_keys().collect();
        self.sets.clear();
        self.meanwhile.clear();
        for (index, wanted) in wanted {
            self.meanwhile.extend(answer.meanwhile.get(&wanted.key).map(|held| (index, Arc::clone(held))));
            let state = answer.states.get(&wanted.role).cloned().unwrap_or_default();
            let starts = matches!(self.gathered.sessions[index].verdict, Verdict::Start(_));
            match &state {
                SetState::NotYet if starts => {
                    let since = answer.waiting.get(&wanted.role).copied().unwrap_or_else(Instant::now);
                    self.wait_for_set(index, since);
                }
                SetState::Failed(blocker) if starts => self.fail_start(index, blocker.clone()),
                _ => {}
            }
            self.sets.insert(index, (wanted.role, state));
        }
    }

    /// Whoever looks at the objects triggers this account. Nothing is said of a wait that most often is over at once.
    fn wait_for_set(&mut self, index: usize, since: Instant) {
        let preparing = Blocker::passing(reasons::STARTING, "the object permissions are being prepared");
        let item = &self.gathered.sessions[index];
        // Where the first try counts, waiting for the set is part of it.
        let first_try_counts = item.session.spec.start_deadline.as_ref().is_some_and(|d| d.get().is_zero());
        let give_up_at =
            give_up_at(&item.session, item.times.seen).filter(|_| item.timed && !first_try_counts);
        if give_up_at.is_some_and(|at| at <= self.now) {
            return self.fail_start(index, preparing);
        }
        let mut tell_at = plus(self.now, UNTOLD.saturating_sub(since.elapsed()));
        if give_up_at.is_some_and(|at| tell_at.is_none_or(|tell_at| at <= tell_at)) {
            // The last that it is told is the reason why it is rejected.
            tell_at = Some(self.now);
        }
        if tell_at.is_some_and(|at| at <= self.now) {
            self.outcomes[index] = Some(Outcome::Waiting(preparing.clone()));
            tell_at = None;
        }
        self.look_again(tell_at.into_iter().chain(give_up_at).min().map(|at| (at, Priority::Normal)));
        self.prepares_set = true;
        self.gathered.sessions[index].verdict = Verdict::Wait(preparing);
    }

    /// A live account keeps a set that it has while nobody can tell how the set stands (after a restart, say), or while
    /// it waits for another one, and gets none that does not stand.
    pub(super) fn keep_only_sets_that_may_be(&mut self, desired: &mut Desired, observed: &Observed) {
        let Want::Enabled(enabled) = &mut desired.want else { return };
        let memberships = observed.account.iter().flat_map(|account| &account.memberships);
        let held: BTreeSet<&str> = memberships.map(|m| m.role.as_str()).collect();
        let wanted = self.sets.values().map(|(role, _)| role).filter(|role| held.contains(role.as_str()));
        self.member_of = Some(wanted.cloned().collect());
        enabled.sets.retain(|role| {
            let stands =
                self.sets.values().any(|(set, state)| set == role && matches!(state, SetState::Stands(_)));
            stands || held.contains(role.as_str())
        });
    }

    /// Somebody dropped the role of a set that is wanted: it is made again at once. True where one was found missing.
    pub(super) fn notice_missing_sets(
        &self,
        shared: &Shared,
        key: &AccountKey,
        desired: &Desired,
        observed: &Observed,
    ) -> bool {
        let Want::Enabled(enabled) = &desired.want else { return false };
        let missing = enabled.sets.iter().filter(|role| !observed.sets.contains_key(*role));
        let mut found = false;
        for objects in missing.filter_map(|role| shared.sets.mark_missing(&key.admin, role)) {
            tracing::warn!(account = %key, database = %objects.database, "the role of a permission set is missing");
            shared.queue.add(ReconcileKey::PermissionSets(objects), Priority::Urgent);
            found = true;
        }
        found
    }

    /// The permission sets that the account may have: all but those that are withheld, and those that a live one stays in
    /// until it has others.
    pub(super) fn sets_of(&self, indexes: &[usize]) -> BTreeSet<String> {
        let sets = indexes.iter().filter_map(|index| self.sets.get(index));
        let wanted = sets.filter(|(_, state)| !matches!(state, SetState::Withheld(_)));
        let kept = self.held_sets.iter().filter(|_| !self.lives().is_empty());
        wanted.map(|(role, _)| role).chain(kept).cloned().collect()
    }

    /// What the session's permission set gives it.
    pub(super) fn add_permissions(&self, index: usize, active: &mut Active) {
        let meanwhile = || self.meanwhile.get(&index).map(|held| held.counts.clone()).unwrap_or_default();
        match self.sets.get(&index) {
            None if self.life(index).is_some_and(|life| life.grant.has_permissions()) => {
                let why = "object permissions are given on one logical database; create the session anew with spec.databaseName";
                active.incomplete = Some(Blocker::stalled(reasons::DATABASE_NAME_REQUIRED, why));
            }
            None => {}
            Some((_, SetState::Stands(holding))) => {
                active.permissions = holding.counts.clone();
                active.incomplete = holding.incomplete.clone();
                active.complete = holding.incomplete.is_none();
            }
            Some((_, SetState::Withheld(blocker) | SetState::Failed(blocker))) => {
                active.permissions = meanwhile();
                active.incomplete = Some(blocker.clone());
            }
            Some((role, SetState::NotYet)) => match self.told_before(index, role) {
                Some((permissions, condition)) => {
                    active.permissions = permissions.clone();
                    active.complete = condition.status == conditions::TRUE;
                    active.incomplete = (!active.complete)
                        .then(|| Blocker::passing(condition.reason.clone(), condition.message.clone()));
                }
                None => {
                    let preparing = "the object permissions are being looked at";
                    active.permissions = meanwhile();
                    active.incomplete = Some(Blocker::passing(reasons::STARTING, preparing));
                }
            },
        }
    }

    /// What the status says of a set of which nobody knows yet how it stands, as after a restart. It holds as long as
    /// nothing else is known: the account is in the set, or could not be read.
    fn told_before(&self, index: usize, role: &str) -> Option<(&BTreeMap<String, u64>, &Condition)> {
        let status = self.gathered.sessions[index].session.status.as_ref()?;
        let condition = conditions::find(&status.conditions, conditions::PERMISSIONS_COMPLETE)?;
        let may_be_in = self.member_of.as_ref().is_none_or(|sets| sets.contains(role));
        may_be_in.then_some((&status.permissions, condition))
    }
}
