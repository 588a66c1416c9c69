//! The workers: they take keys from the queue, run the reconciler of the key's kind, and decide when to reconcile again.
//!
//! Five things that decide whether a cluster of ten thousand objects stays calm stand here and nowhere else: how many
//! reconciles run at once, how long one may take, how fast a key that fails comes back, that ending an access does not wait
//! for anything else, and that reconciles which wait for a server that is slow hold up no others. And one that keeps times:
//! timers follow the wall clock when it is put forward.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::controller::{failure, workqueue::InProgress};
use crate::metrics::ReconcileResult;
use crate::model::{Action, Priority, ReconcileError, ReconcileKey, until};
use crate::ports::Clock;
use crate::{Shared, account, database_admin, database_user, db_object_import_rule, provisioning_role, sets};

/// How many reconciles run at once, as long as each is quick.
const AT_ONCE: usize = 16;
/// How many more run at once that do nothing but end accesses.
const URGENT_AT_ONCE: usize = 8;
/// A reconcile that takes longer waits for somebody, and does not count among those.
const QUICK: Duration = Duration::from_millis(500);
/// How many reconciles of each priority are under way, whatever they wait for.
const UNDER_WAY: usize = 1_024;
/// How often the wall clock is compared with the one that timers run by.
const CLOCK_LOOK: Duration = Duration::from_secs(10);
/// A smaller step of the wall clock is none.
const CLOCK_STEP: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What all reconciles share.
struct Workers {
    shared: Arc<Shared>,
    backoff: Backoff,
    tasks: TaskTracker,
    abort: CancellationToken,
}

/// Works until `stop`; reconciles that are under way are finished. When `abort` is cancelled they are not: another operator is
/// at work, or nobody waits any longer.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken, abort: CancellationToken) {
    let backoff = Backoff::new(Arc::clone(&shared.clock));
    let workers = Arc::new(Workers { shared, backoff, tasks: TaskTracker::new(), abort });
    for (priority, at_once) in [(Priority::Normal, AT_ONCE), (Priority::Urgent, URGENT_AT_ONCE)] {
        workers.tasks.spawn(dispatch(Arc::clone(&workers), priority, at_once, stop.clone()));
    }
    workers.tasks.spawn(follow_clock(Arc::clone(&workers.shared), stop));
    workers.tasks.close();
    workers.tasks.wait().await;
}

/// Takes one key after the other, as many at once as may be.
async fn dispatch(workers: Arc<Workers>, priority: Priority, at_once: usize, stop: CancellationToken) {
    let (quick, under_way) = (Arc::new(Semaphore::new(at_once)), Arc::new(Semaphore::new(UNDER_WAY)));
    loop {
        let next = async {
            // Nobody closes them.
            let under_way = Arc::clone(&under_way).acquire_owned().await.ok()?;
            let quick = Arc::clone(&quick).acquire_owned().await.ok()?;
            Some((workers.shared.queue.take(priority).await, quick, under_way))
        };
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = next => next,
        };
        let Some((taken, quick, under_way)) = next else { return };
        let workers_of_key = Arc::clone(&workers);
        workers.tasks.spawn(async move {
            work(&workers_of_key, taken, quick).await;
            drop(under_way);
        });
    }
}

