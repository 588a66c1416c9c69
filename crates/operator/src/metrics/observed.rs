//! Metrics that are computed at each scrape: the work queue, sessions and servers.
//!
//! Each scrape computes its own values, so that concurrent scrapes never read half of another one's.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rolecall_api::SessionPhase;

use super::{Changes, OfServer, Phase};

/// Every phase.
pub const PHASES: [SessionPhase; 5] = [
    SessionPhase::Pending,
    SessionPhase::Active,
    SessionPhase::Ending,
    SessionPhase::Ended,
    SessionPhase::Rejected,
];

/// What is observed for one scrape.
#[derive(Debug, Default)]
pub struct Observation {
    /// Keys that wait in the work queue.
    pub queue: u64,
    /// How far this machine's clock is ahead of the API server's, in seconds.
    pub clock_skew: f64,
    /// Sessions by phase.
    pub sessions: BTreeMap<&'static str, u64>,
    /// Age in seconds of the oldest access that should have ended; 0 where there is none.
    pub oldest_ending: i64,
    /// The servers, by `namespace/name` of their DatabaseAdmin.
    pub servers: Vec<(String, ServerObservation)>,
    /// Which namespaces (empty: all) are watched completely.
    pub namespaces: Vec<(String, bool)>,
}

/// What is observed of one server.
#[derive(Debug, Default)]
pub struct ServerObservation {
    /// It answers.
    pub reachable: bool,
    /// When its admin user's privileges were last checked.
    pub verified: Option<Timestamp>,
    /// Objects whose access list is nearly full.
    pub crowded: usize,
    /// Logical databases that announce changes of their objects.
    pub announced: u32,
    /// Logical databases that are read at intervals.
    pub polled: u32,
    /// What was sent to it.
    pub stats: Option<rolecall_engine::Stats>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Namespace {
    namespace: String,
}

impl Collector for Observation {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_into(&mut encoder)
    }
}

impl Observation {
    fn encode_into(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

        let watched = self
            .namespaces
            .iter()
            .map(|(name, whole)| (Namespace { namespace: name.clone() }, ConstGauge::new(u64::from(*whole))));
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
                let database_admin = server.clone();
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
        value: impl Fn(&ServerObservation) -> Option<M>,
    ) -> fmt::Result {
        let values = self
            .servers
            .iter()
            .filter_map(|(server, of)| Some((OfServer { database_admin: server.clone() }, value(of)?)));
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
