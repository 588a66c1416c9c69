//! A work queue of keys with two priorities and timers.
//!
//! # Guarantees
//!
//! - A key is worked on by one worker at a time. Added while it is worked on, it runs once more afterwards.
//! - A key that waits is there once, however often it was added; with the highest priority that any of them asked for.
//! - Keys of one group come out in the order in which they were added, those that are urgent first. Groups take turns, so
//!   that many keys of one hold up no other.
//! - No more keys of one group are in work at once, of each priority, than the queue allows: a group whose work takes long
//!   keeps no other from being worked on.
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
use crate::model::{Priority, QueueKey};

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

/// A key in work. Dropping it gives the key free.
#[derive(Debug)]
pub struct InProgress<K: QueueKey> {
    queue: Arc<Workqueue<K>>,
    key: K,
    priority: Priority,
}

#[derive(Debug)]
struct State<K: QueueKey> {
    urgent: FairQueue<K>,
    normal: FairQueue<K>,
    // With its number among those of its priority.
    waiting: HashMap<K, (Priority, u64)>,
    numbers: u64,
    // Which run it is, as a key may be in work again at once.
    running: HashMap<K, (u64, Priority)>,
    runs: u64,
    urgent_at_once: u32,
    again: HashMap<K, Priority>,
    timers: BTreeSet<(Instant, K)>,
    timer_of: HashMap<K, (Instant, Priority)>,
    // When something was taken last, or came when nothing waited.
    progress: Instant,
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
        self.locked().add(key, priority);
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

    /// Forgets the timer of a key, and tells it: called when a key is worked on, which sets a new one.
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

