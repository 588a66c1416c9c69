//! A work queue of keys with two priorities and timers.
//!
//! # Guarantees
//!
//! - A key is worked on by one worker at a time. Added while it is worked on, it runs once more afterwards.
//! - A key that waits is there once, however often it was added; with the highest priority that any of them asked for.
//! - Keys of one group come out in the order in which they were added, those that are urgent first. Groups take turns,
//!   so that many keys of one do not delay another.
//! - No more keys of one group are in work at once, of each priority, than the queue allows: a group whose work takes
//!   long does not keep others from being worked on. Work that has left its group ([`Workqueue::leave_group`]) does not count.
//! - Whoever takes urgent work only takes nothing else, so that ending an access never queues behind a resync. Whoever
//!   takes both takes something in turn after every few that are urgent, so that this is worked on, too.
//! - Of several timers of a key the earliest counts.
//! - [`Workqueue::finished`] waits for the work that is under way, and for none that begins later.
//!
//! # Caveats
//!
//! A key in work comes out again only when its [`InProgress`] was dropped, which also happens in a panic.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::fairness::FairQueue;
use crate::model::{Cause, Priority, QueueKey, WALK};

/// After so many that are urgent, one in turn is taken, where one waits.
const URGENT_AT_ONCE: u32 = 3;

/// How many keys of one group are in work at once, of each priority: a server that is slow must not hold up the others.
pub const PER_GROUP: usize = 24;

/// See the module.
#[derive(Debug)]
pub struct Workqueue<K: QueueKey> {
    state: Mutex<State<K>>,
    changed: Notify,
}

/// A key in work. Dropping it releases the key.
#[derive(Debug)]
pub struct InProgress<K: QueueKey> {
    queue: Arc<Workqueue<K>>,
    key: K,
    priority: Priority,
    cause: Cause,
    left: Arc<Notify>,
}

/// The work on a key that is under way.
#[derive(Debug)]
struct Run {
    /// Which one it is, as a key may be in work again at once.
    number: u64,
    priority: Priority,
    /// It does not count in its group any more.
    has_left: bool,
    left: Arc<Notify>,
}

#[derive(Debug)]
struct State<K: QueueKey> {
    urgent: FairQueue<K>,
    normal: FairQueue<K>,
    waiting: HashMap<K, Waiting>,
    numbers: u64,
    running: HashMap<K, Run>,
    runs: u64,
    urgent_at_once: u32,
    again: HashMap<K, (Priority, Cause)>,
    timers: BTreeSet<(Instant, K)>,
    timer_of: HashMap<K, (Instant, Priority)>,
    // When something was taken last, or came when nothing waited.
    progress: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    priority: Priority,
    /// Its number among those of its priority.
    number: u64,
    cause: Cause,
}

