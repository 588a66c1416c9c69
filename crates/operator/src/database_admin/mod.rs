//! The DatabaseAdmin: its server is connected, checked, and in the end left.
//!
//! A reconcile reads as:
//!
//! | step | module | does I/O |
//! |---|---|---|
//! | what its Secrets, its server and its accounts are | `observe` | Secrets, the server |
//! | what that means: blockers, where to end accesses after a failure, when to come back | `decide` | no |
//! | which accounts can be used, and should they | `inventory`, `orphans` | no |
//! | the status | `status` | no |
//! | writing it, and the events | `report` | the API server |
//! | the end of a deleted one | `teardown` | the server, the API server |
//!
//! In between a task watches each server for failovers (`failover_watch`, `failover`).

mod decide;
mod failover;
mod failover_watch;
mod inventory;
mod needs;
mod observation;
mod observe;
mod orphans;
mod report;
mod status;
mod teardown;
mod trust;

use std::collections::BTreeSet;

use rolecall_api::{DatabaseAdmin, Deletion};

pub use failover_watch::FailoverWatch;
pub use needs::KnownNeeds;

use crate::model::{AccountKey, Action, DatabaseKey, ObjectKey, Priority, ReconcileError, ReconcileKey};
use crate::{Shared, account, sets};
use decide::Due;
use observation::Observation;

/// Reconciles one DatabaseAdmin.
///
/// # Errors
///
/// What the API server refused. What the server refuses is reported on the object and retried.
pub async fn reconcile(shared: &Shared, key: &ObjectKey) -> Result<Action, ReconcileError> {
    let now = shared.now();
    let Some(admin) = shared.cache().admin(key) else {
        let mut action = teardown::without_admin(shared, key, now).await;
        let late = account::take_back_late(shared, key).await;
        action.at_earliest(late.map(|at| (at, Priority::Normal)));
        return Ok(action);
    };
    let observing = observe::observe(shared, key, &admin, now);
    let observed = report::while_observing(shared, key, &admin, observing).await;
    // Its status may have been written meanwhile.
    let newest = shared.cache().admin(key).filter(|newest| newest.metadata.uid == admin.metadata.uid);
    let admin = newest.unwrap_or(admin);
    // Before accounts are reconciled: what a set gives decides what leaving it means.
    let leftovers = match observed.state.server.as_ref().filter(|_| observed.reachable == Some(true)) {
        Some(server) => sets::find_leftovers(shared, key, server).await,
        None => Some(BTreeSet::new()),
    };
    // Before anything is written: ending accesses needs the server, not the status.
    publish(shared, key, &admin, &observed, leftovers.iter().flatten());
    // Before accounts are reported as usable.
    let returned = returned(shared, &observed);
    trigger_accounts(shared, &observed, Priority::Normal);
    let status = status::status(&admin, &observed, now);
    report::write(shared, &admin, &status).await?;
    if let Some(named) = &observed.named {
        report::orphans(shared, &admin, key, named, &returned).await;
    }
    let late = account::take_back_late(shared, key).await;
    if admin.metadata.deletion_timestamp.is_some() {
        return teardown::tear_down(shared, key, &admin, &observed, now).await;
    }
    if let Some(server) = observed.state.server.as_ref().filter(|_| !admin.spec.suspend) {
        account::find_missing(shared, key, server).await;
    }
    let due = Due {
        retry: observed.is_failing() || observed.is_unchecked(&admin) || leftovers.is_none(),
        resync: shared.clock.spread(shared.settings.resync_interval, 0.9..1.1),
    };
    let mut action = decide::next(due, observed.state.blocker.as_ref(), &status.conditions, now);
    if action.at.is_none() {
        action.at_earliest(late.map(|at| (at, Priority::Normal)));
    }
    Ok(action)
}

/// Reconciles the accounts of a server and nothing else: a connection to it broke, so that it may be another one, which
/// has not received the last changes.
///
/// # Errors
///
/// None so far: a server that does not answer is tried again.
pub async fn reconcile_inventory(shared: &Shared, key: &ObjectKey) -> Result<Action, ReconcileError> {
    let admin = shared.cache().admin(key).filter(|admin| {
        let retained = admin.metadata.deletion_timestamp.is_some() && admin.spec.deletion == Deletion::Retain;
        !admin.spec.suspend && !retained
    });
    let Some((admin, state)) = admin.zip(shared.servers.get(key)) else { return Ok(Action::await_change()) };
    let Some(server) = state.server else { return Ok(Action::await_change()) };
    let change = failover::notice(shared, key, &admin, &server, None).await;
    let inventory = match server.engine.inventory().await {
        Ok(inventory) => inventory,
        Err(error) => {
            tracing::debug!(admin = %key, %error, "the accounts could not be listed");
            return Ok(Action { retry: true, ..Action::await_change() });
        }
    };
    shared.servers.mark_reached(key);
    let mut observed = Observation::default();
    inventory::assess(shared, key, &admin, &server, &inventory, &mut observed);
    trigger_accounts(shared, &observed, Priority::Urgent);
    if change.is_some() || state.unreachable {
        // For the rest of the status, and privileges that may have been lost.
        shared.queue.add(ReconcileKey::Admin(key.clone()), Priority::Normal);
    }
    Ok(Action::await_change())
}

/// Makes the server known to the accounts, and triggers those for which something changed.
fn publish<'a>(
    shared: &Shared,
    key: &ObjectKey,
    admin: &DatabaseAdmin,
    observed: &Observation,
    leftovers: impl Iterator<Item = &'a DatabaseKey>,
) {
    if shared.servers.set(key, observed.state.clone()) {
        shared.trigger(shared.cache().database_triggers(key));
        for account in shared.cache().accounts_of_admin(key) {
            shared.queue.add(ReconcileKey::Account(account), Priority::Normal);
        }
    }
    match &observed.state.server {
        Some(server) if !admin.spec.suspend => {
            shared.failover_watch.start(key, server, &shared.queue, &shared.clock);
        }
        _ => shared.failover_watch.stop(key),
    }
    for database in leftovers {
        shared.queue.add(ReconcileKey::PermissionSets(database.clone()), Priority::Normal);
    }
}

/// The orphans of ours whose access had ended before.
fn returned(shared: &Shared, observed: &Observation) -> BTreeSet<AccountKey> {
    let named = observed.named.iter().flatten().filter(|orphan| orphan.ours);
    named
        .filter(|orphan| account::returned::was_over(shared, &orphan.key))
        .map(|orphan| orphan.key.clone())
        .collect()
}

/// Triggers the accounts that are not as they should be. `drifted`: how soon those that somebody else changed.
fn trigger_accounts(shared: &Shared, observed: &Observation, drifted: Priority) {
    for account in &observed.orphans {
        shared.orphans.suspect(account);
        shared.queue.add(ReconcileKey::Account(account.clone()), Priority::Urgent);
    }
    for (account, report) in &observed.reports {
        if shared.reports.set(account, report.clone()) {
            shared.queue.add(ReconcileKey::User(report.user.clone()), Priority::Normal);
        }
    }
    for account in &observed.drifted {
        shared.queue.add(ReconcileKey::Account(account.clone()), drifted);
    }
}
