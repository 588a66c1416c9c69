//! What is counted. Labels never hold names of people, objects or databases but that of the DatabaseAdmin.

mod observed;

use std::sync::Weak;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use rolecall_api::SessionPhase;

use crate::Shared;
use crate::account::report;
use crate::world::{ObjectKey, Work};
use observed::Observed;

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
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

impl Metrics {
    /// Everything at zero; `events_dropped` counts events that were left out. The state of `shared` is told as well, while it is there.
    pub fn new(shared: Weak<Shared>, events_dropped: Counter) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::with_prefix("rolecall"),
            looks: Family::default(),
            durations: Family::new_with_constructor(histogram),
            changes: Family::default(),
            workers_died: Counter::default(),
            watches_failed: Family::default(),
            events_dropped,
            failovers: Family::default(),
            returned: Family::default(),
        };
        let registry = &mut metrics.registry;
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
        metrics
    }

    /// A look came to an end.
    pub fn look(&self, key: &Work, outcome: Outcome, took: Duration) {
        let kind = match key {
            Work::Account(_) => "account",
            Work::Unbound(_) => "session",
            Work::Admin(_) => "admin",
            Work::Accounts(_) => "accounts",
            Work::User(_) => "user",
            Work::Role(_) => "role",
            Work::Rule(_) => "rule",
            Work::Objects(_) => "objects",
        };
        let outcome = match outcome {
            Outcome::Done => "done",
            Outcome::Retried => "retried",
            Outcome::Failed => "failed",
        };
        self.looks.get_or_create(&Look { kind, outcome }).inc();
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

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        text
    }
}
