//! What is counted around a phase.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rolecall_xtask::measure::{self, whole};
use rolecall_xtask::metrics;
use serde::Serialize;

use crate::bed::Bed;

/// Counters at one time, or their difference between two.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Gauges {
    /// Requests that the API server answered, by verb and resource, whoever sent them.
    pub(crate) requests: BTreeMap<String, i64>,
    /// Statements or commands of the operator.
    pub(crate) statements: i64,
    /// Messages of the operator to the server, each a round trip.
    pub(crate) round_trips: i64,
    /// Connections of the operator's admin user now.
    pub(crate) connections: i64,
    /// Processor time by program, in milliseconds.
    pub(crate) cpu_ms: BTreeMap<String, i64>,
    /// Resident memory of the operator now, in KiB.
    pub(crate) resident_kib: i64,
    /// Its highest so far.
    pub(crate) peak_kib: i64,
}

impl Gauges {
    /// Reads all counters.
    pub(crate) async fn read(bed: &Bed) -> anyhow::Result<Self> {
        let own = bed.operator.get("/metrics").await?;
        let api = bed.cluster.kubectl(&["get", "--raw", "/metrics"]).await?;
        let count = |name: &str| whole(metrics::sum(&own, name));
        let connections = bed.server.connections().await?;
        let pid = bed.operator.pid();
        Ok(Self {
            requests: measure::requests(&api),
            statements: count("rolecall_server_statements_total"),
            round_trips: count("rolecall_server_round_trips_total"),
            connections,
            cpu_ms: cpu(bed),
            resident_kib: measure::memory_kib(pid, "VmRSS:"),
            peak_kib: measure::memory_kib(pid, "VmHWM:"),
        })
    }

    /// What happened since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            requests: measure::difference(&self.requests, &before.requests),
            statements: self.statements - before.statements,
            round_trips: self.round_trips - before.round_trips,
            connections: self.connections,
            cpu_ms: measure::difference(&self.cpu_ms, &before.cpu_ms),
            resident_kib: self.resident_kib,
            peak_kib: self.peak_kib,
        }
    }

    /// The requests without those that our own client sent for `sessions` of them: one each, to create or to delete.
    /// Reading and watching is what clients do all the time, and the Lease is renewed whatever happens.
    pub(crate) fn requests_of_operator(&self, sessions: usize) -> BTreeMap<String, i64> {
        let ours = i64::try_from(sessions).unwrap_or(i64::MAX);
        let mut requests = self.requests.clone();
        requests.retain(|key, count| {
            if key == "POST databasesessions" || key == "DELETE databasesessions" {
                *count -= ours;
            }
            *count > 0 && !key.starts_with("WATCH") && !key.starts_with("LIST") && !key.ends_with("leases")
        });
        requests
    }
}

/// Processor time that each program used so far, found by the directory in which it runs.
fn cpu(bed: &Bed) -> BTreeMap<String, i64> {
    let kubeconfig = bed.cluster.kubeconfig();
    let cluster = kubeconfig.parent().unwrap_or(Path::new("/")).to_owned();
    let directories = [
        (cluster.as_path(), None),
        (bed.server.dir(), Some("database (operator's)")),
        (bed.floor_server.dir(), Some("database (floor's)")),
    ];
    let mut found: BTreeMap<String, i64> = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Some((name, milliseconds)) = measure::processor_time(pid) else { continue };
        let label = if pid == bed.operator.pid() {
            "operator".to_owned()
        } else if pid == std::process::id() {
            "bench client".to_owned()
        } else {
            let Ok(cwd) = fs::read_link(process.path().join("cwd")) else { continue };
            let Some((_, label)) = directories.iter().find(|(dir, _)| cwd.starts_with(dir)) else { continue };
            label.map_or(name, str::to_owned)
        };
        *found.entry(label).or_default() += milliseconds;
    }
    found
}
