//! Everything around the operator: time, chance, what goes wrong, and what was found to be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::evidence::Evidence;
use super::invariants::Break;
use super::server::Server;
use super::store::{Store, When};
use crate::ports::Clock;

/// The hosts of the two database servers.
pub(super) const HOSTS: [&str; 2] = ["orders-db", "billing-db"];

/// The API server, two database servers, and whoever uses them.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) clock: VirtualClock,
    random: Mutex<StdRng>,
    store: Mutex<Store>,
    /// Something in the store has changed.
    pub(super) stored: Notify,
    pub(super) servers: BTreeMap<&'static str, Arc<Server>>,
    faults: Mutex<Faults>,
    /// The operator has crashed: nothing that it calls answers any more.
    dead: AtomicBool,
    pub(super) died: Notify,
    evidence: Mutex<Evidence>,
    /// Admission puts the finalizer on sessions.
    pub(super) admission: AtomicBool,
    /// What is broken on purpose.
    pub(super) broken: OnceLock<Break>,
    trace: Mutex<Option<Vec<String>>>,
}

/// What goes wrong from now on.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// After so many calls of the operator, it dies: before the call has its effect, or after.
    pub(super) crash: Option<(u32, When)>,
    /// The API server does not answer.
    pub(super) api_silent: bool,
    /// It takes its time.
    pub(super) api_slow: bool,
    /// Nothing can be written to the audit log.
    pub(super) audit_log_full: bool,
    /// After so many calls to the API server, one of them fails so.
    pub(super) api_failures: Vec<(u32, ApiFailure)>,
    /// Until then, nothing is heard of these kinds, by the collections that they are in.
    pub(super) stalled: BTreeMap<String, Timestamp>,
    /// The watches of these kinds start anew, from a list.
    pub(super) relist: BTreeSet<String>,
    /// The next event of these kinds comes twice.
    pub(super) twice: BTreeSet<String>,
}

/// How a call to the API server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiFailure {
    /// 409, whatever for.
    Conflict,
    /// 500, before or after the effect.
    Internal(When),
    /// 429.
    TooMany,
    /// No answer in time.
    Silence(When),
}

impl Cluster {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let servers = HOSTS.map(|host| (host, Arc::new(Server::new(host))));
        Arc::new(Self {
            clock: VirtualClock::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            store: Mutex::default(),
            stored: Notify::new(),
            servers: servers.into(),
            faults: Mutex::default(),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            evidence: Mutex::default(),
            admission: AtomicBool::new(false),
            broken: OnceLock::new(),
            trace: Mutex::new(std::env::var_os("ROLECALL_SIMULATION_TRACE").map(|_| Vec::new())),
        })
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        locked(&self.store)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        locked(&self.faults)
    }

    pub(super) fn evidence(&self) -> MutexGuard<'_, Evidence> {
        locked(&self.evidence)
    }

    /// Is that broken on purpose?
    pub(super) fn breaks(&self, what: Break) -> bool {
        self.broken.get() == Some(&what)
    }

    /// Chance.
    pub(super) fn random<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut locked(&self.random))
    }

    pub(super) fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[self.random(|random| random.random_range(0..of.len()))]
    }

    /// Traces what happens, where that is wanted.
    pub(super) fn log(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut *locked(&self.trace) {
            trace.push(format!("{} {}", self.clock.now(), what()));
        }
    }

    pub(super) fn trace(&self) -> String {
        locked(&self.trace).as_ref().map(|lines| lines.join("\n")).unwrap_or_default()
    }

    /// The operator calls something: it may be dead, or die of it.
    pub(super) async fn survive(&self, when: When) {
        let dies = {
            let mut faults = self.faults();
            match &mut faults.crash {
                Some((0, at)) if *at == when => {
                    faults.crash = None;
                    true
                }
                Some((left, _)) if when == When::Before => {
                    *left = left.saturating_sub(1);
                    false
                }
                _ => false,
            }
        };
        if dies {
            self.log(|| "the operator dies".to_owned());
            self.dead.store(true, Ordering::SeqCst);
            self.died.notify_one();
        }
        if self.dead.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
    }

    /// A new operator is about to start.
    pub(super) fn begin_life(&self) {
        self.dead.store(false, Ordering::SeqCst);
        self.store().begin_life();
        self.evidence().begin_life();
    }

    pub(super) async fn wait(&self, of: &[u64]) {
        let millis = self.pick(of);
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }
}

/// A wall clock that goes with the paused clock of the runtime, and on where another runtime goes on.
#[derive(Debug)]
pub(super) struct VirtualClock {
    /// What it showed then.
    set: Mutex<(Timestamp, Option<Instant>)>,
    random: Mutex<StdRng>,
}

impl Default for VirtualClock {
    fn default() -> Self {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        Self { set: Mutex::new((start, None)), random: Mutex::new(StdRng::seed_from_u64(1)) }
    }
}

impl VirtualClock {
    /// Goes by the clock of this runtime from now on.
    pub(super) fn start(&self) {
        locked(&self.set).1 = Some(Instant::now());
    }

    /// The runtime ends.
    pub(super) fn stop(&self) {
        let now = self.now();
        *locked(&self.set) = (now, None);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let (at, since) = *locked(&self.set);
        since.map_or(at, |since| {
            at + SignedDuration::try_from(Instant::now().duration_since(since)).unwrap_or_default()
        })
    }

    fn spread(&self, duration: Duration, parts: Range<f64>) -> Duration {
        duration.mul_f64(locked(&self.random).random_range(parts))
    }
}

/// The cluster's clock, for the operator.
#[derive(Debug)]
pub(super) struct ClusterClock(pub(super) Arc<Cluster>);

impl Clock for ClusterClock {
    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn spread(&self, duration: Duration, parts: Range<f64>) -> Duration {
        self.0.clock.spread(duration, parts)
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
