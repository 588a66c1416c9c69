//! The workers: they take keys from the queue, run the reconciler of the key's kind, and decide when to look again.
//!
//! Five things that decide whether a cluster of ten thousand objects stays calm stand here and nowhere else: how many
//! looks run at once, how long one may take, how fast a key that fails comes back, that ending an access does not wait
//! for anything else, and that looks which wait for a server that is slow hold up no others. And one that keeps times:
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

use crate::metrics::Outcome;
use crate::queue::{Lane, Queue, Taken};
use crate::world::Work;
use crate::{Shared, account, admin, failure, permissions, role, rule, user};

/// How many looks run at once, as long as each is quick.
const AT_ONCE: usize = 16;
/// How many more run at once that do nothing but end accesses.
const URGENT_AT_ONCE: usize = 8;
/// A look that takes longer waits for somebody, and does not count among those.
const QUICK: Duration = Duration::from_millis(500);
/// How many looks are under way in each lane, whatever they wait for.
const UNDER_WAY: usize = 1_024;
/// How many of them are at one server, in each lane: one that is slow keeps its neighbours from nothing.
pub(crate) const PER_SERVER: usize = 24;
/// How often the wall clock is compared with the one that timers run by.
const CLOCK_LOOK: Duration = Duration::from_secs(10);
/// A smaller step of the wall clock is none.
const CLOCK_STEP: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What a look came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// When to look again by itself.
    pub at: Option<(Timestamp, Lane)>,
    /// Look again soon, and later each time: something failed that may work.
    pub retry: bool,
}

impl Done {
    /// Nothing more to do until something changes.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Look again at that time, or earlier if that was said before.
    pub fn at_earliest(&mut self, at: Option<(Timestamp, Lane)>) {
        if let Some(at) = at {
            self.at = Some(match self.at {
                Some(before) if before.0 <= at.0 => (before.0, before.1),
                _ => at,
            });
        }
    }
}

/// A look that could not be finished. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The API server did not do it.
    #[error("the API server refused: {0}")]
    Api(#[from] kube::Error),
    /// Something of the engine's that has no place on an object.
    #[error(transparent)]
    Engine(#[from] rolecall_engine::Error),
    /// A bug. The panic itself is on standard error.
    #[error("a worker died: it panicked")]
    Panicked,
    /// It took too long.
    #[error("gave up after {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// What all looks share.
struct Crew {
    shared: Arc<Shared>,
    backoff: Backoff,
    tasks: TaskTracker,
    abort: CancellationToken,
}

/// Works until `stop`; looks that are under way are finished. When `abort` is cancelled they are not: another operator is
/// at work, or nobody waits any longer.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken, abort: CancellationToken) {
    let crew = Arc::new(Crew { shared, backoff: Backoff::default(), tasks: TaskTracker::new(), abort });
    for (lane, at_once) in [(Lane::Normal, AT_ONCE), (Lane::Urgent, URGENT_AT_ONCE)] {
        crew.tasks.spawn(dispatch(Arc::clone(&crew), lane, at_once, stop.clone()));
    }
    crew.tasks.spawn(follow_clock(Arc::clone(&crew.shared.queue), stop));
    crew.tasks.close();
    crew.tasks.wait().await;
}

/// Takes one key after the other, as many at once as may be.
async fn dispatch(crew: Arc<Crew>, lane: Lane, at_once: usize, stop: CancellationToken) {
    let (quick, under_way) = (Arc::new(Semaphore::new(at_once)), Arc::new(Semaphore::new(UNDER_WAY)));
    loop {
        let next = async {
            // Nobody closes them.
            let under_way = Arc::clone(&under_way).acquire_owned().await.ok()?;
            let quick = Arc::clone(&quick).acquire_owned().await.ok()?;
            Some((crew.shared.queue.take(lane).await, quick, under_way))
        };
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = next => next,
        };
        let Some((taken, quick, under_way)) = next else { return };
        let crew_of_look = Arc::clone(&crew);
        crew.tasks.spawn(async move {
            work(&crew_of_look, taken, quick).await;
            drop(under_way);
        });
    }
}

/// Looks at a key, and says when to look again. `quick` is given back as soon as the look turns out not to be.
async fn work(crew: &Crew, taken: Taken<Work>, quick: OwnedSemaphorePermit) {
    let Crew { shared, backoff, abort, .. } = crew;
    let key = taken.key();
    let timer = shared.queue.clear_timer(key);
    let started = Instant::now();
    let patience = shared.settings.reconcile_timeout;
    let attempted = {
        // What a look leaves behind when it panics is what it leaves behind when it is given up: nothing that the
        // next one does not find.
        let attempt = AssertUnwindSafe(look_in(taken.lane(), shared, key)).catch_unwind();
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
            shared.metrics.worker_died();
            Err(Failed::Panicked)
        }
        Err(_) => Err(Failed::TimedOut(patience)),
    };
    let outcome = match &looked {
        Ok(done) if done.retry => Outcome::Retried,
        Ok(_) => Outcome::Done,
        Err(_) => Outcome::Failed,
    };
    shared.metrics.look(key, outcome, started.elapsed());
    if let Err(failed) = &looked {
        tokio::select! {
            biased;
            () = abort.cancelled() => return,
            () = failure::tell(shared, key, failed) => {}
        }
    }
    let retry = match &looked {
        Ok(done) => done.retry,
        Err(failed) => {
            // A conflict is another writer's success; the next look sees what it wrote.
            let expected = matches!(failed, Failed::Api(error) if crate::objects::is_conflict(error));
            if expected {
                tracing::debug!(%key, error = %failed, "looking again");
            } else {
                tracing::warn!(%key, error = %failed, "looking again");
            }
            true
        }
    };
    let due = match &looked {
        Ok(done) => done.at.map(|(at, lane)| (until(at), lane)),
        // What the last look that came to its end asked for stays: an access must not outlive its end meanwhile.
        Err(_) => backoff.due(key).or(timer),
    };
    let again = if retry {
        let now = Instant::now();
        Some(earlier((now + backoff.next(key, due), taken.lane()), due, now))
    } else {
        backoff.reset(key);
        due
    };
    if let Some((at, lane)) = again {
        shared.queue.add_at(key.clone(), lane, at);
    }
}

