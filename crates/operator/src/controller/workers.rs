//! The workers: they take keys from the queue, run the reconciler of the key's kind, and decide when to reconcile again.
//!
//! What keeps a cluster of ten thousand objects calm is decided here and nowhere else: how many reconciles run at once,
//! how long one may take, that ending an access waits for nothing else, and that reconciles which wait for a slow
//! server do not delay others.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::failures::Failures;
use super::workqueue::InProgress;
use super::{failure, wall_clock};
use crate::metrics::ReconcileResult;
use crate::model::{Action, Cause, Priority, ReconcileError, ReconcileKey, WALK, until};
use crate::{Shared, account, database_admin, database_user, db_object_import_rule, provisioning_role, sets};

/// How many reconciles run at once, as long as each is quick.
const AT_ONCE: usize = 16;
/// How many more run at once that do nothing but end accesses.
const URGENT_AT_ONCE: usize = 8;
/// A reconcile that takes longer waits for somebody, and does not count among those.
const QUICK: Duration = Duration::from_millis(500);
/// How many reconciles of each priority are under way, whatever they wait for.
const UNDER_WAY: usize = 1_024;

/// What all reconciles share.
struct Workers {
    shared: Arc<Shared>,
    failures: Failures,
    tasks: TaskTracker,
    abort: CancellationToken,
}

/// Works until `stop`; reconciles that are under way are finished. When `abort` is cancelled they are dropped: another
/// operator works, or nobody waits any longer.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken, abort: CancellationToken) {
    let failures = Failures::new(Arc::clone(&shared.clock));
    let workers = Arc::new(Workers { shared, failures, tasks: TaskTracker::new(), abort });
    for (priority, at_once) in [(Priority::Normal, AT_ONCE), (Priority::Urgent, URGENT_AT_ONCE)] {
        workers.tasks.spawn(dispatch(Arc::clone(&workers), priority, at_once, stop.clone()));
    }
    workers.tasks.spawn(wall_clock::follow(Arc::clone(&workers.shared), stop));
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
            let span = span(&taken, &workers_of_key.failures);
            process(&workers_of_key, taken, quick).instrument(span).await;
            drop(under_way);
        });
    }
}

/// Reconciles a key, and says when to do so again. `quick` is given back as soon as the reconcile turns out not to be.
async fn process(workers: &Workers, taken: InProgress<ReconcileKey>, quick: OwnedSemaphorePermit) {
    let Workers { shared, failures, abort, .. } = workers;
    let key = taken.key();
    tracing::trace!(target: WALK, %key, "reconciled");
    let timer = shared.queue.clear_timer(key);
    let started = Instant::now();
    let timeout = shared.settings.reconcile_timeout;
    let attempted = {
        // A reconcile that panics leaves behind what one that timed out does: nothing that the next one does not find.
        let attempt =
            AssertUnwindSafe(reconcile_at((taken.priority(), taken.cause()), shared, key)).catch_unwind();
        let mut attempt = pin!(tokio::time::timeout(timeout, attempt));
        tokio::select! {
            biased;
            () = abort.cancelled() => return,
            attempted = &mut attempt => attempted,
            () = slow_or_left(&taken) => {
                drop(quick);
                tokio::select! {
                    biased;
                    () = abort.cancelled() => return,
                    attempted = attempt => attempted,
                }
            }
        }
    };
    let outcome = match attempted {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            shared.metrics.panicked();
            Err(ReconcileError::Panicked)
        }
        Err(_) => Err(ReconcileError::TimedOut(timeout)),
    };
    let result = match &outcome {
        Ok(done) if done.retry => ReconcileResult::Requeue,
        Ok(_) => ReconcileResult::Success,
        Err(_) => ReconcileResult::Error,
    };
    shared.metrics.reconciled(key, result, started.elapsed());
    if let Err(failed) = &outcome {
        tokio::select! {
            biased;
            () = abort.cancelled() => return,
            () = failure::report(shared, key, failed) => {}
        }
    }
    let retry = match &outcome {
        Ok(done) => done.retry,
        Err(failed) => {
            // A conflict is another writer's success; the next reconcile sees what it wrote.
            let expected =
                matches!(failed, ReconcileError::Api(error) if crate::api_writer::is_conflict(error));
            if expected {
                tracing::debug!(%key, error = %failed, "the reconcile failed and is retried");
            } else {
                tracing::warn!(%key, error = %failed, "the reconcile failed and is retried");
            }
            true
        }
    };
    let due = match &outcome {
        Ok(done) => done.at.map(|(at, priority)| (until(at, shared.now()), priority)),
        // The timer that the last completed reconcile asked for stays: an access must not outlive its end meanwhile.
        Err(_) => failures.due(key).or(timer),
    };
    let again = if retry {
        let now = Instant::now();
        Some(earlier((now + failures.add(key, due), taken.priority()), due, now))
    } else {
        failures.remove(key);
        due
    };
    if let Some((at, priority)) = again {
        shared.queue.add_at(key.clone(), priority, at);
    }
}

