//! What is counted. Labels never hold names of people, objects or databases but that of the DatabaseAdmin.

mod exposition;
mod observed;
mod process;

use std::sync::Weak;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use rolecall_api::SessionPhase;

use crate::Shared;
use crate::account::report;
use crate::model::{ObjectKey, ReconcileKey};
use observed::Observed;
use process::OfProcess;

pub use exposition::Format;

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Under names without our prefix.
    process: Registry,
    leader: Gauge,
    looks: Family<Look, Counter>,
    durations: Family<Kind, Histogram, fn() -> Histogram>,
    changes: Family<Phase, Counter>,
    workers_died: Counter,
    watches_failed: Family<Kind, Counter>,
    events_dropped: Counter,
    failovers: Family<Server, Counter>,
    returned: Family<Returned, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Look {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Server {
    database_admin: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Changes {
    database_admin: String,
    changes: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Returned {
    database_admin: String,
    action: &'static str,
}

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is nothing more to do now.
    Done,
    /// Something that it told on an object stands in the way; it is tried again.
    Retried,
    /// It could not be finished; it is tried again.
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retried => "retried",
            Self::Failed => "failed",
        }
    }
}

/// What is looked at.
const KINDS: [&str; 7] = ["account", "session", "admin", "user", "role", "rule", "objects"];

impl Metrics {
    /// Everything at zero; `events_dropped` counts events that were left out. The state of `shared` is told as well, while it is there.
    pub fn new(shared: Weak<Shared>, events_dropped: Counter) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::with_prefix("rolecall"),
            process: Registry::default(),
            leader: Gauge::default(),
            looks: Family::default(),
            durations: Family::new_with_constructor(histogram),
            changes: Family::default(),
            workers_died: Counter::default(),
            watches_failed: Family::default(),
            events_dropped,
            failovers: Family::default(),
            returned: Family::default(),
        };
        metrics.process.register_collector(Box::new(OfProcess));
        let registry = &mut metrics.registry;
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What is running", build);
        registry.register("leader", "1: this operator leads", metrics.leader.clone());
        registry.register("looks", "Looks at something, by kind and outcome", metrics.looks.clone());
        registry.register("look_seconds", "How long a look took, by kind", metrics.durations.clone());
        registry.register(
            "session_changes",
            "DatabaseSessions that came into a phase",
            metrics.changes.clone(),
        );
        registry.register("workers_died", "Workers that panicked", metrics.workers_died.clone());
        registry.register(
            "watches_failed",
            "Watches that were started again, by kind",
            metrics.watches_failed.clone(),
        );
        registry.register(
            "events_dropped",
            "Events that were left out because too many waited",
            metrics.events_dropped.clone(),
        );
        registry.register(
            "failovers",
            "Times that a server may have lost changes: another one was promoted, or it was set back",
            metrics.failovers.clone(),
        );
        registry.register(
            "accesses_returned",
            "Accounts that could be used again after their access had ended, by what was done (ended, reported)",
            metrics.returned.clone(),
        );
        registry.register_collector(Box::new(Observed(shared)));
        metrics.begin_at_zero();
        metrics
    }

    /// A counter that appears with its first event has no rate at that time.
    fn begin_at_zero(&self) {
        for kind in KINDS {
            for outcome in [Outcome::Done, Outcome::Retried, Outcome::Failed] {
                drop(self.looks.get_or_create(&Look { kind, outcome: outcome.as_str() }));
            }
            drop(self.durations.get_or_create(&Kind { kind: kind.to_owned() }));
        }
        for phase in observed::PHASES {
            drop(self.changes.get_or_create(&Phase { phase: phase.as_str() }));
        }
        for crd in rolecall_api::crds() {
            drop(self.watches_failed.get_or_create(&Kind { kind: crd.spec.names.kind }));
        }
    }

    /// This operator leads now.
    pub fn leads(&self) {
        self.leader.set(1);
    }

    /// A look came to an end.
    pub fn look(&self, key: &ReconcileKey, outcome: Outcome, took: Duration) {
        let kind = match key {
            ReconcileKey::Account(_) => "account",
            ReconcileKey::Session(_) => "session",
            ReconcileKey::Admin(_) => "admin",
            ReconcileKey::Inventory(_) => "accounts",
            ReconcileKey::User(_) => "user",
            ReconcileKey::Role(_) => "role",
            ReconcileKey::Rule(_) => "rule",
            ReconcileKey::PermissionSets(_) => "objects",
        };
        self.looks.get_or_create(&Look { kind, outcome: outcome.as_str() }).inc();
        self.durations.get_or_create(&Kind { kind: kind.to_owned() }).observe(took.as_secs_f64());
    }

    /// A session came into another phase.
    pub fn session(&self, outcome: &report::Outcome) {
        use report::Outcome;
        let phase = match outcome {
            Outcome::Active(_) => SessionPhase::Active,
            Outcome::Waiting(_) | Outcome::Withdrawn(_) => SessionPhase::Pending,
            Outcome::Ending { .. } => SessionPhase::Ending,
            Outcome::Ended { .. } | Outcome::Released { .. } => SessionPhase::Ended,
            Outcome::Rejected(_) => SessionPhase::Rejected,
        };
        self.changes.get_or_create(&Phase { phase: phase.as_str() }).inc();
    }

    /// A server may have lost changes.
    pub fn failover(&self, admin: &ObjectKey) {
        self.failovers.get_or_create(&Server { database_admin: admin.to_string() }).inc();
    }

    /// An account could be used again after its access had ended.
    pub fn returned(&self, admin: &ObjectKey, action: &'static str) {
        self.returned.get_or_create(&Returned { database_admin: admin.to_string(), action }).inc();
    }

    /// A worker panicked.
    pub fn worker_died(&self) {
        self.workers_died.inc();
    }

    /// A watch had to be started again.
    pub fn watch_failed(&self, kind: &str) {
        self.watches_failed.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// What Prometheus reads.
    pub fn render(&self, format: Format) -> String {
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &self.process))
            .and_then(|()| encode_eof(&mut text));
        if let Err(error) = written {
            tracing::error!(%error, "the metrics cannot be written");
        }
        format.of(text)
    }
}
