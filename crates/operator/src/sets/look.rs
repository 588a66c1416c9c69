//! Which objects a reconcile looks at, and what follows from what it found.

use std::sync::Arc;
use std::time::Duration;

use rolecall_api::DatabaseAdmin;
use rolecall_engine::ChangedObjects;
use rolecall_policy::{ImportRules, PermissionEntries};
use tokio::time::Instant;

use super::baseline::{Baseline, Basis};
use super::decide::{self, Look};
use super::reconcile::{Reconciled, Reconciliation};
use super::{SetState, report_counts};
use crate::Shared;
use crate::model::{Action, Cause, DatabaseKey, Priority, ReconcileKey, plus};
use crate::servers::Server;

/// A logical database with sets that are kept up to date.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) shared: &'a Shared,
    pub(super) key: &'a DatabaseKey,
    pub(super) admin: &'a DatabaseAdmin,
    pub(super) server: &'a Server,
    pub(super) kept: &'a [(String, Arc<PermissionEntries>)],
}

impl Work<'_> {
    /// Gives the sets what they should have, and says when to come back.
    pub(super) async fn sync(self, cause: Cause, rules: ImportRules, action: &mut Action) {
        let Self { shared, key, admin, server, kept } = self;
        let object_sync = admin.spec.object_sync.get();
        let overdue = shared.sets.failing_for(key).is_some_and(|time| time > object_sync);
        let pass = Reconciliation { shared, key, server, overdue };
        let database = rolecall_resolve::database(admin);
        // Before anything is read: what is announced from now on is looked at afterwards.
        let announced = shared.listeners.take_announced(key);
        let basis = Basis {
            engine: Arc::clone(&server.engine),
            database: database.clone(),
            rules: rules.clone(),
            roles: kept.iter().map(|(role, _)| role.clone()).collect(),
        };
        // Whatever becomes of this reconcile, what was found before does not hold any more.
        let baseline = shared.sets.take_baseline(key);
        let baseline = baseline.filter(|known| known.holds(&basis, Instant::now()) && self.is_complete());
        match (decide::look(cause, announced), baseline) {
            (Look::Some(these), Some(baseline)) if these.is_empty() => return self.keep(baseline, action),
            (Look::Some(these), Some(baseline)) => {
                match pass.run_on(&these, baseline, &database, rules.clone(), kept).await {
                    Ok(Some(updated)) => {
                        action.retry |= updated.retry;
                        report_counts(shared, key, Some(updated.baseline.imported()));
                        return self.keep(updated.baseline, action);
                    }
                    Ok(None) => {}
                    Err(blocker) => {
                        tracing::debug!(database = %key.database, admin = %key.admin, error = blocker.message, "the objects that have changed could not be read: all are")
                    }
                }
            }
            _ => {}
        }
        let rests_until = shared.listeners.rests_until(key).filter(|until| *until > Instant::now());
        if let (Cause::Announced, Some(until)) = (cause, rests_until) {
            shared.listeners.announce(key, ChangedObjects::All);
            action.retry |= !pass.disconnect().await;
            return self.come_back(until, action);
        }
        let begun = Instant::now();
        let reconciled = match pass.run(basis, kept).await {
            Ok(reconciled) => Some(reconciled),
            Err(blocker) => {
                tracing::warn!(database = %key.database, admin = %key.admin, error = blocker.message, "the objects could not be read");
                kept.iter().for_each(|(role, _)| pass.report_failure(role, &blocker));
                None
            }
        };
        let took = begun.elapsed();
        shared.sets.set_failing(key, reconciled.as_ref().is_none_or(|reconciled| reconciled.failed));
        action.retry |= reconciled.as_ref().is_none_or(|reconciled| reconciled.retry);
        let complete = reconciled.as_ref().is_some_and(|reconciled| reconciled.complete);
        let interval = shared.clock.spread(decide::interval(complete, took, object_sync), 0.9..1.0);
        if let Some(reconciled) = reconciled {
            self.conclude(reconciled, took, interval);
        }
        // From an earlier pass, where this one failed.
        action.retry |= !pass.disconnect().await;
        action.at_earliest(plus(shared.now(), interval).map(|at| (at, Priority::Normal)));
    }

    fn conclude(self, reconciled: Reconciled, took: Duration, interval: Duration) {
        let Self { shared, key, server, .. } = self;
        // An unused set is kept up to date at intervals only, and when it is wanted again.
        if shared.cache().uses_database(key) {
            let (queue, clock) = (&shared.queue, &shared.clock);
            shared.listeners.start(key, &server.engine, queue, clock, reconciled.announced, took);
        }
        // Somebody dropped a set that was in place, and its members with it.
        for member in reconciled.made.iter().flat_map(|role| shared.sets.members(key, role)) {
            shared.queue.add(ReconcileKey::Account(member), Priority::Normal);
        }
        report_counts(shared, key, Some(reconciled.imported));
        // What is missing somewhere is looked for everywhere.
        let baseline = reconciled.baseline.filter(|_| reconciled.complete && !reconciled.retry);
        shared.sets.set_baseline(key, baseline.map(|known| known.until(Instant::now() + interval)));
    }

    /// A look at a few objects puts off none at all of them.
    fn keep(self, baseline: Baseline, action: &mut Action) {
        let Self { shared, key, .. } = self;
        self.come_back(baseline.due(), action);
        shared.sets.set_baseline(key, Some(baseline));
    }

    fn come_back(self, at: Instant, action: &mut Action) {
        let left = at.saturating_duration_since(Instant::now());
        action.at_earliest(plus(self.shared.now(), left).map(|at| (at, Priority::Normal)));
    }

    /// As far as is known, the sets have all that they should.
    fn is_complete(self) -> bool {
        let Self { shared, key, kept, .. } = self;
        kept.iter().all(|(role, _)| match shared.sets.state(key, role) {
            SetState::Ready(contents) => contents.incomplete.is_none(),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests;