impl<K: QueueKey> Workqueue<K> {
    /// An empty queue; so many keys of a group are in work at once of each priority, at most.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                urgent: FairQueue::new(limit),
                normal: FairQueue::new(limit),
                waiting: HashMap::new(),
                numbers: 0,
                running: HashMap::new(),
                runs: 0,
                urgent_at_once: 0,
                again: HashMap::new(),
                timers: BTreeSet::new(),
                timer_of: HashMap::new(),
                progress: Instant::now(),
            }),
            changed: Notify::new(),
        })
    }

    /// Adds a key to be worked on now.
    pub fn add(&self, key: K, priority: Priority) {
        self.add_for(key, priority, Cause::Change);
    }

    /// Adds a key to be worked on now, for this cause.
    pub fn add_for(&self, key: K, priority: Priority, cause: Cause) {
        self.locked().add(key, priority, cause);
        self.changed.notify_waiters();
    }

    /// Adds a key to be worked on at `at`, unless it has an earlier timer.
    pub fn add_at(&self, key: K, priority: Priority, at: Instant) {
        {
            let mut state = self.locked();
            if let Some((earlier, priority_before)) = state.timer_of.get(&key).copied() {
                if earlier <= at {
                    return;
                }
                state.timers.remove(&(earlier, key.clone()));
                state.timer_of.insert(key.clone(), (at, priority.max(priority_before)));
            } else {
                state.timer_of.insert(key.clone(), (at, priority));
            }
            state.timers.insert((at, key));
        }
        self.changed.notify_waiters();
    }

    /// Forgets the timer of a key, and returns it: called when a key is worked on, which sets a new one.
    pub fn clear_timer(&self, key: &K) -> Option<(Instant, Priority)> {
        let mut state = self.locked();
        let (at, priority) = state.timer_of.remove(key)?;
        state.timers.remove(&(at, key.clone()));
        Some((at, priority))
    }

    /// Brings every timer forward: the clock that they were set by was put forward.
    pub fn advance_timers(&self, by: Duration) {
        {
            let mut state = self.locked();
            let now = Instant::now();
            let earlier = |at: Instant| at.checked_sub(by).unwrap_or(now);
            let timers = std::mem::take(&mut state.timers);
            state.timers = timers.into_iter().map(|(at, key)| (earlier(at), key)).collect();
            state.timer_of.values_mut().for_each(|(at, _)| *at = earlier(*at));
        }
        self.changed.notify_waiters();
    }

    /// Waits until the work on such keys that is under way has finished. What begins later is not waited for.
    pub async fn finished(&self, is: impl Fn(&K) -> bool) {
        let under_way: Vec<(K, u64)> = {
            let state = self.locked();
            state
                .running
                .iter()
                .filter(|(key, _)| is(key))
                .map(|(key, run)| (key.clone(), run.number))
                .collect()
        };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let goes_on = {
                let state = self.locked();
                under_way
                    .iter()
                    .any(|(key, run)| state.running.get(key).is_some_and(|now| now.number == *run))
            };
            if !goes_on {
                return;
            }
            changed.await;
        }
    }

    /// Waits for the next key of at least `priority` and takes it.
    pub async fn take(self: &Arc<Self>, priority: Priority) -> InProgress<K> {
        loop {
            // Registered before the check, so that nothing that is added in between goes unnoticed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next_timer = {
                let mut state = self.locked();
                state.fire(Instant::now());
                if let Some((key, priority, cause, left)) = state.pop(priority) {
                    tracing::trace!(target: WALK, ?key, "taken from the queue");
                    return InProgress { queue: Arc::clone(self), key, priority, cause, left };
                }
                state.timers.first().map(|(at, _)| *at)
            };
            match next_timer {
                Some(at) => {
                    tokio::select! {
                        () = &mut changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// What is left of the work on a key needs nothing of what its group shares: another one of the group may be taken.
    pub fn leave_group(&self, key: &K) {
        {
            let mut state = self.locked();
            let Some(run) = state.running.get_mut(key).filter(|run| !run.has_left) else { return };
            run.has_left = true;
            run.left.notify_one();
            let priority = run.priority;
            state.turns(priority).finished(key);
        }
        self.changed.notify_waiters();
    }

    /// How many keys wait now, timers left out.
    pub fn len(&self) -> usize {
        self.locked().waiting.len()
    }

    /// Does no key wait?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For how long something has been waiting that could be taken, while nothing was.
    pub fn stalled_for(&self) -> Duration {
        let (now, state) = (Instant::now(), self.locked());
        let overdue =
            state.timers.first().map(|(at, _)| now.saturating_duration_since(*at)).unwrap_or_default();
        let waits = !(state.urgent.is_empty() && state.normal.is_empty());
        let waiting = if waits { now.duration_since(state.progress) } else { Duration::ZERO };
        waiting.max(overdue)
    }

    fn done(&self, key: &K) {
        {
            let mut state = self.locked();
            if let Some(run) = state.running.remove(key).filter(|run| !run.has_left) {
                state.turns(run.priority).finished(key);
            }
            if let Some((priority, cause)) = state.again.remove(key) {
                state.add(key.clone(), priority, cause);
            }
        }
        self.changed.notify_waiters();
    }

    // A poisoned lock means that a thread panicked between two plain collection operations; what they hold is whole.
    fn locked(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: QueueKey> InProgress<K> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// How soon it had to be worked on, whoever took it.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Why it is worked on.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Waits until the work has left its group. Only one may wait.
    pub async fn left_group(&self) {
        self.left.notified().await;
    }
}

impl<K: QueueKey> Drop for InProgress<K> {
    fn drop(&mut self) {
        self.queue.done(&self.key);
    }
}

impl<K: QueueKey> State<K> {
    fn add(&mut self, key: K, priority: Priority, mut cause: Cause) {
        if self.running.contains_key(&key) {
            let again = self.again.entry(key).or_insert((priority, cause));
            *again = (again.0.max(priority), again.1.max(cause));
            return;
        }
        match self.waiting.get(&key).copied() {
            Some(before) if before.priority >= priority => {
                self.waiting.entry(key).and_modify(|waiting| waiting.cause = cause.max(waiting.cause));
                return;
            }
            // It becomes urgent.
            Some(before) => {
                cause = cause.max(before.cause);
                self.turns(before.priority).remove(&key, before.number);
            }
            None => {}
        }
        if self.urgent.is_empty() && self.normal.is_empty() {
            self.progress = Instant::now();
        }
        self.numbers += 1;
        let number = self.numbers;
        self.waiting.insert(key.clone(), Waiting { priority, number, cause });
        self.turns(priority).add(key, number);
    }

    fn fire(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, key.clone()));
            let priority = self.timer_of.remove(&key).map_or(Priority::Normal, |(_, priority)| priority);
            self.add(key, priority, Cause::Timer);
        }
    }

    fn pop(&mut self, priority: Priority) -> Option<(K, Priority, Cause, Arc<Notify>)> {
        let order: &[Priority] = match priority {
            Priority::Urgent => &[Priority::Urgent],
            Priority::Normal if self.urgent_at_once >= URGENT_AT_ONCE => {
                &[Priority::Normal, Priority::Urgent]
            }
            Priority::Normal => &[Priority::Urgent, Priority::Normal],
        };
        for &taken in order {
            let Some(key) = self.turns(taken).take() else { continue };
            if priority == Priority::Normal {
                self.urgent_at_once = if taken == Priority::Urgent { self.urgent_at_once + 1 } else { 0 };
            }
            self.progress = Instant::now();
            let waiting = self.waiting.remove(&key);
            self.runs += 1;
            let left = Arc::new(Notify::new());
            let run = Run { number: self.runs, priority: taken, has_left: false, left: Arc::clone(&left) };
            self.running.insert(key.clone(), run);
            // What can be taken waits.
            let cause = waiting.map_or(Cause::Change, |waiting| waiting.cause);
            return Some((key, taken, cause, left));
        }
        None
    }

    fn turns(&mut self, priority: Priority) -> &mut FairQueue<K> {
        match priority {
            Priority::Normal => &mut self.normal,
            Priority::Urgent => &mut self.urgent,
        }
    }
}

#[cfg(test)]
mod tests;
