//! Medians, the tables, the JSON file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::gauge::Gauges;
use crate::phase::{Kind, Side, Timings};

/// One phase as it was measured.
pub(crate) struct Sample {
    pub(crate) side: Side,
    pub(crate) kind: Kind,
    pub(crate) size: u32,
    pub(crate) timings: Timings,
    pub(crate) spent: Gauges,
}

/// The operator's count of round trips beside that of the server.
#[derive(Serialize)]
pub(crate) struct LogCheck {
    pub(crate) sessions: i64,
    pub(crate) counted: i64,
    pub(crate) logged: i64,
}

/// What the operator did while nothing happened.
#[derive(Serialize)]
pub(crate) struct Idle {
    pub(crate) sessions: u32,
    pub(crate) seconds: u64,
    pub(crate) spent: Gauges,
}

/// Everything that was measured.
pub(crate) struct Report {
    engine: &'static str,
    sizes: Vec<u32>,
    rounds: u32,
    parallel: usize,
    singles: usize,
    samples: Vec<Sample>,
    pub(crate) log_check: Option<LogCheck>,
    pub(crate) idle: Option<Idle>,
}

/// Medians over the rounds, in milliseconds.
#[derive(Clone, Copy, Serialize)]
struct Times {
    p50: f64,
    p99: f64,
    wall: f64,
}

impl Report {
    pub(crate) fn new(
        engine: &'static str,
        sizes: &[u32],
        rounds: u32,
        parallel: usize,
        singles: usize,
    ) -> Self {
        Self {
            engine,
            sizes: sizes.to_vec(),
            rounds,
            parallel,
            singles,
            samples: Vec::new(),
            log_check: None,
            idle: None,
        }
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Prints the tables.
    pub(crate) fn print(&self) {
        println!(
            "\nSessions of distinct users on a real kube-apiserver with etcd and {}, all on this machine \
             ({} processors).\n\
             Start: from the request that creates a session until a watch shows it Active. End: from the request that\n\
             deletes it until a watch shows it gone. The client has {} requests under way; size 1 is {} sessions, one\n\
             after the other. Floor: a bare client that sends eight API requests and the least to the server, and decides, checks\n\
             and signs nothing. Medians of {} rounds, interleaved; times in milliseconds.\n",
            self.engine,
            processors(),
            self.parallel,
            self.singles,
            self.rounds,
        );
        println!("{:>8}  {:<6} {:^26} {:^26} {:>8}", "", "", "operator", "floor", "operator");
        println!(
            "{:>8}  {:<6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "sessions", "", "p50", "p99", "wall", "p50", "p99", "wall", ": floor"
        );
        for (size, kind) in self.cases() {
            let (ours, floor) = (self.times(Side::Operator, kind, size), self.times(Side::Floor, kind, size));
            // One after the other, the wall is a sum that says nothing new.
            let wall = |times: Times| if size == 1 { "-".to_owned() } else { format!("{:.0}", times.wall) };
            let ratio = if size == 1 { ours.p50 / floor.p50 } else { ours.wall / floor.wall };
            println!(
                "{size:>8}  {:<6} {:>8.1} {:>8.1} {:>8} {:>8.1} {:>8.1} {:>8} {ratio:>8.2}",
                word(kind),
                ours.p50,
                ours.p99,
                wall(ours),
                floor.p50,
                floor.p99,
                wall(floor)
            );
        }
        println!("\nWhat one session costs, on average of all rounds:\n");
        for (size, kind) in self.cases() {
            println!("{size} {}", word(kind));
            println!("  API requests of the operator: {}", list(&self.requests(kind, size), 2));
            println!(
                "  server: {:.2} statements in {:.2} round trips; {} connections",
                self.per_session(Side::Operator, kind, size, |spent| spent.statements),
                self.per_session(Side::Operator, kind, size, |spent| spent.round_trips),
                self.of(Side::Operator, kind, size).map(|sample| sample.spent.connections).max().unwrap_or(0),
            );
            println!("  processor time in ms: {}", list(&self.cpu(Side::Operator, kind, size), 1));
            println!("        beside the floor: {}", list(&self.cpu(Side::Floor, kind, size), 1));
        }
        let memory = self.samples.iter().map(|sample| &sample.spent);
        println!(
            "\nMemory of the operator: {:.1} MiB resident at the end of the largest phase, {:.1} MiB at most.",
            mib(memory.clone().map(|spent| spent.resident_kib).max().unwrap_or(0)),
            mib(memory.map(|spent| spent.peak_kib).max().unwrap_or(0)),
        );
        if let Some(check) = &self.log_check {
            println!(
                "Cross-check, {} sessions started and ended: {} round trips by the operator's count, {} messages by the \
                 server's.",
                check.sessions, check.counted, check.logged
            );
        }
        if let Some(idle) = &self.idle {
            let requests: Vec<String> =
                idle.spent.requests.iter().map(|(key, count)| format!("{count} {key}")).collect();
            println!(
                "{} live sessions and {} idle seconds: {} statements, {} ms of the operator's processor time, \
                 {:.1} MiB, API requests: {}.",
                idle.sessions,
                idle.seconds,
                idle.spent.statements,
                idle.spent.cpu_ms.get("operator").unwrap_or(&0),
                mib(idle.spent.resident_kib),
                if requests.is_empty() { "none".to_owned() } else { requests.join(", ") },
            );
        }
    }

    /// Writes everything, each round's figures too.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let medians: Vec<Value> = self
            .cases()
            .map(|(size, kind)| {
                json!({
                    "sessions": size, "phase": word(kind),
                    "operator_ms": self.times(Side::Operator, kind, size),
                    "floor_ms": self.times(Side::Floor, kind, size),
                    "requests_per_session": self.requests(kind, size),
                    "statements_per_session": self.per_session(Side::Operator, kind, size, |spent| spent.statements),
                    "round_trips_per_session": self.per_session(Side::Operator, kind, size, |spent| spent.round_trips),
                    "cpu_ms_per_session": self.cpu(Side::Operator, kind, size),
                    "floor_cpu_ms_per_session": self.cpu(Side::Floor, kind, size),
                })
            })
            .collect();
        let rounds: Vec<Value> = self
            .samples
            .iter()
            .map(|sample| {
                let each: Vec<f64> = sample.timings.each.iter().copied().map(milliseconds).collect();
                json!({
                    "sessions": sample.size, "phase": word(sample.kind), "side": sample.side.to_string(),
                    "wall_ms": milliseconds(sample.timings.wall), "each_ms": each, "spent": sample.spent,
                })
            })
            .collect();
        let all = json!({
            "engine": self.engine, "processors": processors(),
            "load_average": std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
            "parallel_requests": self.parallel, "medians": medians, "rounds": rounds,
            "log_check": self.log_check, "idle": self.idle,
        });
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        Ok(std::fs::write(path, serde_json::to_string_pretty(&all)?)?)
    }

