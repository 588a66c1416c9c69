//! What was measured for one number of sessions on one kind of server.

use std::collections::HashMap;

use serde::Serialize;

use crate::gauge::Gauges;
use crate::server::Engine;

/// An end is late that is proven more than this after it was due, in milliseconds.
const LATE: i64 = 1_000;

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    #[serde(serialize_with = "name_of")]
    pub(crate) engine: Engine,
    pub(crate) size: u32,
    pub(crate) servers: usize,
    /// Memory of the operator before there were any users, in KiB.
    pub(crate) empty_kib: i64,
    pub(crate) start: Start,
    pub(crate) idle: Idle,
    pub(crate) restart: Restart,
    pub(crate) expiry: Expiry,
    pub(crate) floor: FloorFigures,
}

/// All sessions start.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Start {
    pub(crate) wall_ms: i64,
    pub(crate) spent: Gauges,
}

/// Nothing happens.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Idle {
    pub(crate) seconds: u64,
    pub(crate) spent: Gauges,
    /// Messages to each server, by its own count.
    pub(crate) messages: Vec<i64>,
}

/// The operator is started again.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Restart {
    /// From its start until it says that it works.
    pub(crate) ready_ms: i64,
    /// Until the first account was reconciled.
    pub(crate) first_ms: i64,
    /// Until all were.
    pub(crate) all_ms: i64,
    /// Its processor time by then.
    pub(crate) at_once_ms: i64,
    /// What was changed on servers.
    pub(crate) changes: i64,
    /// Messages to each server, by its own count.
    pub(crate) messages: Vec<i64>,
    pub(crate) spent: Gauges,
}

/// All sessions expire.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Expiry {
    /// From the first to the last.
    pub(crate) within_ms: i64,
    /// Until the server showed the access gone.
    pub(crate) gone: Delays,
    /// Until the audit log said that this was proven.
    pub(crate) proven: Delays,
    /// Until a watch showed the session Ended.
    pub(crate) ended: Delays,
    pub(crate) spent: Gauges,
}

/// A bare client ends accesses at the same rate.
#[derive(Debug, Default, Serialize)]
pub(crate) struct FloorFigures {
    /// So many in a second.
    pub(crate) rate: f64,
    /// Until the server showed the access gone.
    pub(crate) server: Delays,
    /// Until the status was written.
    pub(crate) written: Delays,
    pub(crate) spent: Gauges,
}

/// How late things happened, in milliseconds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Delays {
    pub(crate) count: usize,
    pub(crate) p50: i64,
    pub(crate) p99: i64,
    pub(crate) max: i64,
    /// How many were late, or did not happen.
    pub(crate) late: usize,
}

impl Figures {
    pub(crate) fn new(engine: Engine, size: u32, servers: usize) -> Self {
        Self {
            engine,
            size,
            servers,
            empty_kib: 0,
            start: Start::default(),
            idle: Idle::default(),
            restart: Restart::default(),
            expiry: Expiry::default(),
            floor: FloorFigures::default(),
        }
    }
}

impl Delays {
    /// How long after `due` each of them was `shown`.
    pub(crate) fn of(due: &HashMap<String, i64>, shown: &HashMap<String, i64>) -> Self {
        let delays = due.iter().filter_map(|(name, due)| Some(shown.get(name)? - due)).collect();
        let mut delays = Self::from(delays);
        delays.late += due.len() - delays.count;
        delays
    }

    pub(crate) fn from(mut delays: Vec<i64>) -> Self {
        delays.sort_unstable();
        let percentile = |percent: usize| {
            let rank = (delays.len() * percent).div_ceil(100);
            delays.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self {
            count: delays.len(),
            p50: percentile(50),
            p99: percentile(99),
            max: delays.last().copied().unwrap_or_default(),
            late: delays.iter().filter(|delay| **delay > LATE).count(),
        }
    }
}

fn name_of<S: serde::Serializer>(engine: &Engine, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(engine.name())
}
