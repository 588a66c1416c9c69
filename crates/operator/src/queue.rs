//! A work queue of keys with two lanes and timers.
//!
//! # Guarantees
//!
//! - A key is worked on by one worker at a time. Added while it is worked on, it runs once more afterwards.
//! - A key that waits is there once, however often it was added; in the urgent lane if any adder said so.
//! - Keys of one lane come out in the order in which they were added. Workers for urgent work take nothing else, so
//!   that ending an access never queues behind a resync.
//! - Of several timers of a key the earliest counts.
//! - [`Queue::finished`] waits for the work that is under way, and for none that begins later.
//!
//! # Caveats
//!
//! A key in work comes out again only when its [`Taken`] was dropped, which also happens in a panic.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How soon a key has to be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// In turn.
    Normal,
    /// Before everything in turn: an access ends.
    Urgent,
}

/// See the module.
#[derive(Debug)]
pub struct Queue<K: Clone + Eq + Ord + Hash> {
    state: Mutex<State<K>>,
    changed: Notify,
}

/// A key in work. Dropping it gives the key free.
#[derive(Debug)]
pub struct Taken<K: Clone + Eq + Ord + Hash> {
    queue: Arc<Queue<K>>,
    key: K,
    lane: Lane,
}

#[derive(Debug)]
struct State<K> {
    urgent: VecDeque<K>,
    normal: VecDeque<K>,
    waiting: HashMap<K, Lane>,
    // Which run it is, as a key may be in work again at once.
    running: HashMap<K, u64>,
    runs: u64,
    again: HashMap<K, Lane>,
    timers: BTreeSet<(Instant, K)>,
    timer_of: HashMap<K, (Instant, Lane)>,
}

