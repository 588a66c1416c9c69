//! Object permissions: the permission sets of each logical database.
//!
//! Accounts say which sets they want ([`wanted`]); what a set holds is made right here, per logical database: read its
//! objects, label them by the import rules, compute what each set should hold, converge, and tell the accounts. An
//! account never waits for objects to be granted to it, only for its set to stand, which most often it does already.
//!
//! | module | holds |
//! |---|---|
//! | `standing` | which sets are wanted, and how they stand |
//! | `moves` | accounts on their way from one set to another |
//! | `look` | one look at the objects of a logical database |
//! | `outcome` | what became of a set, for its accounts |
//! | `unused` | sets that nobody uses any more |
//! | `watching` | databases that announce changes of their objects |
//! | `imported` | what was found, for counting and warning |

mod imported;
mod look;
mod moves;
mod outcome;
mod standing;
mod unused;
mod watching;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::DatabaseSession;
use rolecall_resolve::Grant;
use tokio::time::Instant;

pub use imported::Imported;
pub use moves::Held;
pub use standing::{Answer, Holding, Sets, Standing, Wanted};
pub use unused::{drop_all, find_leftovers};
pub use watching::Watches;

use crate::Shared;
use crate::account::lifecycle::{Obstacle, plus};
use crate::queue::Lane;
use crate::runtime::{Done, Failed};
use crate::servers::Server;
use crate::world::{ObjectKey, ObjectsKey, Work};
use look::{Look, Looked};

/// The permission set that a session wants; `None` where policy gives it no object permissions.
pub fn wanted(
    admin: &ObjectKey,
    server: &Server,
    session: &DatabaseSession,
    grant: &Grant,
) -> Option<Wanted> {
    let database = session.spec.database_name.as_deref().filter(|_| grant.has_permissions())?;
    Some(Wanted {
        key: ObjectsKey { admin: admin.clone(), database: database.into() },
        role: server.engine.dialect().set_name(&server.owner.uid, database, &grant.permissions),
        entries: Arc::clone(&grant.entries),
    })
}

/// Looks at the objects of one logical database and makes its permission sets right.
///
/// # Errors
///
/// None so far: what goes wrong is told to the accounts and tried again.
pub async fn reconcile(shared: &Shared, key: &ObjectsKey) -> Result<Done, Failed> {
    if shared.sets.is_empty(key) {
        rest(shared, key);
        return Ok(Done::nothing());
    }
    let (admin, rules) = {
        let world = shared.world();
        (world.admin(&key.admin), world.import_rules(&key.admin.namespace))
    };
    let state = shared.servers.get(&key.admin);
    let (Some(admin), Some(state)) = (admin, state) else { return Ok(Done::nothing()) };
    if admin.metadata.deletion_timestamp.is_some() {
        // Its accounts are torn down, and then its sets.
        shared.watches.stop(key);
        return Ok(Done::nothing());
    }
    // Its accounts wait as well, and wake this when the server can be worked on again.
    if state.unreachable || admin.spec.suspend {
        if admin.spec.suspend {
            shared.watches.stop(key);
        }
        return Ok(Done { retry: true, ..Done::nothing() });
    }
    let Some(server) = state.server else { return Ok(Done::nothing()) };
    let mut done = Done::nothing();
    let given_up = unused::give_up(shared, key, &mut done);
    let kept = shared.sets.kept(key);
    let database = rolecall_resolve::database(&admin);
    if kept.is_empty() {
        rest(shared, key);
    } else if let Err(denial) = rules.check(&database) {
        let obstacle = Obstacle::stalled(denial.reason.as_str(), denial.message);
        for (role, _) in &kept {
            tell(shared, key, role, Standing::Withheld(obstacle.clone()));
        }
    } else {
        let object_sync = admin.spec.object_sync.get();
        let overdue = shared.sets.failing_for(key).is_some_and(|time| time > object_sync);
        let look = Look { shared, key, server: &server, overdue };
        let begun = Instant::now();
        let looked = match look.run(&database, rules, &kept).await {
            Ok(looked) => Some(looked),
            Err(obstacle) => {
                tracing::warn!(objects = %key.database, admin = %key.admin, error = obstacle.message, "the objects could not be looked at");
                kept.iter().for_each(|(role, _)| look.tell_failure(role, &obstacle));
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
        let interval = interval.mul_f64(rand::random_range(0.9..1.0));
        done.at_earliest(plus(Timestamp::now(), interval).map(|at| (at, Lane::Normal)));
    }
    // Somebody may be waiting for the others.
    unused::drop(shared, key, &server, given_up, &mut done).await;
    let_go(shared, key);
    Ok(done)
}

/// Lets a logical database go that no session needs any more: nothing stays connected to it, so that it can be dropped.
pub fn let_go(shared: &Shared, key: &ObjectsKey) {
    if shared.world().uses_database(key) {
        return;
    }
    shared.watches.stop(key);
    if let Some(server) = shared.servers.get(&key.admin).and_then(|state| state.server) {
        server.engine.release_database(&key.database);
    }
}

/// The look at a database took too long or panicked: those who wait for its sets are told.
pub fn tell_failure(shared: &Shared, key: &ObjectsKey, obstacle: &Obstacle) {
    for (role, _) in shared.sets.kept(key) {
        let standing = match shared.sets.standing(key, &role) {
            Standing::Stands(holding) => Standing::Stands(Arc::new(Holding {
                counts: holding.counts.clone(),
                incomplete: Some(obstacle.clone()),
            })),
            _ => Standing::Failed(obstacle.clone()),
        };
        tell(shared, key, &role, standing);
    }
    shared.sets.set_failing(key, true);
}

/// When to look again while something is missing: a person may mend that any moment, so earlier than each `objectSync`,
/// but looks take no more than a hundredth of the time.
fn while_incomplete(look: Duration) -> Duration {
    look.saturating_mul(100).max(Duration::from_secs(5))
}

/// Nothing of this database is looked after any more.
fn rest(shared: &Shared, key: &ObjectsKey) {
    shared.watches.stop(key);
    tell_counts(shared, key, None);
}

fn conclude(shared: &Shared, key: &ObjectsKey, server: &Server, looked: Looked, took: Duration) {
    // A set that nobody uses is looked at now and then, and when it is wanted again.
    if shared.world().uses_database(key) {
        shared.watches.keep(key, &server.engine, &shared.queue, looked.announced, took);
    }
    // Somebody dropped a set, and its members with it, while it stood here.
    for member in looked.made.iter().flat_map(|role| shared.sets.members(key, role)) {
        shared.queue.add(Work::Account(member), Lane::Normal);
    }
    tell_counts(shared, key, Some(looked.imported));
}

fn tell(shared: &Shared, key: &ObjectsKey, role: &str, standing: Standing) {
    let Some(accounts) = shared.sets.set_standing(key, role, standing) else { return };
    for account in accounts {
        let lane = if shared.sets.is_moving(key, &account) { Lane::Urgent } else { Lane::Normal };
        shared.queue.add(Work::Account(account), lane);
    }
    shared.recount(&key.admin);
}

fn tell_counts(shared: &Shared, key: &ObjectsKey, imported: Option<Imported>) {
    if shared.sets.set_imported(key, imported) {
        shared.recount(&key.admin);
        let rules: BTreeSet<ObjectKey> = shared.world().rules_in(&key.admin.namespace).collect();
        for rule in rules {
            shared.queue.add(Work::Rule(rule), Lane::Normal);
        }
    }
}
