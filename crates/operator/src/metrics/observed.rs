//! Metrics that are computed at each scrape: the work queue, sessions and servers.
//!
//! Each scrape computes its own values, so that concurrent scrapes never read half of another one's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Weak;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rolecall_api::{DatabaseSession, SessionPhase, conditions};

use super::{Changes, Phase, Server};
use crate::Shared;
use crate::coverage::Scope;
use crate::model::session::{may_have_access, phase};

pub(super) const PHASES: [SessionPhase; 5] = [
    SessionPhase::Pending,
    SessionPhase::Active,
    SessionPhase::Ending,
    SessionPhase::Ended,
    SessionPhase::Rejected,
];

/// See the module.
#[derive(Debug)]
pub(super) struct Observed(pub(super) Weak<Shared>);

/// What one scrape sees.
#[derive(Debug, Default)]
struct Seen {
    queue: u64,
    clock_skew: f64,
    sessions: BTreeMap<&'static str, u64>,
    oldest_ending: i64,
    servers: Vec<(Server, OfServer)>,
    namespaces: Vec<(Namespace, bool)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Namespace {
    namespace: String,
}

#[derive(Debug, Default)]
struct OfServer {
    reachable: bool,
    verified: Option<Timestamp>,
    crowded: usize,
    announced: u32,
    polled: u32,
    stats: Option<rolecall_engine::Stats>,
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        observe(&shared).encode(&mut encoder)
    }
}

fn observe(shared: &Shared) -> Seen {
    let now = Timestamp::now();
    let mut seen = Seen {
        queue: shared.queue.len() as u64,
        clock_skew: shared.clock_skew.ahead().as_secs_f64(),
        sessions: PHASES.into_iter().map(|phase| (phase.as_str(), 0)).collect(),
        ..Seen::default()
    };
    {
        let cache = shared.cache();
        for session in cache.sessions() {
            *seen.sessions.entry(phase(session).as_str()).or_default() += 1;
            let since = should_be_gone_since(session, cache.deleted_at(&**session));
            seen.oldest_ending =
                seen.oldest_ending.max(since.map_or(0, |since| now.duration_since(since).as_secs()));
        }
    }
    let namespaces = shared.coverage.scopes().into_iter();
    let name = |scope: Scope| Namespace { namespace: scope.as_deref().unwrap_or_default().to_owned() };
    seen.namespaces = namespaces.map(|(scope, whole)| (name(scope), whole)).collect();
    let listening = shared.listeners.listening();
    for (key, state) in shared.servers.states() {
        let announced = listening.get(&key).copied().unwrap_or(0);
        let (read, found) = shared.sets.imported(&key);
        let of_server = OfServer {
            reachable: !state.unreachable && state.server.is_some(),
            verified: state.verified,
            crowded: found.crowded.len(),
            announced,
            polled: read.saturating_sub(announced),
            stats: state.server.map(|server| server.engine.stats()),
        };
        seen.servers.push((Server { database_admin: key.to_string() }, of_server));
    }
    seen
}

impl Seen {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        one(encoder, "workqueue_depth", "Keys that wait to be reconciled", ConstGauge::new(self.queue))?;
        one(
            encoder,
            "oldest_pending_end_seconds",
            "Age of the oldest access that should have ended and has not",
            ConstGauge::new(self.oldest_ending),
        )?;
        one(
            encoder,
            "clock_skew_seconds",
            "How far this machine's clock is ahead of the API server's (negative: behind); 0 while they agree",
            ConstGauge::new(self.clock_skew),
        )?;
        let sessions = self.sessions.iter().map(|(phase, count)| (Phase { phase }, ConstGauge::new(*count)));
        family(encoder, "sessions", "DatabaseSessions, by phase", sessions)?;

        let watched =
            self.namespaces.iter().map(|(name, whole)| (name.clone(), ConstGauge::new(u64::from(*whole))));
        let help = "1 if everything in the namespace is watched (empty name: all namespaces); 0 if a permission is missing or the first list is not complete";
        family(encoder, "namespace_watched", help, watched)?;

