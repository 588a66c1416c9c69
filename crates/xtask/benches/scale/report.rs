//! The table, and the file with all figures.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::figures::{Delays, Figures};
use crate::server::Engine;
use crate::{Args, Credentials};

/// What grows by more than this, and that times as much as the number of sessions, is a fault.
const GROWTH: f64 = 1.1;
/// Differences of less than this are noise.
const NOISE: f64 = 100.0;

/// One row of the table.
struct Row {
    label: &'static str,
    kind: Kind,
    value: fn(&Figures) -> f64,
}

/// What the value of a row is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Work for all sessions together, shown for each.
    Work,
    /// Something that has a bound.
    Bound(f64),
    /// Something else.
    Plain,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { label: "memory, all live: MiB", kind: Kind::Bound(100.0), value: |of| mib(of.start.spent.resident_kib) },
    Row { label: "  at most so far: MiB", kind: Kind::Plain, value: |of| mib(of.start.spent.peak_kib) },
    Row { label: "  after a restart: MiB", kind: Kind::Bound(100.0), value: |of| mib(of.restart.spent.resident_kib) },
    Row { label: "  at most in it: MiB", kind: Kind::Plain, value: |of| mib(of.restart.spent.peak_kib) },
    Row { label: "  at the end of all: MiB", kind: Kind::Plain, value: |of| mib(of.expiry.spent.resident_kib) },
    Row { label: "  for each session: KiB", kind: Kind::Work, value: |of| float(of.start.spent.resident_kib - of.empty_kib) },
    Row { label: "start: operator ms", kind: Kind::Work, value: |of| float(of.start.spent.operator_ms()) },
    Row { label: "  statements", kind: Kind::Work, value: |of| float(of.start.spent.statements) },
    Row { label: "  round trips", kind: Kind::Work, value: |of| float(of.start.spent.round_trips) },
    Row { label: "  API requests", kind: Kind::Work, value: |of| sum(&of.start.spent.requests_without(&[("POST databasesessions", of.size)])) },
    Row { label: "  all processes: ms", kind: Kind::Work, value: |of| sum(&of.start.spent.cpu_ms) },
    Row { label: "idle minute: operator ms", kind: Kind::Bound(200.0), value: |of| float(of.idle.spent.operator_ms()) },
    Row { label: "  messages to a server", kind: Kind::Bound(1.0), value: |of| float(of.idle.messages.iter().max().copied().unwrap_or_default()) },
    Row { label: "  API requests", kind: Kind::Plain, value: |of| sum(&of.idle.spent.requests_without(&[])) },
    Row { label: "restart: first reconcile, s", kind: Kind::Bound(2.0), value: |of| seconds(of.restart.first_ms) },
    Row { label: "  ready, s", kind: Kind::Bound(5.0), value: |of| seconds(of.restart.ready_ms) },
    Row { label: "  all accounts looked at, s", kind: Kind::Plain, value: |of| seconds(of.restart.all_ms) },
    Row { label: "  changes on servers", kind: Kind::Bound(0.0), value: |of| float(of.restart.changes) },
    Row { label: "  API writes", kind: Kind::Bound(0.0), value: |of| sum(&of.restart.spent.writes_without(&[])) },
    Row { label: "  operator ms until then", kind: Kind::Work, value: |of| float(of.restart.at_once_ms) },
    Row { label: "  statements", kind: Kind::Work, value: |of| float(of.restart.spent.statements) },
    Row { label: "  API requests", kind: Kind::Work, value: |of| sum(&of.restart.spent.requests_without(&[])) },
    Row { label: "expiry: all within, s", kind: Kind::Plain, value: |of| seconds(of.expiry.within_ms) },
    Row { label: "  later than 1 s", kind: Kind::Bound(0.0), value: |of| count(of.expiry.gone.late) },
    Row { label: "  operator ms", kind: Kind::Work, value: |of| float(of.expiry.spent.operator_ms()) },
    Row { label: "  statements", kind: Kind::Work, value: |of| float(of.expiry.spent.statements) },
    Row { label: "  round trips", kind: Kind::Work, value: |of| float(of.expiry.spent.round_trips) },
    Row { label: "  API requests", kind: Kind::Work, value: |of| sum(&of.expiry.spent.requests_without(&[])) },
    Row { label: "  all processes: ms", kind: Kind::Work, value: |of| sum(&of.expiry.spent.cpu_ms) },
];