impl<K: Clone + Eq + Ord + Hash> Queue<K> {
    /// An empty queue.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                urgent: VecDeque::new(),
                normal: VecDeque::new(),
                waiting: HashMap::new(),
                running: HashMap::new(),
                runs: 0,
                again: HashMap::new(),
                timers: BTreeSet::new(),
                timer_of: HashMap::new(),
            }),
            changed: Notify::new(),
        })
    }

    /// Adds a key to be worked on now.
    pub fn add(&self, key: K, lane: Lane) {
        self.locked().add(key, lane);
        self.changed.notify_waiters();
    }

    /// Adds a key to be worked on at `at`, unless it has an earlier timer.
    pub fn add_at(&self, key: K, lane: Lane, at: Instant) {
        {
            let mut state = self.locked();
            if let Some((earlier, lane_before)) = state.timer_of.get(&key).copied() {
                if earlier <= at {
                    return;
                }
                state.timers.remove(&(earlier, key.clone()));
                state.timer_of.insert(key.clone(), (at, lane.max(lane_before)));
            } else {
                state.timer_of.insert(key.clone(), (at, lane));
            }
            state.timers.insert((at, key));
        }
        self.changed.notify_waiters();
    }

    /// Forgets the timer of a key, and tells it: called when a key is worked on, which sets a new one.
    pub fn clear_timer(&self, key: &K) -> Option<(Instant, Lane)> {
        let mut state = self.locked();
        let (at, lane) = state.timer_of.remove(key)?;
        state.timers.remove(&(at, key.clone()));
        Some((at, lane))
    }

    /// Brings every timer forward: the clock that they were set by was put forward.
    pub fn hasten(&self, by: Duration) {
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
            state.running.iter().filter(|(key, _)| is(key)).map(|(key, run)| (key.clone(), *run)).collect()
        };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let goes_on = {
                let state = self.locked();
                under_way.iter().any(|(key, run)| state.running.get(key) == Some(run))
            };
            if !goes_on {
                return;
            }
            changed.await;
        }
    }

    /// Waits for the next key of at least `lane` and takes it.
    pub async fn take(self: &Arc<Self>, lane: Lane) -> Taken<K> {
        loop {
            // Registered before the look, so that nothing that is added in between goes unnoticed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next_timer = {
                let mut state = self.locked();
                state.fire(Instant::now());
                if let Some((key, lane)) = state.pop(lane) {
                    return Taken { queue: Arc::clone(self), key, lane };
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

    fn done(&self, key: &K) {
        {
            let mut state = self.locked();
            state.running.remove(key);
            if let Some(lane) = state.again.remove(key) {
                state.add(key.clone(), lane);
            }
        }
        self.changed.notify_waiters();
    }

    // A poisoned lock means that a thread panicked between two plain collection operations; what they hold is whole.
    fn locked(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Ord + Hash> Taken<K> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// How soon it had to be worked on, whoever took it.
    pub fn lane(&self) -> Lane {
        self.lane
    }
}

impl<K: Clone + Eq + Ord + Hash> Drop for Taken<K> {
    fn drop(&mut self) {
        self.queue.done(&self.key);
    }
}

impl<K: Clone + Eq + Ord + Hash> State<K> {
    fn add(&mut self, key: K, lane: Lane) {
        if self.running.contains_key(&key) {
            let again = self.again.entry(key).or_insert(lane);
            *again = (*again).max(lane);
            return;
        }
        match self.waiting.get(&key) {
            Some(&before) if before >= lane => return,
            // It moves to the urgent lane; the entry left in the other one is skipped when it comes up.
            Some(_) | None => self.waiting.insert(key.clone(), lane),
        };
        match lane {
            Lane::Urgent => self.urgent.push_back(key),
            Lane::Normal => self.normal.push_back(key),
        }
    }

    fn fire(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, key.clone()));
            let lane = self.timer_of.remove(&key).map_or(Lane::Normal, |(_, lane)| lane);
            self.add(key, lane);
        }
    }

    fn pop(&mut self, lane: Lane) -> Option<(K, Lane)> {
        while let Some(key) = self.urgent.pop_front() {
            if self.waiting.get(&key) == Some(&Lane::Urgent) {
                return Some((self.start(key), Lane::Urgent));
            }
        }
        if lane == Lane::Urgent {
            return None;
        }
        while let Some(key) = self.normal.pop_front() {
            if self.waiting.get(&key) == Some(&Lane::Normal) {
                return Some((self.start(key), Lane::Normal));
            }
        }
        None
    }

    fn start(&mut self, key: K) -> K {
        self.waiting.remove(&key);
        self.runs += 1;
        self.running.insert(key.clone(), self.runs);
        key
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn takes_nothing(queue: &Arc<Queue<u32>>, lane: Lane) -> bool {
        tokio::time::timeout(Duration::from_millis(1), queue.take(lane)).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_twice_comes_out_once() {
        let queue = Queue::new();
        queue.add(1, Lane::Normal);
        queue.add(1, Lane::Normal);
        let first = queue.take(Lane::Normal).await;
        assert_eq!(*first.key(), 1);
        drop(first);
        assert!(takes_nothing(&queue, Lane::Normal).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_while_in_work_comes_out_again_afterwards() {
        let queue = Queue::new();
        queue.add(1, Lane::Normal);
        let first = queue.take(Lane::Normal).await;
        queue.add(1, Lane::Urgent);
        assert!(takes_nothing(&queue, Lane::Normal).await, "one worker at a time");
        drop(first);
        assert_eq!(*queue.take(Lane::Urgent).await.key(), 1, "and it kept its lane");
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_work_overtakes() {
        let queue = Queue::new();
        queue.add(1, Lane::Normal);
        queue.add(2, Lane::Normal);
        queue.add(3, Lane::Urgent);
        queue.add(2, Lane::Urgent);
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(*queue.take(Lane::Normal).await.key());
        }
        assert_eq!(order, [3, 2, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_workers_take_nothing_else() {
        let queue = Queue::new();
        queue.add(1, Lane::Normal);
        assert!(takes_nothing(&queue, Lane::Urgent).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_timer_counts_and_fires_once() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.add_at(1, Lane::Normal, start + Duration::from_secs(60));
        queue.add_at(1, Lane::Urgent, start + Duration::from_secs(10));
        queue.add_at(1, Lane::Normal, start + Duration::from_secs(90));
        let taken = queue.take(Lane::Urgent).await;
        assert_eq!(start.elapsed().as_secs(), 10);
        drop(taken);
        assert!(tokio::time::timeout(Duration::from_secs(200), queue.take(Lane::Normal)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn timers_follow_a_clock_that_is_put_forward() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.add_at(1, Lane::Urgent, start + Duration::from_secs(3_600));
        queue.add_at(2, Lane::Normal, start + Duration::from_secs(7_200));
        queue.hasten(Duration::from_secs(3_590));
        assert_eq!(*queue.take(Lane::Urgent).await.key(), 1);
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.hasten(Duration::from_secs(86_400));
        assert_eq!(*queue.take(Lane::Normal).await.key(), 2, "a time that is past is now");
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.add_at(1, Lane::Urgent, start + Duration::from_secs(20));
        queue.clear_timer(&1);
        assert!(takes_nothing(&queue, Lane::Normal).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_waited_for_and_nothing_else() {
        let queue = Queue::new();
        for key in [1, 2, 3] {
            queue.add(key, Lane::Normal);
        }
        let (one, two) = (queue.take(Lane::Normal).await, queue.take(Lane::Normal).await);
        let is_odd = |key: &u32| key % 2 == 1;
        let mut finished = std::pin::pin!(queue.finished(is_odd));
        assert!(tokio::time::timeout(Duration::from_secs(9), &mut finished).await.is_err(), "1 is in work");
        let three = queue.take(Lane::Normal).await;
        queue.add(1, Lane::Normal);
        drop(one);
        let again = queue.take(Lane::Normal).await;
        assert_eq!(*again.key(), 1);
        let waited = tokio::time::timeout(Duration::from_secs(9), &mut finished).await;
        assert!(waited.is_ok(), "3 and the next run of 1 began later, and nobody asked for 2");
        drop((two, three, again));
        queue.finished(|_| true).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_work_gives_the_key_free() {
        let queue = Queue::new();
        queue.add(1, Lane::Normal);
        let worker = Arc::clone(&queue);
        let crashed = tokio::spawn(async move {
            let _taken = worker.take(Lane::Normal).await;
            panic!("on purpose");
        })
        .await;
        assert!(crashed.is_err());
        queue.add(1, Lane::Normal);
        assert_eq!(*queue.take(Lane::Normal).await.key(), 1);
    }
}