    fn cases(&self) -> impl Iterator<Item = (u32, Kind)> {
        self.sizes.iter().flat_map(|size| [(*size, Kind::Start), (*size, Kind::End)])
    }

    fn of(&self, side: Side, kind: Kind, size: u32) -> impl Iterator<Item = &Sample> + Clone {
        self.samples
            .iter()
            .filter(move |sample| sample.side == side && sample.kind == kind && sample.size == size)
    }

    fn times(&self, side: Side, kind: Kind, size: u32) -> Times {
        let over_rounds = |of: &dyn Fn(&Timings) -> Duration| {
            median(self.of(side, kind, size).map(|sample| milliseconds(of(&sample.timings))).collect())
        };
        Times {
            p50: over_rounds(&|timings| percentile(&timings.each, 50)),
            p99: over_rounds(&|timings| percentile(&timings.each, 99)),
            wall: over_rounds(&|timings| timings.wall),
        }
    }

    /// A count, divided by all sessions of all rounds.
    fn per_session(&self, side: Side, kind: Kind, size: u32, count: impl Fn(&Gauges) -> i64) -> f64 {
        let (mut sum, mut sessions) = (0, 0);
        for sample in self.of(side, kind, size) {
            sum += count(&sample.spent);
            sessions += sample.timings.each.len();
        }
        ratio(sum, sessions)
    }

    fn requests(&self, kind: Kind, size: u32) -> BTreeMap<String, f64> {
        self.sums(Side::Operator, kind, size, |sample| {
            sample.spent.requests_of_operator(sample.timings.each.len())
        })
    }

    fn cpu(&self, side: Side, kind: Kind, size: u32) -> BTreeMap<String, f64> {
        self.sums(side, kind, size, |sample| sample.spent.cpu_ms.clone())
    }

    fn sums(
        &self,
        side: Side,
        kind: Kind,
        size: u32,
        counts: impl Fn(&Sample) -> BTreeMap<String, i64>,
    ) -> BTreeMap<String, f64> {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        let mut sessions = 0;
        for sample in self.of(side, kind, size) {
            sessions += sample.timings.each.len();
            for (key, count) in counts(sample) {
                *sums.entry(key).or_default() += count;
            }
        }
        sums.into_iter().map(|(key, sum)| (key, ratio(sum, sessions))).collect()
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Start => "start",
        Kind::End => "end",
    }
}

/// `1.00 PATCH secrets, ...`, and the sum in front where there are several.
fn list(values: &BTreeMap<String, f64>, digits: usize) -> String {
    let parts: Vec<String> = values
        .iter()
        .filter(|(_, value)| **value >= 0.5 * 10_f64.powi(-i32::try_from(digits).unwrap_or(0)))
        .map(|(key, value)| format!("{value:.digits$} {key}"))
        .collect();
    format!("{:.digits$} ({})", values.values().sum::<f64>(), parts.join(", "))
}

/// The smallest value that at least this many of a hundred do not exceed.
fn percentile(values: &[Duration], percent: usize) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^53")]
fn ratio(sum: i64, count: usize) -> f64 {
    sum as f64 / count.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "memory in KiB is far below 2^53")]
fn mib(kib: i64) -> f64 {
    kib as f64 / 1024.0
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}