/// Reconciles a key, and says when to do so again. `quick` is given back as soon as the reconcile turns out not to be.
async fn work(workers: &Workers, taken: InProgress<ReconcileKey>, quick: OwnedSemaphorePermit) {
    let Workers { shared, backoff, abort, .. } = workers;
    let key = taken.key();
    let timer = shared.queue.clear_timer(key);
    let started = Instant::now();
    let patience = shared.settings.reconcile_timeout;
    let attempted = {
        // What a reconcile leaves behind when it panics is what it leaves behind when it is given up: nothing that the
        // next one does not find.
        let attempt = AssertUnwindSafe(reconcile_at(taken.priority(), shared, key)).catch_unwind();
        let mut attempt = pin!(tokio::time::timeout(patience, attempt));
        tokio::select! {
            biased;
            () = abort.cancelled() => return,
            attempted = &mut attempt => attempted,
            () = tokio::time::sleep(QUICK) => {
                drop(quick);
                tokio::select! {
                    biased;
                    () = abort.cancelled() => return,
                    attempted = attempt => attempted,
                }
            }
        }
    };
    let looked = match attempted {
        Ok(Ok(looked)) => looked,
        Ok(Err(_)) => {
            shared.metrics.panicked();
            Err(ReconcileError::Panicked)
        }
        Err(_) => Err(ReconcileError::TimedOut(patience)),
    };
    let result = match &looked {
        Ok(done) if done.retry => ReconcileResult::Requeue,
        Ok(_) => ReconcileResult::Success,
        Err(_) => ReconcileResult::Error,
    };
    shared.metrics.reconciled(key, result, started.elapsed());
    if let Err(failed) = &looked {
        tokio::select! {
            biased;
            () = abort.cancelled() => return,
            () = failure::report(shared, key, failed) => {}
        }
    }
    let retry = match &looked {
        Ok(done) => done.retry,
        Err(failed) => {
            // A conflict is another writer's success; the next reconcile sees what it wrote.
            let expected =
                matches!(failed, ReconcileError::Api(error) if crate::api_writer::is_conflict(error));
            if expected {
                tracing::debug!(%key, error = %failed, "looking again");
            } else {
                tracing::warn!(%key, error = %failed, "looking again");
            }
            true
        }
    };
    let due = match &looked {
        Ok(done) => done.at.map(|(at, priority)| (until(at, shared.now()), priority)),
        // What the last reconcile that came to its end asked for stays: an access must not outlive its end meanwhile.
        Err(_) => backoff.due(key).or(timer),
    };
    let again = if retry {
        let now = Instant::now();
        Some(earlier((now + backoff.next(key, due), taken.priority()), due, now))
    } else {
        backoff.reset(key);
        due
    };
    if let Some((at, priority)) = again {
        shared.queue.add_at(key.clone(), priority, at);
    }
}

/// What ends accesses goes before other work on the connections to a server, too.
async fn reconcile_at(
    priority: Priority,
    shared: &Shared,
    key: &ReconcileKey,
) -> Result<Action, ReconcileError> {
    match priority {
        Priority::Urgent => rolecall_engine::urgent(reconcile(shared, key)).await,
        Priority::Normal => reconcile(shared, key).await,
    }
}

/// Each on the heap: they hold tens of kilobytes, and are moved about on the stack otherwise.
fn reconcile<'a>(shared: &'a Shared, key: &'a ReconcileKey) -> BoxFuture<'a, Result<Action, ReconcileError>> {
    match key {
        ReconcileKey::Account(key) => Box::pin(account::reconcile(shared, key)),
        ReconcileKey::Session(key) => Box::pin(account::unbound::reconcile(shared, key)),
        ReconcileKey::Admin(key) => Box::pin(database_admin::reconcile(shared, key)),
        ReconcileKey::Inventory(key) => Box::pin(database_admin::reconcile_inventory(shared, key)),
        ReconcileKey::User(key) => Box::pin(database_user::reconcile(shared, key)),
        ReconcileKey::Role(key) => Box::pin(provisioning_role::reconcile(shared, key)),
        ReconcileKey::Rule(key) => Box::pin(db_object_import_rule::reconcile(shared, key)),
        ReconcileKey::PermissionSets(key) => Box::pin(sets::reconcile(shared, key)),
    }
}

/// When to reconcile again: to retry, or earlier where something is due. What is overdue waits for the retry, at its own priority.
fn earlier(
    retry: (Instant, Priority),
    due: Option<(Instant, Priority)>,
    now: Instant,
) -> (Instant, Priority) {
    match due {
        Some((at, priority)) if at <= now => (retry.0, retry.1.max(priority)),
        Some(due) if due.0 <= retry.0 => due,
        _ => retry,
    }
}

/// Timers run by a clock that nobody sets, and that stands still while the machine sleeps. When the wall clock has gone
/// further, what is due by it is due now.
async fn follow_clock(shared: Arc<Shared>, stop: CancellationToken) {
    let mut before = (shared.now(), Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CLOCK_LOOK) => {}
        }
        let now = (shared.now(), Instant::now());
        if let Some(step) = put_forward(before, now) {
            tracing::info!(seconds = step.as_secs(), "the wall clock was put forward");
            shared.queue.advance_timers(step);
        }
        before = now;
    }
}

fn put_forward(before: (Timestamp, Instant), now: (Timestamp, Instant)) -> Option<Duration> {
    let by_the_wall = Duration::try_from(now.0.duration_since(before.0)).ok()?;
    by_the_wall.checked_sub(now.1.duration_since(before.1)).filter(|step| *step >= CLOCK_STEP)
}