/// Waits until a reconcile does not count among the quick ones any more: it waits for somebody, or all that is left to do is to
/// tell the API server. However slow that is, the next access ends in time.
async fn slow_or_left(taken: &InProgress<ReconcileKey>) {
    tokio::select! {
        () = tokio::time::sleep(QUICK) => {}
        () = taken.left_group() => {}
    }
}

/// Everything that is logged while a key is worked on says which, and why it is.
fn span(taken: &InProgress<ReconcileKey>, failures: &Failures) -> tracing::Span {
    let key = taken.key();
    let cause = match taken.cause() {
        Cause::Announced => "announced",
        Cause::Change => "change",
        Cause::Timer if failures.has(key) => "retry",
        Cause::Timer => "timer",
    };
    tracing::info_span!("reconcile", kind = key.kind(), %key, cause)
}

/// What ends accesses goes before other work on the connections to a server, too.
async fn reconcile_at(
    (priority, cause): (Priority, Cause),
    shared: &Shared,
    key: &ReconcileKey,
) -> Result<Action, ReconcileError> {
    match priority {
        Priority::Urgent => rolecall_engine::urgent(reconcile(shared, key, cause)).await,
        Priority::Normal => reconcile(shared, key, cause).await,
    }
}

/// Each on the heap: they are tens of kilobytes large, and are moved about on the stack otherwise.
fn reconcile<'a>(
    shared: &'a Shared,
    key: &'a ReconcileKey,
    cause: Cause,
) -> BoxFuture<'a, Result<Action, ReconcileError>> {
    match key {
        ReconcileKey::Account(key) => Box::pin(account::reconcile(shared, key)),
        ReconcileKey::Session(key) => Box::pin(account::unbound::reconcile(shared, key)),
        ReconcileKey::Admin(key) => Box::pin(database_admin::reconcile(shared, key)),
        ReconcileKey::Inventory(key) => Box::pin(database_admin::reconcile_inventory(shared, key)),
        ReconcileKey::User(key) => Box::pin(database_user::reconcile(shared, key)),
        ReconcileKey::Role(key) => Box::pin(provisioning_role::reconcile(shared, key)),
        ReconcileKey::Rule(key) => Box::pin(db_object_import_rule::reconcile(shared, key)),
        ReconcileKey::PermissionSets(key) => Box::pin(sets::reconcile(shared, key, cause)),
    }
}

/// When to reconcile again: for the retry, or earlier where something is due. What is overdue waits for the retry, at its
/// own priority.
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

#[cfg(test)]
mod tests {
    use rolecall_api::{ProvisioningRole, ProvisioningRoleSpec};

    use super::*;
    use crate::cache::Source;
    use crate::model::ObjectKey;

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
    fn what_is_due_is_not_put_off_by_retries() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let (retry, expiry) = ((at(30), Priority::Normal), (at(10), Priority::Urgent));
        assert_eq!(earlier(retry, Some(expiry), now), expiry);
        assert_eq!(earlier((at(1), Priority::Normal), Some(expiry), now), (at(1), Priority::Normal));
        assert_eq!(earlier(retry, Some(expiry), at(11)), (at(30), Priority::Urgent), "it is overdue");
        assert_eq!(earlier(retry, None, now), retry);
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_logged_says_which_key_is_worked_on_and_why() {
        let lines = Lines::default();
        let writer = lines.clone();
        let format = crate::args::LogFormat::Text;
        let subscriber = crate::log::subscriber("info", format, false, move || writer.clone()).unwrap();
        let _default = tracing::subscriber::set_default(subscriber);
        let shared = Shared::alone();
        let failures = Failures::new(Arc::clone(&shared.clock));
        let key = ReconcileKey::Rule(ObjectKey { namespace: "shop".into(), name: "all".into() });
        let log = async || {
            let taken = shared.queue.take(Priority::Normal).await;
            // Tests beside this one may have made the span known while nobody subscribed on their threads; tracing keeps
            // that answer for the whole process until it is asked to find out again.
            drop(span(&taken, &failures));
            tracing::callsite::rebuild_interest_cache();
            span(&taken, &failures).in_scope(|| tracing::warn!("something"));
        };
        shared.queue.add(key.clone(), Priority::Normal);
        log().await;
        shared.queue.add_at(key.clone(), Priority::Normal, Instant::now());
        log().await;
        failures.add(&key, None);
        shared.queue.add_at(key, Priority::Normal, Instant::now());
        log().await;
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let causes = ["change", "timer", "retry"]
            .map(|cause| format!("reconcile{{kind=\"rule\" key=rule shop/all cause=\"{cause}\"}}: "));
        assert_eq!(lines.lines().count(), 3, "{lines}");
        assert!(lines.lines().zip(&causes).all(|(line, cause)| line.contains(cause)), "{lines}");
    }
}
