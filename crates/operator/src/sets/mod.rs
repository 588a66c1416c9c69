//! Object permissions: the permission sets of each logical database.
//!
//! Accounts say which sets they want ([`wanted`]); what a set holds is made right here, per logical database: read its
//! objects, label them by the import rules, compute what each set should hold, sync, and trigger the accounts. An
//! account never waits for objects to be granted to it, only for its set to stand, which most often it does already.
//!
//! | module | holds |
//! |---|---|
//! | `registry` | which sets are wanted, and their state |
//! | `state` | the states of a set, as plain data |
//! | `transition` | accounts on their way from one set to another |
//! | `reconcile` | one pass over the objects of a logical database |
//! | `outcome` | what became of a set, for its accounts |
//! | `gc` | sets that nobody uses any more |
//! | `listener` | databases that announce changes of their objects |
//! | `imported` | what was found, for counting and warning |

mod gc;
mod imported;
mod listener;
mod outcome;
mod reconcile;
mod registry;
mod state;
mod transition;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rolecall_api::DatabaseSession;
use rolecall_resolve::Grant;
use tokio::time::Instant;

pub use gc::{drop_all, find_leftovers};
pub use listener::Listeners;
pub use registry::SetRegistry;
pub use state::{Imported, LingeringSets, SetContents, SetState, Wanted, WantedSets};

use crate::Shared;
use crate::model::{Action, Blocker, DatabaseKey, ObjectKey, Priority, ReconcileError, ReconcileKey, plus};
use crate::servers::Server;
use reconcile::{Reconciled, Reconciliation};

/// The permission set that a session wants; `None` where policy gives it no object permissions.
pub fn wanted(
    admin: &ObjectKey,
    server: &Server,
    session: &DatabaseSession,
    grant: &Grant,
) -> Option<Wanted> {
    let database = session.spec.database_name.as_deref().filter(|_| grant.has_permissions())?;
    Some(Wanted {
        key: DatabaseKey { admin: admin.clone(), database: database.into() },
        role: server.engine.dialect().set_name(&server.owner.uid, database, &grant.permissions),
        entries: Arc::clone(&grant.entries),
    })
}

/// Looks at the objects of one logical database and makes its permission sets right.
///
/// # Errors
///
/// None so far: what goes wrong is told to the accounts and tried again.
pub async fn reconcile(shared: &Shared, key: &DatabaseKey) -> Result<Action, ReconcileError> {
    if shared.sets.is_empty(key) {
        rest(shared, key);
        return Ok(Action::await_change());
    }
    let (admin, rules) = {
        let cache = shared.cache();
        (cache.admin(&key.admin), cache.import_rules(&key.admin.namespace))
    };
    let state = shared.servers.get(&key.admin);
    let (Some(admin), Some(state)) = (admin, state) else { return Ok(Action::await_change()) };
    if admin.metadata.deletion_timestamp.is_some() {
        // Its accounts are torn down, and then its sets.
        shared.listeners.stop(key);
        return Ok(Action::await_change());
    }
    // Its accounts wait as well, and trigger this when the server can be worked on again.
    if state.unreachable || admin.spec.suspend {
        if admin.spec.suspend {
            shared.listeners.stop(key);
        }
        return Ok(Action { retry: true, ..Action::await_change() });
    }
    let Some(server) = state.server else { return Ok(Action::await_change()) };
    let mut done = Action::await_change();
    let retired = gc::retire(shared, key, &mut done);
    let kept = shared.sets.kept(key);
    let database = rolecall_resolve::database(&admin);
    if kept.is_empty() {
        rest(shared, key);
    } else if let Err(denial) = rules.check(&database) {
        let blocker = Blocker::stalled(denial.reason.as_str(), denial.message);
        for (role, _) in &kept {
            report(shared, key, role, SetState::Withheld(blocker.clone()));
        }
    } else {
        let object_sync = admin.spec.object_sync.get();
        let overdue = shared.sets.failing_for(key).is_some_and(|time| time > object_sync);
        let look = Reconciliation { shared, key, server: &server, overdue };
        let begun = Instant::now();
        let looked = match look.run(&database, rules, &kept).await {
            Ok(looked) => Some(looked),
            Err(blocker) => {
                tracing::warn!(objects = %key.database, admin = %key.admin, error = blocker.message, "the objects could not be looked at");
                kept.iter().for_each(|(role, _)| look.report_failure(role, &blocker));
                None
            }
        };
        let took = begun.elapsed();
        shared.sets.set_failing(key, looked.as_ref().is_none_or(|looked| looked.failed));
        done.retry |= looked.as_ref().is_none_or(|looked| looked.retry);
        let complete = looked.as_ref().is_some_and(|looked| looked.complete);
        if let Some(looked) = looked {
            conclude(shared, key, &server, looked, took);
        }
        // Of an earlier look, where this one came to nothing.
        done.retry |= !look.disconnect().await;
        let interval = if complete { object_sync } else { while_incomplete(took).min(object_sync) };
        let interval = shared.clock.spread(interval, 0.9..1.0);
        done.at_earliest(plus(shared.now(), interval).map(|at| (at, Priority::Normal)));
    }
    // Somebody may be waiting for the others.
    gc::drop(shared, key, &server, retired, &mut done).await;
    release(shared, key);
    Ok(done)
}

