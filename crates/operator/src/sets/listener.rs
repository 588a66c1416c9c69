//! Listening to logical databases that announce changes of their objects: they are reconciled at once, not only every
//! `objectSync`.
//!
//! An announcement is a hint, and anybody who may connect can make one. So it only triggers a reconcile and says where that
//! looks, and such reconciles are rate-limited: all of them, and those that look at all objects by what these cost.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use rolecall_engine::{ChangedObjects, Engine};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::decide;
use crate::controller::workqueue::Workqueue;
use crate::model::{Cause, DatabaseKey, ObjectKey, Priority, ReconcileKey};
use crate::ports::Clock;
use crate::retry::RetryPolicy;

/// The least time between two reconciles that were announced.
const DISTANCE: Duration = Duration::from_secs(1);
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
    /// What was announced and not looked at yet.
    announced: Mutex<ChangedObjects>,
    /// Until when no announcement makes all objects be looked at.
    rests_until: Mutex<Option<Instant>>,
}

impl Listeners {
    /// Listens to a logical database from now on, if it announces changes. To be called after each look at all objects,
    /// with how long that took.
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
            *locked(&listener.state.rests_until) = Some(Instant::now() + decide::rest(took));
        }
    }

    /// Takes what was announced and has not been looked at.
    pub(super) fn take_announced(&self, key: &DatabaseKey) -> ChangedObjects {
        let state = self.state(key);
        state.map(|state| std::mem::take(&mut *locked(&state.announced))).unwrap_or_default()
    }

    /// What was announced is still to be looked at.
    pub(super) fn announce(&self, key: &DatabaseKey, changed: ChangedObjects) {
        if let Some(state) = self.state(key) {
            locked(&state.announced).add(changed);
        }
    }

    /// Until when no announcement makes all objects of a logical database be looked at.
    pub(super) fn rests_until(&self, key: &DatabaseKey) -> Option<Instant> {
        *locked(&self.state(key)?.rests_until)
    }

    fn state(&self, key: &DatabaseKey) -> Option<Arc<State>> {
        self.locked().get(key).map(|listener| Arc::clone(&listener.state))
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

    fn locked(&self) -> MutexGuard<'_, HashMap<DatabaseKey, Listener>> {
        locked(&self.0)
    }
}

// A poisoned lock means that a thread panicked between two plain operations on a collection; what it holds is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
                    // Many changes, one reconcile.
                    tokio::time::sleep(DISTANCE).await;
                    let Some(changed) = changes.next().await else { break };
                    retry.reset();
                    locked(&state.announced).add(changed);
                    let key = ReconcileKey::PermissionSets(key.clone());
                    queue.add_for(key, Priority::Normal, Cause::Announced);
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
