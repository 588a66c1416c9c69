//! `cargo xtask bench sessions`: what a session costs, beside a bare client that does the same.
//!
//! | module | contents |
//! |---|---|
//! | `bed` | the servers, the operator, the objects that every round needs |
//! | `phase` | one measured phase: many sessions start, or end, and a watch says when |
//! | `server` | the database servers, as far as they differ |
//! | `rds` | what stands for RDS and AWS |
//! | `redshift` | a simulator of Redshift and AWS |
//! | `floor`, `accounts` | the bare client, and its accounts on the server |
//! | `gauge` | what is counted around a phase: requests, statements, CPU, memory |
//! | `report` | medians, the table, the JSON file |

mod accounts;
mod bed;
#[path = "../common/client.rs"]
mod client;
mod floor;
mod gauge;
mod phase;
mod rds;
mod redshift;
mod report;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use rolecall_testbed::progress::Progress;

use bed::Bed;
use floor::Floor;
use gauge::Gauges;
use phase::{Kind, Side};
use report::{Report, Sample};
use server::Engine;

/// Requests of the measuring client under way at once, and workers of the floor.
const PARALLEL: usize = 16;
/// Sessions that are made one after the other where the size is 1.
const SINGLES: usize = 20;
/// What is counted around a phase includes what follows from it a little later: a server's accounts are counted again
/// three seconds after a change, and the status of a user says ten seconds after one what became of its accounts.
const SETTLE: Duration = Duration::from_secs(13);

/// Measures sessions.
#[derive(Parser)]
#[command(name = "cargo xtask bench sessions", bin_name = "cargo xtask bench sessions")]
struct Args {
    /// The kind of server that sessions are on.
    #[arg(long, value_enum, default_value_t = Engine::Postgres)]
    engine: Engine,
    /// How many sessions at once; 1 means twenty, one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 50, 200], value_parser = clap::value_parser!(u32).range(1..=5000))]
    sizes: Vec<u32>,
    /// How often everything is measured; the figures are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long the operator is watched while nothing happens, in seconds.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// What the operator logs (to a file, whose path is printed), as in RUST_LOG.
    #[arg(long, default_value = "warn")]
    log: String,
    /// The file for the figures. Default: target/bench/sessions-ENGINE.json.
    #[arg(long)]
    out: Option<PathBuf>,
    /// What cargo gives to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // One TLS provider for everything; installing it twice is the only way to fail, and this is the first line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    let engine = args.engine;
    let binary = tokio::task::spawn_blocking(move || bed::prepare(engine)).await??;

    let progress =
        Progress::start(format!("starting a cluster, two servers of {} and the operator", engine.name()));
    let most = args.sizes.iter().copied().max().unwrap_or(1).max(50);
    let bed = Bed::set(engine, &binary, most, &args.log).await?;
    let floor = Floor::new(&bed).await?;
    progress.done();

    let mut report = Report::new(engine.name(), &args.sizes, args.rounds, PARALLEL, SINGLES);
    let progress = Progress::start("measuring");
    for round in 0..args.rounds {
        for size in &args.sizes {
            // Who goes first in one round goes second in the next.
            let sides =
                if round % 2 == 0 { [Side::Operator, Side::Floor] } else { [Side::Floor, Side::Operator] };
            for side in sides {
                progress.detail(format!("round {} of {}, {size} sessions, {side}", round + 1, args.rounds));
                measure(&bed, &floor, side, *size, &mut report).await.with_context(|| {
                    format!("{size} sessions, {side}; the operator's log: {}", bed.operator.log().display())
                })?;
            }
        }
    }
    progress.detail("counting the messages of 50 sessions on the server itself");
    report.log_check = Some(log_check(&bed, &floor).await?);
    progress.detail(format!("{most} live sessions, and nothing happens for {} s", args.idle));
    report.idle = Some(idle(&bed, &floor, most, Duration::from_secs(args.idle)).await?);
    progress.done();

    report.print();
    let name = engine.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let file = args.out.unwrap_or_else(|| format!("target/bench/sessions-{name}.json").into());
    let out = rolecall_xtask::root().join(&file);
    if let Some(calls) = bed.server.aws_calls() {
        println!("\nCalls to AWS, in all of this: {calls}");
        anyhow::ensure!(calls == 0 || engine != Engine::Rds, "logins to RDS took calls to AWS");
    }
    report.write(&out).with_context(|| format!("writing {}", out.display()))?;
    println!("\nAll figures, each round's too: {}", file.display());
    Ok(())
}

/// One size on one side: start, end, and everything as before.
async fn measure(bed: &Bed, floor: &Floor, side: Side, size: u32, report: &mut Report) -> anyhow::Result<()> {
    for kind in [Kind::Start, Kind::End] {
        let before = Gauges::read(bed).await?;
        let timings = if size == 1 {
            phase::one_by_one(bed, floor, side, kind, SINGLES).await?
        } else {
            phase::at_once(bed, floor, side, kind, size as usize, PARALLEL).await?
        };
        if side == Side::Operator {
            tokio::time::sleep(SETTLE).await;
        }
        let spent = Gauges::read(bed).await?.since(&before);
        report.add(Sample { side, kind, size, timings, spent });
    }
    bed.forget_accounts(side).await
}

/// The operator's own count of round trips beside the server's.
async fn log_check(bed: &Bed, floor: &Floor) -> anyhow::Result<report::LogCheck> {
    bed.server.count_messages(true).await?;
    let (before, lines) = (Gauges::read(bed).await?, bed.server.messages().await?);
    for kind in [Kind::Start, Kind::End] {
        phase::at_once(bed, floor, Side::Operator, kind, 50, PARALLEL).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let (spent, lines) = (Gauges::read(bed).await?.since(&before), bed.server.messages().await? - lines);
    bed.server.count_messages(false).await?;
    bed.forget_accounts(Side::Operator).await?;
    Ok(report::LogCheck { sessions: 50, counted: spent.round_trips, logged: lines })
}

/// What the operator does while many sessions are live and nothing happens.
async fn idle(bed: &Bed, floor: &Floor, sessions: u32, time: Duration) -> anyhow::Result<report::Idle> {
    phase::at_once(bed, floor, Side::Operator, Kind::Start, sessions as usize, PARALLEL).await?;
    tokio::time::sleep(SETTLE + SETTLE / 3).await;
    let before = Gauges::read(bed).await?;
    tokio::time::sleep(time).await;
    let spent = Gauges::read(bed).await?.since(&before);
    phase::at_once(bed, floor, Side::Operator, Kind::End, sessions as usize, PARALLEL).await?;
    Ok(report::Idle { sessions, seconds: time.as_secs(), spent })
}
