//! Watching servers: noticing at once that a server may be another one than before.
//!
//! A failover undoes what the new primary had not received: the end of an access, for example. So for each server a
//! task keeps a connection, and whenever one breaks it connects again, reads the position of the server in its history,
//! and triggers a check of its accounts.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rolecall_engine::{Class, Engine, History, HistoryChange, Reason};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::controller::workqueue::Workqueue;
use crate::model::{Loss, ObjectKey, Priority, ReconcileKey};
use crate::ports::Clock;
use crate::servers::Server;

/// The shortest and longest wait before a server that went away is tried again: its successor is noticed no later.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_millis(500);
/// A server that has been away for so long may be gone for good, and is tried less often.
const AWAY: Duration = Duration::from_secs(300);
const RETRY_AWAY: Duration = Duration::from_secs(5);
/// After a server has been away for so long, its connections are closed and made anew.
const FORGET: Duration = Duration::from_secs(20);
/// The wait where a server answers and does not let the admin user in.
const RETRY_REFUSED: Duration = Duration::from_secs(30);
/// Longer than an engine takes to connect or to find that it cannot.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that break while the server stays the same cause a check each, at least this far apart, with growing
/// waits.
const DISTANCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How many runs of a server are remembered, so that a late answer is not taken for a failover.
const REMEMBERED: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub struct FailoverWatch {
    tasks: Mutex<HashMap<ObjectKey, Task>>,
    histories: Mutex<HashMap<ObjectKey, Known>>,
}

/// A task that watches a server, until this is dropped.
#[derive(Debug)]
struct Task {
    engine: Arc<dyn Engine>,
    seen: Arc<Mutex<Option<History>>>,
    task: AbortHandle,
}

/// The position of a server in its history when it was last read.
#[derive(Debug)]
struct Known {
    /// Where the server is reached: another address is another server.
    uri: String,
    /// The latest last.
    histories: VecDeque<History>,
    /// The last time that changes may have been lost.
    lost: Option<Loss>,
}

impl FailoverWatch {
    /// Starts watching a server.
    pub(super) fn start(
        &self,
        key: &ObjectKey,
        server: &Server,
        queue: &Arc<Workqueue<ReconcileKey>>,
        clock: &Arc<dyn Clock>,
    ) {
        let mut tasks = self.tasks();
        // A DatabaseAdmin that has changed has another engine.
        if tasks.get(key).is_some_and(|task| Arc::ptr_eq(&task.engine, &server.engine)) {
            return;
        }
        let known = self.histories().get(key).and_then(|known| known.histories.back().cloned());
        let seen = Arc::new(Mutex::new(known));
        let (queue, clock) = (Arc::clone(queue), Arc::clone(clock));
        let task = watch(queue, clock, key.clone(), Arc::clone(&server.engine), Arc::clone(&seen));
        let task = tokio::spawn(task).abort_handle();
        tasks.insert(key.clone(), Task { engine: Arc::clone(&server.engine), seen, task });
    }

    /// Stops watching a server.
    pub fn stop(&self, key: &ObjectKey) {
        self.tasks().remove(key);
    }

    /// Stops watching all servers.
    pub fn stop_all(&self) {
        self.tasks().clear();
    }

