//! Logical databases that announce changes of their objects: they are looked at again at once, not only each
//! `objectSync`.
//!
//! An announcement is a hint, and anybody who may connect can make one. So it causes no more than a look, and looks that
//! it causes keep a distance.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use rolecall_engine::Engine;
use tokio::task::AbortHandle;

use crate::controller::workqueue::Workqueue;
use crate::model::{DatabaseKey, ObjectKey, Priority, ReconcileKey};
use crate::ports::Clock;

/// The least time between two looks that were announced.
const DISTANCE: Duration = Duration::from_secs(1);
/// As a part of all time, announced looks take no more than one in so many.
const SHARE: u32 = 5;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// See the module.
#[derive(Debug, Default)]
pub struct Listeners(Mutex<HashMap<DatabaseKey, Listener>>);

/// A task that listens, until this is dropped.
#[derive(Debug)]
struct Listener {
    engine: Arc<dyn Engine>,
    state: Arc<State>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct State {
    /// Changes are heard of now.
    hears: AtomicBool,
    /// How long the last look took, in milliseconds.
    look: AtomicU64,
}

impl Listeners {
    /// Listens to a logical database from now on, if it announces changes. To be called after each look, with how long
    /// that took.
    pub(super) fn keep(
        &self,
        key: &DatabaseKey,
        engine: &Arc<dyn Engine>,
        queue: &Arc<Workqueue<ReconcileKey>>,
        clock: &Arc<dyn Clock>,
        announced: bool,
        look: Duration,
    ) {
        let mut watches = self.locked();
        if !announced {
            if watches.remove(key).is_some() {
                tracing::info!(admin = %key.admin, database = %key.database, "changes of objects are announced no more");
            }
            return;
        }
        // A DatabaseAdmin that has changed has another engine.
        if watches.get(key).is_none_or(|watch| !Arc::ptr_eq(&watch.engine, engine)) {
            let state = Arc::new(State::default());
            let (queue, clock) = (Arc::clone(queue), Arc::clone(clock));
            let task = listen(queue, clock, key.clone(), Arc::clone(engine), Arc::clone(&state));
            let task = tokio::spawn(task).abort_handle();
            watches.insert(key.clone(), Listener { engine: Arc::clone(engine), state, task });
        }
        if let Some(watch) = watches.get(key) {
            watch.state.look.store(u64::try_from(look.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Listens to a logical database no more.
    pub(super) fn stop(&self, key: &DatabaseKey) {
        self.locked().remove(key);
    }

    /// Listens to no logical database of a server any more.
    pub fn forget_server(&self, admin: &ObjectKey) {
        self.locked().retain(|key, _| key.admin != *admin);
    }

    /// Listens to nothing any more.
    pub fn stop_all(&self) {
        self.locked().clear();
    }

    /// How many logical databases of each server are heard of now.
    pub fn listening(&self) -> BTreeMap<ObjectKey, u32> {
        let mut count = BTreeMap::new();
        for (key, _) in self.locked().iter().filter(|(_, watch)| watch.state.hears.load(Ordering::Relaxed)) {
            *count.entry(key.admin.clone()).or_default() += 1;
        }
        count
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn locked(&self) -> MutexGuard<'_, HashMap<DatabaseKey, Listener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    queue: Arc<Workqueue<ReconcileKey>>,
    clock: Arc<dyn Clock>,
    key: DatabaseKey,
    engine: Arc<dyn Engine>,
    state: Arc<State>,
) {
    let (admin, database) = (&key.admin, &key.database);
    let mut wait = FIRST_RETRY;
    loop {
        match engine.watch_objects(database).await {
            Ok(Some(mut changes)) => {
                tracing::info!(%admin, %database, "changes of objects are heard of as they are announced");
                state.hears.store(true, Ordering::Relaxed);
                // For what has changed since the last look.
                queue.add(ReconcileKey::PermissionSets(key.clone()), Priority::Normal);
                loop {
                    tokio::time::sleep(distance(&state)).await;
                    if changes.next().await.is_none() {
                        break;
                    }
                    wait = FIRST_RETRY;
                    queue.add(ReconcileKey::PermissionSets(key.clone()), Priority::Normal);
                }
                state.hears.store(false, Ordering::Relaxed);
                tracing::info!(%admin, %database, "the connection that changes of objects are announced on was lost");
            }
            Ok(None) => {
                tracing::info!(%admin, %database, "changes of objects are announced, but there is no connection to spare: they are looked for each objectSync; raise --max-connections-per-server");
                wait = LAST_RETRY;
            }
            Err(error) => {
                tracing::debug!(%admin, %database, %error, "changes of objects cannot be heard of");
            }
        }
        tokio::time::sleep(clock.spread(wait, 0.8..1.2)).await;
        wait = (wait * 2).min(LAST_RETRY);
    }
}

/// How long to pay no attention after a look: many changes, one look.
fn distance(state: &State) -> Duration {
    let look = Duration::from_millis(state.look.load(Ordering::Relaxed));
    DISTANCE.max(look.saturating_mul(SHARE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_looks_keep_a_distance_that_grows_with_what_they_cost() {
        let state = State::default();
        assert_eq!(distance(&state), DISTANCE);
        state.look.store(2_000, Ordering::Relaxed);
        assert_eq!(distance(&state), Duration::from_secs(8));
    }
}