    /// Waits until the work on such keys that is under way has come to its end. What begins later is not waited for.
    pub async fn finished(&self, is: impl Fn(&K) -> bool) {
        let under_way: Vec<(K, u64)> = {
            let state = self.locked();
            state
                .running
                .iter()
                .filter(|(key, _)| is(key))
                .map(|(key, (run, _))| (key.clone(), *run))
                .collect()
        };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let goes_on = {
                let state = self.locked();
                under_way.iter().any(|(key, run)| state.running.get(key).is_some_and(|(now, _)| now == run))
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
            // Registered before the look, so that nothing that is added in between goes unnoticed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next_timer = {
                let mut state = self.locked();
                state.fire(Instant::now());
                if let Some((key, priority)) = state.pop(priority) {
                    return InProgress { queue: Arc::clone(self), key, priority };
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
            if let Some((_, priority)) = state.running.remove(key) {
                state.turns(priority).finished(key);
            }
            if let Some(priority) = state.again.remove(key) {
                state.add(key.clone(), priority);
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
}

impl<K: QueueKey> Drop for InProgress<K> {
    fn drop(&mut self) {
        self.queue.done(&self.key);
    }
}

impl<K: QueueKey> State<K> {
    fn add(&mut self, key: K, priority: Priority) {
        if self.running.contains_key(&key) {
            let again = self.again.entry(key).or_insert(priority);
            *again = (*again).max(priority);
            return;
        }
        match self.waiting.get(&key) {
            Some(&(before, _)) if before >= priority => return,
            // It becomes urgent.
            Some(&(before, number)) => self.turns(before).remove(&key, number),
            None => {}
        }
        if self.urgent.is_empty() && self.normal.is_empty() {
            self.progress = Instant::now();
        }
        self.numbers += 1;
        let number = self.numbers;
        self.waiting.insert(key.clone(), (priority, number));
        self.turns(priority).add(key, number);
    }

    fn fire(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, key.clone()));
            let priority = self.timer_of.remove(&key).map_or(Priority::Normal, |(_, priority)| priority);
            self.add(key, priority);
        }
    }

    fn pop(&mut self, priority: Priority) -> Option<(K, Priority)> {
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
            self.waiting.remove(&key);
            self.runs += 1;
            self.running.insert(key.clone(), (self.runs, taken));
            return Some((key, taken));
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
mod tests {
    use std::time::Duration;

    use super::*;

    /// Those of one hundred are a group.
    impl QueueKey for u32 {
        type Group = u32;

        fn group(&self) -> u32 {
            self / 100
        }
    }

    async fn takes_nothing(queue: &Arc<Workqueue<u32>>, priority: Priority) -> bool {
        tokio::time::timeout(Duration::from_millis(1), queue.take(priority)).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_twice_comes_out_once() {
        let queue = Workqueue::new(8);
        queue.add(1, Priority::Normal);
        queue.add(1, Priority::Normal);
        let first = queue.take(Priority::Normal).await;
        assert_eq!(*first.key(), 1);
        drop(first);
        assert!(takes_nothing(&queue, Priority::Normal).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_while_in_work_comes_out_again_afterwards() {
        let queue = Workqueue::new(8);
        queue.add(1, Priority::Normal);
        let first = queue.take(Priority::Normal).await;
        queue.add(1, Priority::Urgent);
        assert!(takes_nothing(&queue, Priority::Normal).await, "one worker at a time");
        drop(first);
        assert_eq!(*queue.take(Priority::Urgent).await.key(), 1, "and it kept its priority");
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_work_overtakes() {
        let queue = Workqueue::new(8);
        queue.add(1, Priority::Normal);
        queue.add(2, Priority::Normal);
        queue.add(3, Priority::Urgent);
        queue.add(2, Priority::Urgent);
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(*queue.take(Priority::Normal).await.key());
        }
        assert_eq!(order, [3, 2, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_workers_take_nothing_else() {
        let queue = Workqueue::new(8);
        queue.add(1, Priority::Normal);
        assert!(takes_nothing(&queue, Priority::Urgent).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_timer_counts_and_fires_once() {
        let queue = Workqueue::new(8);
        let start = Instant::now();
        queue.add_at(1, Priority::Normal, start + Duration::from_secs(60));
        queue.add_at(1, Priority::Urgent, start + Duration::from_secs(10));
        queue.add_at(1, Priority::Normal, start + Duration::from_secs(90));
        let taken = queue.take(Priority::Urgent).await;
        assert_eq!(start.elapsed().as_secs(), 10);
        drop(taken);
        assert!(tokio::time::timeout(Duration::from_secs(200), queue.take(Priority::Normal)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn timers_follow_a_clock_that_is_put_forward() {
        let queue = Workqueue::new(8);
        let start = Instant::now();
        queue.add_at(1, Priority::Urgent, start + Duration::from_secs(3_600));
        queue.add_at(2, Priority::Normal, start + Duration::from_secs(7_200));
        queue.advance_timers(Duration::from_secs(3_590));
        assert_eq!(*queue.take(Priority::Urgent).await.key(), 1);
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.advance_timers(Duration::from_secs(86_400));
        assert_eq!(*queue.take(Priority::Normal).await.key(), 2, "a time that is past is now");
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.add_at(1, Priority::Urgent, start + Duration::from_secs(20));
        queue.clear_timer(&1);
        assert!(takes_nothing(&queue, Priority::Normal).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_waited_for_and_nothing_else() {
        let queue = Workqueue::new(8);
        for key in [1, 2, 3] {
            queue.add(key, Priority::Normal);
        }
        let (one, two) = (queue.take(Priority::Normal).await, queue.take(Priority::Normal).await);
        let is_odd = |key: &u32| key % 2 == 1;
        let mut finished = std::pin::pin!(queue.finished(is_odd));
        assert!(tokio::time::timeout(Duration::from_secs(9), &mut finished).await.is_err(), "1 is in work");
        let three = queue.take(Priority::Normal).await;
        queue.add(1, Priority::Normal);
        drop(one);
        let again = queue.take(Priority::Normal).await;
        assert_eq!(*again.key(), 1);
        let waited = tokio::time::timeout(Duration::from_secs(9), &mut finished).await;
        assert!(waited.is_ok(), "3 and the next run of 1 began later, and nobody asked for 2");
        drop((two, three, again));
        queue.finished(|_| true).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_work_gives_the_key_free() {
        let queue = Workqueue::new(8);
        queue.add(1, Priority::Normal);
        let worker = Arc::clone(&queue);
        let crashed = tokio::spawn(async move {
            let _taken = worker.take(Priority::Normal).await;
            panic!("on purpose");
        })
        .await;
        assert!(crashed.is_err());
        queue.add(1, Priority::Normal);
        assert_eq!(*queue.take(Priority::Normal).await.key(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_of_a_group_are_in_work_than_allowed_and_others_go_on() {
        let queue = Workqueue::new(2);
        for key in [1, 2, 3, 4, 100, 200] {
            queue.add(key, Priority::Normal);
        }
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(queue.take(Priority::Normal).await);
        }
        let keys: Vec<u32> = taken.iter().map(|taken| *taken.key()).collect();
        assert_eq!(keys, [1, 100, 200, 2], "they take turns");
        assert!(takes_nothing(&queue, Priority::Normal).await, "two of the first group are in work");
        queue.add(5, Priority::Urgent);
        assert_eq!(*queue.take(Priority::Urgent).await.key(), 5, "what is urgent has a limit of its own");
        taken.remove(0);
        assert_eq!(*queue.take(Priority::Normal).await.key(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn many_urgent_ones_of_one_group_hold_up_no_other() {
        let queue = Workqueue::new(10_000);
        for key in 0..50 {
            queue.add(key, Priority::Urgent);
        }
        queue.add(100, Priority::Urgent);
        queue.add(200, Priority::Normal);
        let mut order = Vec::new();
        for _ in 0..5 {
            order.push(*queue.take(Priority::Normal).await.key());
        }
        assert_eq!(order, [0, 100, 1, 200, 2], "one in turn after three that are urgent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_nobody_takes_from_is_noticed() {
        let queue = Workqueue::new(1);
        let hour = Duration::from_secs(3_600);
        tokio::time::advance(hour).await;
        assert_eq!(queue.stalled_for(), Duration::ZERO, "there is nothing to do");
        queue.add(1, Priority::Normal);
        queue.add(2, Priority::Normal);
        tokio::time::advance(hour).await;
        assert_eq!(queue.stalled_for(), hour);
        let _taken = queue.take(Priority::Normal).await;
        tokio::time::advance(hour).await;
        assert_eq!(queue.stalled_for(), Duration::ZERO, "what waits may not be taken yet");
        queue.add_at(100, Priority::Normal, Instant::now());
        tokio::time::advance(hour).await;
        assert_eq!(queue.stalled_for(), hour, "a timer that does not fire");
    }
}