/// How long to wait before a key that failed is looked at again: twice as long each time, with jitter.
#[derive(Debug)]
struct Backoff {
    troubles: Mutex<HashMap<ReconcileKey, Trouble>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    /// What is due meanwhile, retries aside.
    due: Option<(Instant, Priority)>,
}

impl Backoff {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self { troubles: Mutex::default(), clock }
    }

    fn next(&self, key: &ReconcileKey, due: Option<(Instant, Priority)>) -> Duration {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = troubles.entry(key.clone()).or_default();
        let wait = FIRST_RETRY.saturating_mul(1 << trouble.failures.min(16)).min(LAST_RETRY);
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.due = due;
        drop(troubles);
        self.clock.spread(wait, 0.8..1.2)
    }

    fn due(&self, key: &ReconcileKey) -> Option<(Instant, Priority)> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).get(key)?.due
    }

    fn reset(&self, key: &ReconcileKey) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use rolecall_api::{ProvisioningRole, ProvisioningRoleSpec};

    use super::*;
    use crate::cache::Source;
    use crate::model::ObjectKey;
    use crate::ports::SystemClock;

    #[tokio::test]
    async fn what_is_under_way_at_a_stop_is_finished_unless_nobody_waits_any_longer() {
        // It takes connections and never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Shared::with_api_server(&format!("http://{}", silent.local_addr().unwrap()));
        let mut role = ProvisioningRole::new("reader", ProvisioningRoleSpec::default());
        (role.metadata.namespace, role.metadata.uid) = (Some("shop".into()), Some("one".into()));
        shared.observe_event(role, Source::Watched);
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let mut running = tokio::spawn(run(Arc::clone(&shared), stop.clone(), abort.clone()));
        while !shared.queue.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.cancel();
        let goes_on = tokio::time::timeout(Duration::from_millis(300), &mut running).await.is_err();
        assert!(goes_on, "its status is being written");
        abort.cancel();
        tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    }

    #[test]
    fn only_a_wall_clock_that_was_put_forward_is_followed() {
        let (wall, instant) = (Timestamp::now(), Instant::now());
        let forward = |wall_seconds, seconds| {
            let now = wall + jiff::SignedDuration::from_millis(wall_seconds);
            put_forward((wall, instant), (now, instant + Duration::from_secs(seconds)))
        };
        assert_eq!(forward(70_000, 10), Some(Duration::from_secs(60)));
        assert_eq!(forward(10_500, 10), None, "the two never agree to the millisecond");
        assert_eq!(forward(4_000, 10), None, "put back, everything is late by itself");
        assert_eq!(forward(-60_000, 10), None);
    }

    #[test]
    fn a_key_that_fails_comes_back_later_each_time_up_to_a_bound() {
        let backoff = Backoff::new(Arc::new(SystemClock));
        let key = ReconcileKey::Rule(ObjectKey { namespace: "ns".into(), name: "rule".into() });
        let first = backoff.next(&key, None);
        let second = backoff.next(&key, None);
        assert!(first < Duration::from_millis(250) && second > Duration::from_millis(300));
        let last = (0..40).map(|_| backoff.next(&key, None)).last().unwrap();
        assert!(last > LAST_RETRY.mul_f64(0.7) && last < LAST_RETRY.mul_f64(1.3));
        backoff.reset(&key);
        assert!(backoff.next(&key, None) < Duration::from_millis(250));
    }

    #[test]
    fn what_is_due_is_not_put_off_by_retries() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let (retry, expiry) = ((at(30), Priority::Normal), (at(10), Priority::Urgent));
        assert_eq!(earlier(retry, Some(expiry), now), expiry);
        assert_eq!(earlier((at(1), Priority::Normal), Some(expiry), now), (at(1), Priority::Normal));
        assert_eq!(earlier(retry, Some(expiry), at(11)), (at(30), Priority::Urgent), "it is overdue");
        assert_eq!(earlier(retry, None, now), retry);

        let backoff = Backoff::new(Arc::new(SystemClock));
        let key = ReconcileKey::Rule(ObjectKey { namespace: "ns".into(), name: "rule".into() });
        backoff.next(&key, Some(expiry));
        assert_eq!(backoff.due(&key), Some(expiry));
        backoff.reset(&key);
        assert_eq!(backoff.due(&key), None);
    }
}