/// Lets a logical database go that no session needs any more: nothing stays connected to it, so that it can be dropped.
pub fn release(shared: &Shared, key: &DatabaseKey) {
    if shared.cache().uses_database(key) {
        return;
    }
    shared.listeners.stop(key);
    if let Some(server) = shared.servers.get(&key.admin).and_then(|state| state.server) {
        server.engine.release_database(&key.database);
    }
}

/// The look at a database took too long or panicked: those who wait for its sets are told.
pub fn report_failure(shared: &Shared, key: &DatabaseKey, blocker: &Blocker) {
    for (role, _) in shared.sets.kept(key) {
        let state = match shared.sets.state(key, &role) {
            SetState::Stands(contents) => SetState::Stands(Arc::new(SetContents {
                counts: contents.counts.clone(),
                incomplete: Some(blocker.clone()),
            })),
            _ => SetState::Failed(blocker.clone()),
        };
        report(shared, key, &role, state);
    }
    shared.sets.set_failing(key, true);
}

/// When to look again while something is missing: a person may mend that any moment, so earlier than each `objectSync`,
/// but looks take no more than a hundredth of the time.
fn while_incomplete(look: Duration) -> Duration {
    look.saturating_mul(100).max(Duration::from_secs(5))
}

/// Nothing of this database is looked after any more.
fn rest(shared: &Shared, key: &DatabaseKey) {
    shared.listeners.stop(key);
    report_counts(shared, key, None);
}

fn conclude(shared: &Shared, key: &DatabaseKey, server: &Server, looked: Reconciled, took: Duration) {
    // A set that nobody uses is looked at now and then, and when it is wanted again.
    if shared.cache().uses_database(key) {
        let (queue, clock) = (&shared.queue, &shared.clock);
        shared.listeners.keep(key, &server.engine, queue, clock, looked.announced, took);
    }
    // Somebody dropped a set, and its members with it, while it stood here.
    for member in looked.made.iter().flat_map(|role| shared.sets.members(key, role)) {
        shared.queue.add(ReconcileKey::Account(member), Priority::Normal);
    }
    report_counts(shared, key, Some(looked.imported));
}

fn report(shared: &Shared, key: &DatabaseKey, role: &str, state: SetState) {
    let Some(accounts) = shared.sets.set_state(key, role, state) else { return };
    for account in accounts {
        let priority = if shared.sets.is_moving(key, &account) { Priority::Urgent } else { Priority::Normal };
        shared.queue.add(ReconcileKey::Account(account), priority);
    }
    shared.recount(&key.admin);
}

fn report_counts(shared: &Shared, key: &DatabaseKey, imported: Option<Imported>) {
    if shared.sets.set_imported(key, imported) {
        shared.recount(&key.admin);
        let rules: BTreeSet<ObjectKey> = shared.cache().rules_in(&key.admin.namespace).collect();
        for rule in rules {
            shared.queue.add(ReconcileKey::Rule(rule), Priority::Normal);
        }
    }
}