    /// Forgets a server that is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.stop(key);
        self.histories().remove(key);
    }

    /// The position at which the watching task saw a server last.
    pub(super) fn seen(&self, key: &ObjectKey) -> Option<History> {
        let tasks = self.tasks();
        let seen = tasks.get(key)?.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    /// Records the position of a server, and returns what happened since the last one. `in_status`: its branch
    /// according to the status of the DatabaseAdmin, from a previous operator process.
    pub(super) fn record(
        &self,
        key: &ObjectKey,
        uri: &str,
        history: &History,
        in_status: Option<&str>,
        now: Timestamp,
    ) -> Option<HistoryChange> {
        let mut histories = self.histories();
        let Some(known) = histories.get_mut(key).filter(|known| known.uri == uri) else {
            let before = History { branch: in_status.unwrap_or_default().to_owned(), ..history.clone() };
            let change = history.change_since(&before);
            let lost = change.clone().map(|change| Loss { noticed: now, change });
            let histories_of = VecDeque::from([history.clone()]);
            histories.insert(key.clone(), Known { uri: uri.to_owned(), histories: histories_of, lost });
            return change;
        };
        let is_same = |one: &History| one.branch == history.branch && one.run == history.run;
        if known.histories.iter().rev().skip(1).any(is_same) {
            return None;
        }
        let change = known.histories.back().and_then(|before| history.change_since(before));
        if known.histories.back().is_some_and(is_same) {
            known.histories.pop_back();
        }
        known.histories.push_back(history.clone());
        if known.histories.len() > REMEMBERED {
            known.histories.pop_front();
        }
        if let Some(change) = change.clone().filter(HistoryChange::may_have_lost) {
            known.lost = Some(Loss { noticed: now, change });
        }
        change
    }

    /// The last known time when a server may have lost changes.
    pub fn loss(&self, key: &ObjectKey) -> Option<Loss> {
        self.histories().get(key)?.lost.clone()
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn tasks(&self) -> MutexGuard<'_, HashMap<ObjectKey, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn histories(&self) -> MutexGuard<'_, HashMap<ObjectKey, Known>> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(
    queue: Arc<Workqueue<ReconcileKey>>,
    clock: Arc<dyn Clock>,
    key: ObjectKey,
    engine: Arc<dyn Engine>,
    seen: Arc<Mutex<Option<History>>>,
) {
    let mut known = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (mut quiet, mut broke) = (Quiet::default(), false);
    let (mut wait, mut away_since, mut forgotten) = (FIRST_RETRY, None, None);
    loop {
        let watched = tokio::time::timeout(PATIENCE, engine.watch_history()).await;
        let longest = match watched {
            Ok(Ok(history_watch)) if history_watch.primary => {
                broke |= away_since.is_some();
                (wait, away_since) = (FIRST_RETRY, None);
                let history = history_watch.history;
                let changed = known.as_ref().is_none_or(|known| history.change_since(known).is_some());
                known = Some(history);
                seen.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&known);
                // What the reconcile that started this task has just seen is not checked again.
                if changed || broke {
                    let at = quiet.next(changed, Instant::now());
                    queue.add_at(ReconcileKey::Inventory(key.clone()), Priority::Urgent, at);
                }
                history_watch.lost.await;
                broke = true;
                tracing::info!(admin = %key, "a connection to the server broke: checking which server answers now");
                continue;
            }
            // A standby that may be promoted at any moment, or a server that is starting.
            Ok(Ok(_)) | Err(_) => LAST_RETRY,
            Ok(Err(error)) if error.reason == Reason::Unsupported => return,
            Ok(Err(error)) => {
                tracing::debug!(admin = %key, %error, "the server cannot be watched");
                let gone = error.class == Class::Unreachable && error.reason == Reason::DatabaseUnreachable;
                if gone { LAST_RETRY } else { RETRY_REFUSED }
            }
        };
        let since = *away_since.get_or_insert_with(Instant::now);
        if since.elapsed() > FORGET && forgotten != away_since {
            // A driver with state from the old server may not accept the new one as its successor.
            engine.close().await;
            forgotten = away_since;
        }
        let longest = if since.elapsed() > AWAY { longest.max(RETRY_AWAY) } else { longest };
        tokio::time::sleep(clock.spread(wait, 0.8..1.0)).await;
        wait = (wait * 2).min(longest);
    }
}

/// When the checks that broken connections cause are due.
#[derive(Debug, Default)]
struct Quiet {
    last: Option<Instant>,
    distance: Duration,
}

impl Quiet {
    /// At once where the server has changed, or nothing has happened for a while; else at a distance that grows.
    fn next(&mut self, changed: bool, now: Instant) -> Instant {
        let due = self.last.map(|last| last + self.distance).filter(|due| *due > now && !changed);
        self.distance = match due {
            Some(_) => (self.distance * 2).min(DISTANCE.1),
            None => DISTANCE.0,
        };
        let at = due.unwrap_or(now);
        self.last = Some(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: "orders".into() }
    }

    fn at(branch: &str, run: &str) -> History {
        History { branch: branch.to_owned(), run: run.to_owned(), position: 1 }
    }

    fn branched(from: &str, to: &str) -> Option<HistoryChange> {
        Some(HistoryChange::Branched { from: from.to_owned(), to: to.to_owned() })
    }

    #[test]
    fn a_failover_is_noticed_once_whoever_sees_it() {
        let failover_watch = FailoverWatch::default();
        let record = |history: &History| failover_watch.record(&key(), "db", history, None, Timestamp::now());
        let (first, second) = (at("timeline 1", "a"), at("timeline 2", "b"));
        assert_eq!(record(&first), None);
        assert_eq!(record(&first), None);
        assert_eq!(failover_watch.loss(&key()), None);
        assert_eq!(record(&second), branched("timeline 1", "timeline 2"));
        assert_eq!(record(&second), None, "the reconcile finds what the task has found");
        assert_eq!(record(&first), None, "an answer that was long on its way");
        assert_eq!(record(&at("timeline 3", "a")), branched("timeline 2", "timeline 3"));
        let loss = failover_watch.loss(&key()).map(|loss| loss.change);
        assert_eq!(loss, branched("timeline 2", "timeline 3"));
        assert_eq!(record(&at("timeline 3", "c")), Some(HistoryChange::Restarted));
        assert_eq!(failover_watch.loss(&key()).map(|loss| loss.change), loss, "a restart loses nothing");
    }

    #[test]
    fn a_failover_while_no_operator_was_there_is_noticed_by_the_status() {
        let record = |in_status, history: &History| {
            FailoverWatch::default().record(&key(), "db", history, in_status, Timestamp::now())
        };
        assert_eq!(record(Some("timeline 1"), &at("timeline 2", "b")), branched("timeline 1", "timeline 2"));
        assert_eq!(record(Some("timeline 2"), &at("timeline 2", "b")), None);
        assert_eq!(record(None, &at("timeline 2", "b")), None);
    }

    #[test]
    fn another_address_is_another_server() {
        let failover_watch = FailoverWatch::default();
        let record =
            |uri, history: &History| failover_watch.record(&key(), uri, history, None, Timestamp::now());
        assert_eq!(record("one", &at("timeline 1", "a")), None);
        assert_eq!(record("two", &at("timeline 7", "b")), None);
        assert_eq!(record("two", &at("timeline 8", "c")), branched("timeline 7", "timeline 8"));
    }

    #[test]
    fn connections_that_break_for_nothing_cause_few_checks() {
        let (start, mut quiet) = (Instant::now(), Quiet::default());
        let seconds = |at: Instant| at.duration_since(start).as_secs();
        assert_eq!(seconds(quiet.next(true, start)), 0);
        let due: Vec<u64> = (0..5).map(|_| seconds(quiet.next(false, start))).collect();
        assert_eq!(due, [1, 3, 7, 15, 31]);
        assert_eq!(seconds(quiet.next(true, start)), 0, "another server is checked at once");
        let later = start + Duration::from_secs(100);
        assert_eq!(quiet.next(false, later), later, "after a quiet time the next is checked at once");
    }
}