/// Prints what was measured for one size.
pub(crate) fn print_one(of: &Figures) {
    let delays = |what: &str, delays: &Delays| {
        println!(
            "  {what:<34} p50 {:>6} ms, p99 {:>6} ms, max {:>6} ms, {} of {} later than 1 s",
            delays.p50, delays.p99, delays.max, delays.late, of.size
        );
    };
    println!("\n{} sessions on {} servers of {}", of.size, of.servers, of.engine.name());
    println!("  all expired within {:.1} s:", seconds(of.expiry.within_ms));
    delays("the server shows the access gone", &of.expiry.gone);
    delays("the audit log says it was proven", &of.expiry.proven);
    delays("a watch shows the session Ended", &of.expiry.ended);
    println!(
        "  a bare client that ends {} at the same rate, {:.1} a second:",
        of.floor.server.count, of.floor.rate
    );
    delays("the server shows the access gone", &of.floor.server);
    delays("the status is written", &of.floor.written);
    println!("  requests: start {}", list(&of.start.spent.requests));
    println!("            idle {}", list(&of.idle.spent.requests));
    println!("            restart {}", list(&of.restart.spent.requests));
    println!("            expiry {}", list(&of.expiry.spent.requests));
    println!("  reconciles: start {}", list(&of.start.spent.reconciles));
    println!("            idle {}", list(&of.idle.spent.reconciles));
    println!("            restart {}", list(&of.restart.spent.reconciles));
    println!("            expiry {}", list(&of.expiry.spent.reconciles));
    println!("  processor time in ms: start {}", list(&of.start.spent.cpu_ms));
    println!("            idle {}", list(&of.idle.spent.cpu_ms));
    println!("            expiry {}", list(&of.expiry.spent.cpu_ms));
    println!("            floor {}", list(&of.floor.spent.cpu_ms));
    println!("  messages to each server: idle {:?}, restart {:?}", of.idle.messages, of.restart.messages);
}

/// Prints the table.
pub(crate) fn print(args: &Args, all: &[Figures]) {
    let credentials = match args.credentials {
        Credentials::Request => "a certificate that answers a request, no Secret",
        Credentials::Secret => "a certificate in a Secret",
    };
    println!(
        "\nEach user has one live session, with {credentials}; `Keep`. Work is shown for each session, and how all of it grows\n\
         with their number. ({} processors; load {})\n",
        std::thread::available_parallelism().map_or(0, usize::from),
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    );
    print!("{:<30}", "");
    for of in all {
        print!(" {:>10}", short(of.engine));
    }
    print!("\n{:<30}", "sessions");
    for of in all {
        print!(" {:>10}", of.size);
    }
    println!("  {:>6}  bound", "growth");
    for row in ROWS {
        print!("{:<30}", row.label);
        for of in all {
            let shared = if row.kind == Kind::Work { f64::from(of.size) } else { 1.0 };
            print!(" {:>10.2}", (row.value)(of) / shared);
        }
        let growth: Vec<String> = groups(all)
            .iter()
            .filter_map(|group| growth(row, group))
            .map(|(by, _)| format!("{by:.1}"))
            .collect();
        print!("  {:>6}", if row.kind == Kind::Work { growth.join(", ") } else { String::new() });
        match row.kind {
            Kind::Bound(bound) => {
                let missed = all.iter().any(|of| (row.value)(of) > bound);
                println!("  {bound}{}", if missed { " MISSED" } else { "" });
            }
            _ => println!(),
        }
    }
}

/// What grows by more than the number of sessions.
pub(crate) fn faults(_args: &Args, all: &[Figures]) -> Vec<String> {
    let mut faults = Vec::new();
    for row in ROWS.iter().filter(|row| row.kind == Kind::Work) {
        for group in groups(all) {
            let Some((by, sessions)) = growth(row, &group) else { continue };
            if by > sessions * GROWTH {
                faults.push(format!("{} ({by:.1} times, {})", row.label.trim(), group[0].engine.name()));
            }
        }
    }
    faults
}

/// Writes everything.
pub(crate) fn write(path: &Path, args: &Args, all: &[Figures]) -> anyhow::Result<()> {
    let all = json!({
        "load_average": std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
        "credentials": format!("{:?}", args.credentials), "figures": all,
    });
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    Ok(std::fs::write(path, serde_json::to_string_pretty(&all)?)?)
}

/// The sizes of each kind of server.
fn groups(all: &[Figures]) -> Vec<Vec<&Figures>> {
    let mut groups: Vec<Vec<&Figures>> = Vec::new();
    for of in all {
        match groups.last_mut().filter(|group| group[0].engine == of.engine) {
            Some(group) => group.push(of),
            None => groups.push(vec![of]),
        }
    }
    groups
}

/// By how much a row and the number of sessions grow from the first to the last size.
fn growth(row: &Row, group: &[&Figures]) -> Option<(f64, f64)> {
    let [first, .., last] = group else { return None };
    let (before, after) = ((row.value)(first), (row.value)(last));
    let sessions = f64::from(last.size) / f64::from(first.size);
    (before >= NOISE).then_some((after / before, sessions))
}

fn short(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "postgres",
        Engine::Rds => "rds",
        Engine::Mongodb => "mongodb",
        Engine::Redshift => "redshift",
    }
}

fn list(values: &BTreeMap<String, i64>) -> String {
    let parts: Vec<String> = values.iter().map(|(key, value)| format!("{value} {key}")).collect();
    parts.join(", ")
}

fn sum(values: &BTreeMap<String, i64>) -> f64 {
    float(values.values().sum())
}

fn seconds(milliseconds: i64) -> f64 {
    float(milliseconds) / 1_000.0
}

fn mib(kib: i64) -> f64 {
    float(kib) / 1_024.0
}

fn count(items: usize) -> f64 {
    float(i64::try_from(items).unwrap_or(i64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^53")]
fn float(count: i64) -> f64 {
    count as f64
}
