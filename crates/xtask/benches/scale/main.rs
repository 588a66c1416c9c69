//! `cargo xtask bench scale`: thousands of users with a live session each, on many servers, and how what they cost grows
//! with their number.
//!
//! | module | contents |
//! |---|---|
//! | `bed` | the servers, the operator, the objects |
//! | `load` | users and sessions are made |
//! | `gauge` | what is counted around a phase: requests, statements, processor time, memory |
//! | `phases` | start, an idle minute, a restart |
//! | `expiry` | all sessions expire in one minute; when is each access gone? |
//! | `floor` | a bare client that ends accesses at the same rate |
//! | `figures`, `report` | the rows, how they grow, the bounds |
//! | `server`, `rds`, `redshift` | the database servers: those of `bench sessions` |

mod bed;
#[path = "../common/client.rs"]
mod client;
mod expiry;
mod figures;
mod floor;
mod gauge;
mod load;
mod observer;
mod phases;
#[path = "../sessions/rds.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod rds;
#[path = "../sessions/redshift.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod redshift;
mod report;
#[path = "../sessions/server.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod server;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use rolecall_testbed::progress::Progress;

use bed::Bed;
use figures::Figures;
use server::Engine;

/// How users log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Credentials {
    /// With a certificate that answers a request, in the status of the session: quick to set up, as nothing else is written.
    Request,
    /// With a certificate and its key, in a Secret of the session.
    Secret,
}

/// Measures many sessions, and how what they cost grows.
#[derive(Clone, Parser)]
#[command(name = "cargo xtask bench scale", bin_name = "cargo xtask bench scale")]
pub(crate) struct Args {
    /// The kinds of server that sessions are on, one after the other.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Engine::Postgres])]
    engine: Vec<Engine>,
    /// How many users, each with a session; of several the last is compared with the first.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000], value_parser = clap::value_parser!(u32).range(10..=50_000))]
    size: Vec<u32>,
    /// How many servers, each a process of its own. (The simulator of Redshift is always one.)
    #[arg(long, default_value_t = 20)]
    servers: usize,
    /// How users log in.
    #[arg(long, value_enum, default_value_t = Credentials::Request)]
    credentials: Credentials,
    /// In how many seconds all sessions expire.
    #[arg(long, default_value_t = 60)]
    expire_within: u32,
    /// How many seconds after the first session was made the first one expires. Default: 240, and one for each 20 sessions.
    #[arg(long)]
    setup: Option<u32>,
    /// How long the operator is watched while nothing happens, in seconds.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// How many accesses the bare client ends, at the rate at which sessions expire.
    #[arg(long, default_value_t = 2_000)]
    floor: u32,
    /// A binary of the operator that has been built. Default: it is built as a release.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// What the operator logs (to a file), as in RUST_LOG.
    #[arg(long, default_value = "warn")]
    log: String,
    /// The file for the figures.
    #[arg(long, default_value = "target/bench/scale.json")]
    out: PathBuf,
    /// What cargo gives to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // One TLS provider for everything; installing it twice is the only way to fail, and this is the first line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    let (engines, built) = (args.engine.clone(), args.operator.clone());
    let binary = tokio::task::spawn_blocking(move || bed::prepare(&engines, built)).await??;
    let mut all = Vec::new();
    for &engine in &args.engine {
        for &size in &args.size {
            let figures = measure(&args, engine, size, &binary).await;
            all.push(figures.with_context(|| format!("{size} sessions on {}", engine.name()))?);
        }
    }
    report::print(&args, &all);
    let out = rolecall_xtask::root().join(&args.out);
    report::write(&out, &args, &all).with_context(|| format!("writing {}", out.display()))?;
    println!("\nAll figures: {}", args.out.display());
    let faults = report::faults(&args, &all);
    anyhow::ensure!(
        faults.is_empty(),
        "this grows by more than the number of sessions: {}",
        faults.join("; ")
    );
    Ok(())
}

/// One size on one kind of server, from nothing to nothing.
async fn measure(
    args: &Args,
    engine: Engine,
    size: u32,
    binary: &std::path::Path,
) -> anyhow::Result<Figures> {
    let progress = Progress::start(format!("{size} sessions on {}", engine.name()));
    progress.detail("starting a cluster, servers and the operator");
    let mut bed = Bed::set(args, engine, binary).await?;
    let mut figures = Figures::new(engine, size, bed.servers.len());
    figures.empty_kib = bed.resident_kib();
    progress.detail("making users");
    load::make_users(&bed, size, &progress).await?;
    let plan = load::Plan::new(args, size);
    figures.start = phases::start(&bed, size, &plan, &progress).await?;
    let each = (figures.start.spent.resident_kib - figures.empty_kib) / i64::from(size);
    progress.detail(format!("{each} KiB for each session; nothing happens for {} s", args.idle));
    figures.idle = phases::idle(&bed, args.idle).await?;
    progress.detail("the operator is restarted");
    figures.restart = phases::restart(&mut bed, size).await?;
    progress.detail("a bare client makes sessions");
    let floor = floor::Floor::new(&bed, args.floor.min(size)).await?;
    figures.expiry = expiry::measure(&bed, size, &progress).await?;
    progress.detail("a bare client ends accesses at the same rate");
    figures.floor = floor.measure(&bed, f64::from(size) / f64::from(args.expire_within)).await?;
    progress.done();
    report::print_one(&figures);
    Ok(figures)
}
