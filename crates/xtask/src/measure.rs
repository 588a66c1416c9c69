//! What the benchmarks count around a phase.

use std::collections::BTreeMap;
use std::fs;

use crate::metrics;

/// The kinds that somebody writes during a phase; the rest is the API server's own.
const RESOURCES: [&str; 8] = [
    "databaseadmins",
    "databasesessions",
    "databaseusers",
    "dbobjectimportrules",
    "events",
    "provisioningroles",
    "secrets",
    "leases",
];

/// The requests of these kinds that an API server has answered, by verb and resource (`PATCH databasesessions/status`), whoever
/// sent them. `text`: its metrics.
pub fn requests(text: &str) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    for metric in metrics::parse(text).filter(|metric| metric.name == "apiserver_request_total") {
        let label = |name: &str| metric.labels.get(name).copied().unwrap_or_default();
        if !RESOURCES.contains(&label("resource")) {
            continue;
        }
        let subresource = label("subresource");
        let separator = if subresource.is_empty() { "" } else { "/" };
        let key = format!("{} {}{separator}{subresource}", label("verb"), label("resource"));
        *found.entry(key).or_default() += whole(metric.value);
    }
    found
}

/// The name of a process, and the processor time that it has used so far in milliseconds; `None`: it is gone. The kernel counts in hundredths of a second.
pub fn processor_time(pid: u32) -> Option<(String, i64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, rest) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = rest.split(' ').skip(11);
    let user: i64 = fields.next()?.parse().ok()?;
    let system: i64 = fields.next()?.parse().ok()?;
    Some((name, (user + system) * 10))
}

/// Memory of a process in KiB, by a field of its `/proc/PID/status`: `VmRSS:` now, `VmHWM:` at most so far. 0: it is gone.
pub fn memory_kib(pid: u32, field: &str) -> i64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// A counter as a number that can be subtracted.
#[expect(clippy::cast_possible_truncation, reason = "counters of a benchmark are far below 2^53")]
pub fn whole(value: f64) -> i64 {
    value as i64
}

/// By how much each of these has grown since `before`; what has not is left out.
pub fn difference(now: &BTreeMap<String, i64>, before: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let changed = now.iter().map(|(key, value)| (key.clone(), value - before.get(key).unwrap_or(&0)));
    changed.filter(|(_, value)| *value != 0).collect()
}
