//! Object permissions: the permission sets of each logical database.
//!
//! Accounts say which sets they want ([`wanted`]); the privileges of a set are brought up to date here, per logical
//! database: read its objects, label them by the import rules, compute what each set should have, sync, and trigger the
//! accounts. An account never waits for objects to be granted to it, only for its set to be ready, which it usually is
//! already.
//!
//! | module | contents |
//! |---|---|
//! | `registry` | which sets are wanted, and their state |
//! | `state` | the states of a set, as plain data |
//! | `transition` | accounts on their way from one set to another |
//! | `decide` | whether and when a database is reconciled |
//! | `look` | which of its objects are looked at, and what follows |
//! | `reconcile` | one pass over the objects of a logical database |
//! | `partial` | one pass over a few of them, which were announced as changed |
//! | `baseline` | what that needs of the pass before |
//! | `outcome` | what became of a set, for its accounts |
//! | `gc` | sets that nobody uses any more |
//! | `listener` | databases that announce changes of their objects |
//! | `imported` | what was found, for counting and warning |

mod baseline;
mod decide;
mod gc;
mod imported;
mod listener;
mod look;
mod outcome;
mod partial;
mod reconcile;
mod registry;
mod state;
mod transition;

use std::collections::BTreeSet;
use std::sync::Arc;

use rolecall_api::DatabaseSession;
use rolecall_resolve::Grant;

pub use gc::{drop_all, find_leftovers};
pub use listener::Listeners;
pub use registry::SetRegistry;
pub use state::{Imported, LingeringSets, SetContents, SetState, Wanted, WantedSets};

use crate::Shared;
use crate::model::{Action, Blocker, Cause, DatabaseKey, ObjectKey, Priority, ReconcileError, ReconcileKey};
use crate::servers::Server;
use decide::{Next, Step};
use look::Work;

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

/// Reconciles the permission sets of one logical database: its objects are read, and its sets are given what they
/// should have. Where the database only announced that certain objects have changed, these are read.
///
/// # Errors
///
/// None so far: failures are reported to the accounts and retried.
pub async fn reconcile(shared: &Shared, key: &DatabaseKey, cause: Cause) -> Result<Action, ReconcileError> {
    let (admin, rules) = {
        let cache = shared.cache();
        (cache.admin(&key.admin), cache.import_rules(&key.admin.namespace))
    };
    let state = shared.servers.get(&key.admin);
    let next = decide::next(shared.sets.is_empty(key), admin.as_deref(), state.as_ref());
    if next.stop_listening {
        shared.listeners.stop(key);
    }
    let server = state.and_then(|state| state.server);
    let (Next { step: Step::Sync, .. }, Some(admin), Some(server)) = (next, admin, server) else {
        if next.step == Step::Forget {
            rest(shared, key);
        }
        return Ok(Action { retry: next.step == Step::Retry, ..Action::await_change() });
    };
    let mut action = Action::await_change();
    let retired = gc::retire(shared, key, &mut action);
    let kept = shared.sets.kept(key);
    if kept.is_empty() {
        rest(shared, key);
    } else if let Err(denial) = rules.check(&rolecall_resolve::database(&admin)) {
        let blocker = Blocker::stalled(denial.reason.as_str(), denial.message);
        for (role, _) in &kept {
            report(shared, key, role, SetState::Withheld(blocker.clone()));
        }
    } else {
        let work = Work { shared, key, admin: &admin, server: &server, kept: &kept };
        work.sync(cause, rules, &mut action).await;
    }
    // Somebody may be waiting for the others.
    gc::drop(shared, key, &server, retired, &mut action).await;
    release(shared, key);
    Ok(action)
}

/// Releases a logical database that no session needs any more: nothing stays connected to it, so that it can be dropped.
pub fn release(shared: &Shared, key: &DatabaseKey) {
    if shared.cache().uses_database(key) {
        return;
    }
    shared.listeners.stop(key);
    if let Some(server) = shared.servers.get(&key.admin).and_then(|state| state.server) {
        server.engine.release_database(&key.database);
    }
}

/// The reconcile of a database took too long or panicked: that is reported to the accounts that wait for its sets.
pub fn report_failure(shared: &Shared, key: &DatabaseKey, blocker: &Blocker) {
    for (role, _) in shared.sets.kept(key) {
        let state = match shared.sets.state(key, &role) {
            SetState::Ready(contents) => SetState::Ready(Arc::new(SetContents {
                counts: contents.counts.clone(),
                incomplete: Some(blocker.clone()),
            })),
            _ => SetState::Failed(blocker.clone()),
        };
        report(shared, key, &role, state);
    }
    shared.sets.set_failing(key, true);
}

/// No set of this database is kept up to date any more.
fn rest(shared: &Shared, key: &DatabaseKey) {
    shared.listeners.stop(key);
    report_counts(shared, key, None);
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
