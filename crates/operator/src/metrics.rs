//! Prometheus metrics. No label names a person, an object or a database, other than the DatabaseAdmin.

mod audit;
mod exposition;
mod observed;
mod process;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use kube::Resource;
use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseSessionDecision, DatabaseUser, DbObjectImportRule,
    ProvisioningRole, SessionPhase,
};

use crate::model::{ObjectKey, ReconcileKey};
use process::OfProcess;

pub use audit::AuditCounters;
pub use exposition::Format;
pub use observed::{Observation, PHASES, ServerObservation};

const PREFIX: &str = "rolecall";

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Metrics whose names do not begin with `rolecall_`.
    process: Registry,
    leader: Gauge,
    reconciles: Family<Reconciled, Counter>,
    durations: Family<Kind, Histogram, fn() -> Histogram>,
    transitions: Family<Phase, Counter>,
    panics: Counter,
    watch_errors: Family<Kind, Counter>,
    events_dropped: Counter,
    failovers: Family<OfServer, Counter>,
    returned: Family<Returned, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciled {
    kind: &'static str,
    result: &'static str,
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
struct OfServer {
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

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileResult {
    /// Nothing is left to do for now.
    Success,
    /// Something that is reported on an object is in the way; it is retried.
    Requeue,
    /// It could not be completed; it is retried.
    Error,
}

impl ReconcileResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Requeue => "requeue",
            Self::Error => "error",
        }
    }
}

impl Metrics {
    /// All metrics, at zero. `events_dropped` counts the events that were not sent; `audit`, what became of lines of the
    /// audit log.
    pub fn new(events_dropped: Counter, audit: &AuditCounters) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            process: Registry::default(),
            leader: Gauge::default(),
            reconciles: Family::default(),
            durations: Family::new_with_constructor(histogram),
            transitions: Family::default(),
            panics: Counter::default(),
            watch_errors: Family::default(),
            events_dropped,
            failovers: Family::default(),
            returned: Family::default(),
        };
        metrics.process.register_collector(Box::new(OfProcess));
        let registry = &mut metrics.registry;
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        registry.register("leader", "1 if this operator is the leader", metrics.leader.clone());
        registry.register("reconcile", "Reconciles, by kind and result", metrics.reconciles.clone());
        registry.register(
            "reconcile_duration_seconds",
            "Duration of a reconcile, by kind",
            metrics.durations.clone(),
        );
        registry.register(
            "session_transitions",
            "DatabaseSessions that entered a phase, by phase",
            metrics.transitions.clone(),
        );
        registry.register("reconcile_panics", "Reconciles that panicked", metrics.panics.clone());
        registry.register(
            "watch_errors",
            "Watches that failed and were restarted, by kind",
            metrics.watch_errors.clone(),
        );
        registry.register(
            "events_dropped",
            "Events that were not sent because too many were queued",
            metrics.events_dropped.clone(),
        );
        registry.register(
            "failovers",
            "Times that a server may have lost changes: another one was promoted, or it was restored to an earlier state",
            metrics.failovers.clone(),
        );
        registry.register(
            "accesses_returned",
            "Accounts found usable again after their access had ended, by the action taken (ended, reported)",
            metrics.returned.clone(),
        );
        audit.register(registry);
        metrics.begin_at_zero();
        metrics
    }

    /// A counter that first appears with its first event shows no rate for that event.
    fn begin_at_zero(&self) {
        for kind in ReconcileKey::KINDS {
            for result in [ReconcileResult::Success, ReconcileResult::Requeue, ReconcileResult::Error] {
                drop(self.reconciles.get_or_create(&Reconciled { kind, result: result.as_str() }));
            }
            drop(self.durations.get_or_create(&Kind { kind: kind.to_owned() }));
        }
        for phase in PHASES {
            drop(self.transitions.get_or_create(&Phase { phase: phase.as_str() }));
        }
        for kind in watched_kinds() {
            drop(self.watch_errors.get_or_create(&Kind { kind }));
        }
    }

    /// This operator is the leader now.
    pub fn leads(&self) {
        self.leader.set(1);
    }

    /// A reconcile ended after `took`.
    pub fn reconciled(&self, key: &ReconcileKey, result: ReconcileResult, took: Duration) {
        let kind = key.kind();
        self.reconciles.get_or_create(&Reconciled { kind, result: result.as_str() }).inc();
        self.durations.get_or_create(&Kind { kind: kind.to_owned() }).observe(took.as_secs_f64());
    }

    /// A session entered another phase.
    pub fn session(&self, phase: SessionPhase) {
        self.transitions.get_or_create(&Phase { phase: phase.as_str() }).inc();
    }

    /// A server may have lost changes.
    pub fn failover(&self, admin: &ObjectKey) {
        self.failovers.get_or_create(&OfServer { database_admin: admin.to_string() }).inc();
    }

    /// An account was found usable again after its access had ended; `action` is what was done about it.
    pub fn returned(&self, admin: &ObjectKey, action: &'static str) {
        self.returned.get_or_create(&Returned { database_admin: admin.to_string(), action }).inc();
    }

    /// A reconcile panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// A watch failed and is restarted.
    pub fn watch_failed(&self, kind: &str) {
        self.watch_errors.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// The body of `/metrics`, with what was observed for this scrape.
    pub fn render(&self, format: Format, observation: Observation) -> String {
        let mut observed = Registry::with_prefix(PREFIX);
        observed.register_collector(Box::new(observation));
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &observed))
            .and_then(|()| encode_registry(&mut text, &self.process))
            .and_then(|()| encode_eof(&mut text));
        if let Err(error) = written {
            tracing::error!(%error, "the metrics cannot be written");
        }
        format.of(text)
    }
}

/// The kinds that are watched.
fn watched_kinds() -> [String; 6] {
    [
        DatabaseAdmin::kind(&()),
        DatabaseSession::kind(&()),
        DatabaseSessionDecision::kind(&()),
        DatabaseUser::kind(&()),
        DbObjectImportRule::kind(&()),
        ProvisioningRole::kind(&()),
    ]
    .map(|kind| kind.into_owned())
}