        self.of_servers(encoder, "server_reachable", "1 if the server answers", |of| {
            Some(ConstGauge::new(u64::from(of.reachable)))
        })?;
        self.of_servers(
            encoder,
            "server_verified_timestamp_seconds",
            "Unix time of the last check of the admin user's privileges",
            |of| Some(ConstGauge::new(of.verified?.as_second())),
        )?;
        self.of_servers(
            encoder,
            "crowded_access_lists",
            "Objects with so many grants to individual users that the server will soon refuse more",
            |of| Some(ConstGauge::new(of.crowded as u64)),
        )?;
        self.of_servers(encoder, "server_statements", "Statements and commands sent to the server", |of| {
            Some(ConstCounter::new(of.stats.as_ref()?.statements))
        })?;
        self.of_servers(encoder, "server_round_trips", "Round trips to the server", |of| {
            Some(ConstCounter::new(of.stats.as_ref()?.round_trips))
        })?;
        self.of_servers(encoder, "server_connections", "Open connections", |of| {
            Some(ConstGauge::new(of.stats.as_ref()?.connections_open))
        })?;
        let databases = self.servers.iter().flat_map(|(server, of)| {
            [("announced", of.announced), ("polled", of.polled)].map(|(changes, count)| {
                let database_admin = server.database_admin.clone();
                (Changes { database_admin, changes }, ConstGauge::new(u64::from(count)))
            })
        });
        let help = "Logical databases with object permissions in use, by how changes of objects are detected";
        family(encoder, "object_databases", help, databases)
    }

    fn of_servers<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&OfServer) -> Option<M>,
    ) -> fmt::Result {
        let values = self.servers.iter().filter_map(|(server, of)| Some((server.clone(), value(of)?)));
        family(encoder, name, help, values)
    }
}

fn one(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn family<L: EncodeLabelSet, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metrics: impl IntoIterator<Item = (L, M)>,
) -> fmt::Result {
    let mut metrics = metrics.into_iter().peekable();
    let Some((_, first)) = metrics.peek() else { return Ok(()) };
    let mut encoder = encoder.encode_descriptor(name, help, None, first.metric_type())?;
    for (labels, metric) in metrics {
        metric.encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Since when the access of a session should have ended, if it may still exist: the session was deleted, is Ending, or has
/// expired.
fn should_be_gone_since(session: &DatabaseSession, deleted_at: Option<Timestamp>) -> Option<Timestamp> {
    let deleted = deleted_at.filter(|_| may_have_access(session));
    let status = session.status.as_ref();
    let expires_at = status.and_then(|status| status.expires_at.as_ref()).map(|at| at.0);
    let ending = || {
        let status = status?;
        // What an earlier version wrote does not tell since when.
        let ready = || Some(conditions::find(&status.conditions, conditions::READY)?.last_transition_time.0);
        status.ending_since.as_ref().map(|at| at.0).or_else(ready)
    };
    let over = match phase(session) {
        SessionPhase::Active => expires_at,
        SessionPhase::Ending => ending(),
        _ => None,
    };
    [deleted, over].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::metrics::Format;

    fn gone_since(phase: &str, deleted: Option<&str>, ending_since: Option<&str>) -> Option<String> {
        let session: DatabaseSession = serde_json::from_value(json!({
            "metadata": {"name": "alice", "deletionTimestamp": deleted},
            "spec": {"user": "alice", "database": "orders"},
            "status": {
                "phase": phase,
                "expiresAt": "2026-01-01T12:00:00Z",
                "endingSince": ending_since,
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
        let deleted = deleted.map(|at| at.parse().unwrap());
        should_be_gone_since(&session, deleted).map(|at| at.to_string())
    }

    #[test]
    fn an_access_should_be_gone_when_its_time_is_over_or_somebody_said_so() {
        let over = gone_since("Active", None, None);
        assert_eq!(over.as_deref(), Some("2026-01-01T12:00:00Z"), "nobody got to it");
        assert_eq!(gone_since("Ending", None, None).as_deref(), Some("2026-01-01T13:00:00Z"));
        let deleted = Some("2026-01-01T11:00:00Z");
        assert_eq!(gone_since("Active", deleted, None).as_deref(), deleted);
        assert_eq!(gone_since("Ended", None, None), None);
        assert_eq!(gone_since("Ended", deleted, None), None, "somebody else's finalizer holds the object");
        assert_eq!(gone_since("Pending", None, None), None);
    }

    #[test]
    fn that_another_reason_is_told_meanwhile_does_not_begin_it_anew() {
        let since = Some("2026-01-01T11:30:00Z");
        assert_eq!(gone_since("Ending", None, since).as_deref(), since);
    }

    #[tokio::test]
    async fn two_that_ask_at_the_same_time_see_the_same() {
        let shared = Shared::alone();
        // What the process takes changes meanwhile, and stands at the end.
        let told = || {
            let all = shared.metrics.render(Format::OpenMetrics);
            all.split("# HELP process_").next().unwrap_or_default().to_owned()
        };
        let whole = told();
        assert!(whole.contains("rolecall_sessions{phase=\"Active\"} 0"), "{whole}");
        std::thread::scope(|scope| {
            let sees_whole = || (0..200).all(|_| told() == whole);
            let readers: Vec<_> = (0..8).map(|_| scope.spawn(sees_whole)).collect();
            for reader in readers {
                assert!(reader.join().unwrap(), "somebody saw half of it");
            }
        });
    }
}
