//! What is counted around a phase.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rolecall_xtask::measure::{self, whole};
use rolecall_xtask::metrics;
use serde::Serialize;

use crate::bed::Bed;

/// What the operator's processor time is counted as.
pub(crate) const OPERATOR: &str = "operator";
/// What that of all database servers is counted as.
const DATABASES: &str = "databases";

/// Counters at one time, or their difference between two.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Gauges {
    /// Requests that the API server answered, by verb and resource, whoever sent them.
    pub(crate) requests: BTreeMap<String, i64>,
    /// Statements or commands of the operator.
    pub(crate) statements: i64,
    /// Messages of the operator to the servers, each a round trip.
    pub(crate) round_trips: i64,
    /// Reconciles, by kind and result.
    pub(crate) reconciles: BTreeMap<String, i64>,
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
        let operator = bed.operator()?;
        let own = operator.get("/metrics").await?;
        let api = bed.cluster.kubectl(&["get", "--raw", "/metrics"]).await?;
        let count = |name: &str| whole(metrics::sum(&own, name));
        Ok(Self {
            requests: measure::requests(&api),
            statements: count("rolecall_server_statements_total"),
            round_trips: count("rolecall_server_round_trips_total"),
            reconciles: reconciles(&own),
            cpu_ms: cpu(bed, operator.pid()),
            resident_kib: measure::memory_kib(operator.pid(), "VmRSS:"),
            peak_kib: measure::memory_kib(operator.pid(), "VmHWM:"),
        })
    }

    /// What happened since `before`, in one run of the operator.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            requests: measure::difference(&self.requests, &before.requests),
            statements: self.statements - before.statements,
            round_trips: self.round_trips - before.round_trips,
            reconciles: measure::difference(&self.reconciles, &before.reconciles),
            cpu_ms: measure::difference(&self.cpu_ms, &before.cpu_ms),
            resident_kib: self.resident_kib,
            peak_kib: self.peak_kib,
        }
    }

    /// What happened since the operator was started anew after `before`: its own counters began at nothing.
    pub(crate) fn since_restart(&self, before: &Self) -> Self {
        let fresh =
            Self { requests: before.requests.clone(), cpu_ms: before.cpu_ms.clone(), ..Self::default() };
        let mut since = self.since(&fresh);
        since.cpu_ms.insert(OPERATOR.to_owned(), self.operator_ms());
        since
    }

    /// Processor time of the operator, in milliseconds.
    pub(crate) fn operator_ms(&self) -> i64 {
        self.cpu_ms.get(OPERATOR).copied().unwrap_or_default()
    }

    /// Requests that are no watches, without the Lease, which is renewed whatever happens, and without `ours`.
    pub(crate) fn requests_without(&self, ours: &[(&str, u32)]) -> BTreeMap<String, i64> {
        let mut requests = self.requests.clone();
        for (key, count) in ours {
            requests.entry((*key).to_owned()).and_modify(|all| *all -= i64::from(*count));
        }
        requests.retain(|key, count| *count > 0 && !key.starts_with("WATCH") && !key.ends_with("leases"));
        requests
    }

    /// Those of them that write.
    pub(crate) fn writes_without(&self, ours: &[(&str, u32)]) -> BTreeMap<String, i64> {
        let mut requests = self.requests_without(ours);
        requests.retain(|key, _| !key.starts_with("GET") && !key.starts_with("LIST"));
        requests
    }
}

fn reconciles(text: &str) -> BTreeMap<String, i64> {
    metrics::parse(text)
        .filter(|metric| metric.name == "rolecall_reconcile_total")
        .map(|metric| {
            let label = |name: &str| metric.labels.get(name).copied().unwrap_or_default();
            (format!("{} {}", label("kind"), label("result")), whole(metric.value))
        })
        .collect()
}

/// Processor time that each program used so far, found by the directory in which it runs.
fn cpu(bed: &Bed, operator: u32) -> BTreeMap<String, i64> {
    let kubeconfig = bed.cluster.kubeconfig();
    let cluster = kubeconfig.parent().unwrap_or(Path::new("/")).to_owned();
    let mut found: BTreeMap<String, i64> = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Some((name, milliseconds)) = measure::processor_time(pid) else { continue };
        let label = if pid == operator {
            OPERATOR.to_owned()
        } else if pid == std::process::id() {
            "bench client".to_owned()
        } else {
            let Ok(cwd) = fs::read_link(process.path().join("cwd")) else { continue };
            if cwd.starts_with(&cluster) {
                name
            } else if bed.servers.iter().any(|server| cwd.starts_with(server.dir())) {
                DATABASES.to_owned()
            } else {
                continue;
            }
        };
        *found.entry(label).or_default() += milliseconds;
    }
    found
}
