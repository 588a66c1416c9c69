//! What is counted. Labels never hold names of people, objects or databases but that of the DatabaseAdmin.

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use rolecall_api::{DatabaseSession, SessionPhase};

use crate::Shared;
use crate::account::lifecycle::{may_have_access, phase};
use crate::account::report;
use crate::world::{ObjectKey, Work};

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    looks: Family<Look, Counter>,
    durations: Family<Kind, Histogram, fn() -> Histogram>,
    sessions: Family<Phase, Gauge>,
    changes: Family<Phase, Counter>,
    queue: Gauge,
    oldest_ending: Gauge,
    workers_died: Counter,
    watches_failed: Family<Kind, Counter>,
    /// Events that were left out.
    pub events_dropped: Counter,
    statements: Family<Server, Gauge>,
    round_trips: Family<Server, Gauge>,
    connections: Family<Server, Gauge>,
    reachable: Family<Server, Gauge>,
    verified: Family<Server, Gauge>,
    crowded: Family<Server, Gauge>,
    object_databases: Family<Changes, Gauge>,
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
    /// Everything at zero.
    pub fn new() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::with_prefix("rolecall"),
            looks: Family::default(),
            durations: Family::new_with_constructor(histogram),
            sessions: Family::default(),
            changes: Family::default(),
            queue: Gauge::default(),
            oldest_ending: Gauge::default(),
            workers_died: Counter::default(),
            watches_failed: Family::default(),
            events_dropped: Counter::default(),
            statements: Family::default(),
            round_trips: Family::default(),
            connections: Family::default(),
            reachable: Family::default(),
            verified: Family::default(),
            crowded: Family::default(),
            object_databases: Family::default(),
            failovers: Family::default(),
            returned: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("looks", "Looks at something, by kind and outcome", metrics.looks.clone());
        registry.register("look_seconds", "How long a look took, by kind", metrics.durations.clone());
        registry.register("sessions", "DatabaseSessions, by phase", metrics.sessions.clone());
        registry.register(
            "session_changes",
            "DatabaseSessions that came into a phase",
            metrics.changes.clone(),
        );
        registry.register("queue_length", "Things that wait to be looked at", metrics.queue.clone());
        registry.register(
            "oldest_pending_end_seconds",
            "For how long the oldest access that should be gone has been waiting for its end",
            metrics.oldest_ending.clone(),
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
            "server_statements",
            "Statements and commands sent since the server was connected",
            metrics.statements.clone(),
        );
        registry.register(
            "server_round_trips",
            "Round trips since the server was connected",
            metrics.round_trips.clone(),
        );
        registry.register("server_connections", "Open connections", metrics.connections.clone());
        registry.register("server_reachable", "1: the server answers", metrics.reachable.clone());
        registry.register(
            "server_verified_timestamp_seconds",
            "When the rights of the admin user were last verified, in Unix time",
            metrics.verified.clone(),
        );
        registry.register(
            "crowded_access_lists",
            "Objects that hold so many grants to single users that the server will soon refuse any more",
            metrics.crowded.clone(),
        );
        registry.register(
            "object_databases",
            "Logical databases with live object permissions, by how changes of objects are noticed",
            metrics.object_databases.clone(),
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
    pub fn render(&self, shared: &Shared) -> String {
        self.observe(shared);
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        text
    }

    fn observe(&self, shared: &Shared) {
        let now = Timestamp::now();
        self.queue.set(i64::try_from(shared.queue.len()).unwrap_or(i64::MAX));
        self.sessions.clear();
        let mut oldest = 0;
        for session in shared.world().sessions() {
            self.sessions.get_or_create(&Phase { phase: phase(session).as_str() }).inc();
            let since = should_be_gone_since(session);
            oldest = oldest.max(since.map_or(0, |since| now.duration_since(since).as_secs()));
        }
        self.oldest_ending.set(oldest);
        let families = [
            &self.statements,
            &self.round_trips,
            &self.connections,
            &self.reachable,
            &self.verified,
            &self.crowded,
        ];
        families.into_iter().for_each(Family::clear);
        self.object_databases.clear();
        let hearing = shared.watches.hearing();
        for (key, state) in shared.servers.states() {
            let heard = hearing.get(&key).copied().unwrap_or(0);
            let (looked_at, found) = shared.sets.imported(&key);
            for (changes, databases) in [("announced", heard), ("polled", looked_at.saturating_sub(heard))] {
                let label = Changes { database_admin: key.to_string(), changes };
                self.object_databases.get_or_create(&label).set(i64::from(databases));
            }
            let label = Server { database_admin: key.to_string() };
            self.reachable.get_or_create(&label).set(i64::from(!state.unreachable && state.server.is_some()));
            if let Some(verified) = state.verified {
                self.verified.get_or_create(&label).set(verified.as_second());
            }
            let crowded = i64::try_from(found.crowded.len()).unwrap_or(i64::MAX);
            self.crowded.get_or_create(&label).set(crowded);
            let Some(server) = state.server else { continue };
            let stats = server.engine.stats();
            let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            self.statements.get_or_create(&label).set(number(stats.statements));
            self.round_trips.get_or_create(&label).set(number(stats.round_trips));
            self.connections.get_or_create(&label).set(number(stats.connections_open));
        }
    }
}

/// Since when the access of a session should be gone, where it may be there: the session was deleted, it is Ending, or
/// its time is over.
fn should_be_gone_since(session: &DatabaseSession) -> Option<Timestamp> {
    let deleted = session.metadata.deletion_timestamp.as_ref().filter(|_| may_have_access(session));
    let deleted = deleted.map(|at| at.0);
    let status = session.status.as_ref();
    let expired = status.and_then(|status| status.expires_at.as_ref()).map(|at| at.0);
    let ending = || status?.conditions.iter().map(|condition| condition.last_transition_time.0).max();
    let over = match phase(session) {
        SessionPhase::Active => expired,
        SessionPhase::Ending => ending(),
        _ => None,
    };
    [deleted, over].into_iter().flatten().min()
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gone_since(phase: &str, deleted: Option<&str>) -> Option<String> {
        let session: DatabaseSession = serde_json::from_value(json!({
            "metadata": {"name": "alice", "deletionTimestamp": deleted},
            "spec": {"user": "alice", "database": "orders"},
            "status": {
                "phase": phase,
                "expiresAt": "2026-01-01T12:00:00Z",
                "conditions": [{
                    "type": "Ready",
                    "status": "False",
                    "reason": "DatabaseUnreachable",
                    "message": "",
                    "lastTransitionTime": "2026-01-01T13:00:00Z",
                }],
            },
        }))
        .unwrap();
        should_be_gone_since(&session).map(|at| at.to_string())
    }

    #[test]
    fn an_access_should_be_gone_when_its_time_is_over_or_somebody_said_so() {
        assert_eq!(gone_since("Active", None).as_deref(), Some("2026-01-01T12:00:00Z"), "nobody got to it");
        assert_eq!(gone_since("Ending", None).as_deref(), Some("2026-01-01T13:00:00Z"));
        let deleted = Some("2026-01-01T11:00:00Z");
        assert_eq!(gone_since("Active", deleted).as_deref(), deleted);
        assert_eq!(gone_since("Ended", None), None);
        assert_eq!(gone_since("Ended", deleted), None, "somebody else's finalizer holds the object");
        assert_eq!(gone_since("Pending", None), None);
    }
}
