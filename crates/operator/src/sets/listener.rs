//! Listening to logical databases that announce changes of their objects: they are reconciled at once, not only every
//! `objectSync`.
//!
//! An announcement is a hint, and anybody who may connect can make one. So it only triggers a reconcile, and such
//! reconciles are rate-limited.

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
use crate::retry::RetryPolicy;

/// The least time between two reconciles that were announced.
const DISTANCE: Duration = Duration::from_secs(1);
/// Announced reconciles take at most one part of the time in so many.
const SHARE: u32 = 5;
const RETRY: RetryPolicy = RetryPolicy { first: Duration::from_secs(1), last: Duration::from_secs(300) };

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
    /// It is connected and listens.
    listening: AtomicBool,
    /// How long the last reconcile took, in milliseconds.
    took: AtomicU64,
}

impl Listeners {
    /// Listens to a logical database from now on, if it announces changes. To be called after each reconcile, with how
    /// long that took.
    pub(super) fn start(
        &self,
        key: &DatabaseKey,
        engine: &Arc<dyn Engine>,
        queue: &Arc<Workqueue<ReconcileKey>>,
        clock: &Arc<dyn Clock>,
        announced: bool,
        took: Duration,
    ) {
        let mut listeners = self.locked();
        if !announced {
            if listeners.remove(key).is_some() {
                tracing::info!(admin = %key.admin, database = %key.database, "changes of objects are no longer announced");
            }
            return;
        }
        // A DatabaseAdmin that has changed has another engine.
        if listeners.get(key).is_none_or(|listener| !Arc::ptr_eq(&listener.engine, engine)) {
            let state = Arc::new(State::default());
            let (queue, clock) = (Arc::clone(queue), Arc::clone(clock));
            let task = listen(queue, clock, key.clone(), Arc::clone(engine), Arc::clone(&state));
            let task = tokio::spawn(task).abort_handle();
            listeners.insert(key.clone(), Listener { engine: Arc::clone(engine), state, task });
        }
        if let Some(listener) = listeners.get(key) {
            listener.state.took.store(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Stops listening to a logical database.
    pub(super) fn stop(&self, key: &DatabaseKey) {
        self.locked().remove(key);
    }

    /// Stops listening to all logical databases of a server.
    pub fn forget_server(&self, admin: &ObjectKey) {
        self.locked().retain(|key, _| key.admin != *admin);
    }

    /// Stops listening to all logical databases.
    pub fn stop_all(&self) {
        self.locked().clear();
    }

    /// How many logical databases of each server are listened to now.
    pub fn listening(&self) -> BTreeMap<ObjectKey, u32> {
        let mut count = BTreeMap::new();
        for (key, _) in
            self.locked().iter().filter(|(_, listener)| listener.state.listening.load(Ordering::Relaxed))
        {
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
    let mut retry = RETRY.start();
    loop {
        let wait = match engine.watch_objects(database).await {
            Ok(Some(mut changes)) => {
                tracing::info!(%admin, %database, "listening for changes of objects");
                state.listening.store(true, Ordering::Relaxed);
                // For what has changed since the last reconcile.
                queue.add(ReconcileKey::PermissionSets(key.clone()), Priority::Normal);
                loop {
                    tokio::time::sleep(distance(&state)).await;
                    if changes.next().await.is_none() {
                        break;
                    }
                    retry.reset();
                    queue.add(ReconcileKey::PermissionSets(key.clone()), Priority::Normal);
                }
                state.listening.store(false, Ordering::Relaxed);
                tracing::info!(%admin, %database, "the connection for announced changes of objects was lost");
                retry.next_wait(&*clock)
            }
            Ok(None) => {
                tracing::info!(%admin, %database, "changes of objects are announced, but there is no connection to spare: they are detected every objectSync; raise --max-connections-per-server");
                retry.longest_wait(&*clock)
            }
            Err(error) => {
                tracing::debug!(%admin, %database, %error, "cannot listen for changes of objects");
                retry.next_wait(&*clock)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// How long to wait after a reconcile: many changes, one reconcile.
fn distance(state: &State) -> Duration {
    let took = Duration::from_millis(state.took.load(Ordering::Relaxed));
    DISTANCE.max(took.saturating_mul(SHARE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_reconciles_keep_a_distance_that_grows_with_what_they_cost() {
        let state = State::default();
        assert_eq!(distance(&state), DISTANCE);
        state.took.store(2_000, Ordering::Relaxed);
        assert_eq!(distance(&state), Duration::from_secs(8));
    }
}