/// What ends accesses goes before other work on the connections to a server, too.
async fn look_in(lane: Lane, shared: &Shared, key: &Work) -> Result<Done, Failed> {
    match lane {
        Lane::Urgent => rolecall_engine::urgent(look(shared, key)).await,
        Lane::Normal => look(shared, key).await,
    }
}

/// Each on the heap: they hold tens of kilobytes, and are moved about on the stack otherwise.
fn look<'a>(shared: &'a Shared, key: &'a Work) -> BoxFuture<'a, Result<Done, Failed>> {
    match key {
        Work::Account(key) => Box::pin(account::reconcile(shared, key)),
        Work::Unbound(key) => Box::pin(account::reconcile_unbound(shared, key)),
        Work::Admin(key) => Box::pin(admin::reconcile(shared, key)),
        Work::Accounts(key) => Box::pin(admin::reconcile_accounts(shared, key)),
        Work::User(key) => Box::pin(user::reconcile(shared, key)),
        Work::Role(key) => Box::pin(role::reconcile(shared, key)),
        Work::Rule(key) => Box::pin(rule::reconcile(shared, key)),
        Work::Objects(key) => Box::pin(permissions::reconcile(shared, key)),
    }
}

/// When to look again: to retry, or earlier where something is due. What is overdue waits for the retry, in its own lane.
fn earlier(retry: (Instant, Lane), due: Option<(Instant, Lane)>, now: Instant) -> (Instant, Lane) {
    match due {
        Some((at, lane)) if at <= now => (retry.0, retry.1.max(lane)),
        Some(due) if due.0 <= retry.0 => due,
        _ => retry,
    }
}

/// The instant of a wall-clock time. A time that is past is now.
pub(crate) fn until(at: Timestamp) -> Instant {
    let left = at.duration_since(Timestamp::now());
    // What is further away cannot always be said in instants; such a time is looked at once a day.
    let left = Duration::try_from(left).unwrap_or_default().min(Duration::from_secs(86_400));
    Instant::now() + left
}

/// Timers run by a clock that nobody sets, and that stands still while the machine sleeps. When the wall clock has gone
/// further, what is due by it is due now.
async fn follow_clock(queue: Arc<Queue<Work>>, stop: CancellationToken) {
    let mut before = (Timestamp::now(), Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CLOCK_LOOK) => {}
        }
        let now = (Timestamp::now(), Instant::now());
        if let Some(step) = put_forward(before, now) {
            tracing::info!(seconds = step.as_secs(), "the wall clock was put forward");
            queue.hasten(step);
        }
        before = now;
    }
}

fn put_forward(before: (Timestamp, Instant), now: (Timestamp, Instant)) -> Option<Duration> {
    let by_the_wall = Duration::try_from(now.0.duration_since(before.0)).ok()?;
    by_the_wall.checked_sub(now.1.duration_since(before.1)).filter(|step| *step >= CLOCK_STEP)
}

/// How long to wait before a key that failed is looked at again: twice as long each time, with jitter.
#[derive(Debug, Default)]
struct Backoff(Mutex<HashMap<Work, Trouble>>);

#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    /// What is due meanwhile, retries aside.
    due: Option<(Instant, Lane)>,
}

impl Backoff {
    fn next(&self, key: &Work, due: Option<(Instant, Lane)>) -> Duration {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = troubles.entry(key.clone()).or_default();
        let wait = FIRST_RETRY.saturating_mul(1 << trouble.failures.min(16)).min(LAST_RETRY);
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.due = due;
        wait.mul_f64(rand::random_range(0.8..1.2))
    }

    fn due(&self, key: &Work) -> Option<(Instant, Lane)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key)?.due
    }

    fn reset(&self, key: &Work) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use rolecall_api::{ProvisioningRole, ProvisioningRoleSpec};

    use super::*;
    use crate::world::{ObjectKey, Told};

    #[tokio::test]
    async fn what_is_under_way_at_a_stop_is_finished_unless_nobody_waits_any_longer() {
        // It takes connections and never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Shared::with_api_server(&format!("http://{}", silent.local_addr().unwrap()));
        let mut role = ProvisioningRole::new("reader", ProvisioningRoleSpec::default());
        (role.metadata.namespace, role.metadata.uid) = (Some("shop".into()), Some("one".into()));
        shared.take_in(role, Told::Watched);
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
        let backoff = Backoff::default();
        let key = Work::Rule(ObjectKey { namespace: "ns".into(), name: "rule".into() });
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
        let (retry, expiry) = ((at(30), Lane::Normal), (at(10), Lane::Urgent));
        assert_eq!(earlier(retry, Some(expiry), now), expiry);
        assert_eq!(earlier((at(1), Lane::Normal), Some(expiry), now), (at(1), Lane::Normal));
        assert_eq!(earlier(retry, Some(expiry), at(11)), (at(30), Lane::Urgent), "it is overdue");
        assert_eq!(earlier(retry, None, now), retry);

        let backoff = Backoff::default();
        let key = Work::Rule(ObjectKey { namespace: "ns".into(), name: "rule".into() });
        backoff.next(&key, Some(expiry));
        assert_eq!(backoff.due(&key), Some(expiry));
        backoff.reset(&key);
        assert_eq!(backoff.due(&key), None);
    }
}
