//! `cargo xtask chaos`: faults on real components, and a checker of what is left of them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rolecall_chaos::Options;
use rolecall_chaos::schedule::Kind;
use rolecall_xtask::operator::{Profile, build};

/// Options of the faults.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// No fault begins later than this.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// What the schedule of faults follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// At most so many faults.
    #[arg(long, default_value_t = usize::MAX)]
    faults: usize,
    /// Only this kind of fault; may be given several times.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    only: Vec<Kind>,
    /// How often a kind comes, beside the others; with 0 once. May be given several times.
    #[arg(long, value_name = "KIND=N", value_parser = weight, value_delimiter = ',')]
    weights: Vec<(Kind, u32)>,
    /// In so many lanes faults happen at once, each with its own namespace, users and operator.
    #[arg(long, default_value_t = 1)]
    lanes: usize,
    /// A line each time so many faults have happened. Default: one for each, with several lanes one for 100.
    #[arg(long)]
    progress: Option<usize>,
    /// The program, with debug assertions; it is built where none is given.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// How many seconds things may take to heal after a fault.
    #[arg(long, default_value_t = 180)]
    patience: u64,
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::of(name).ok_or_else(|| {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        format!("one of {}", names.join(", "))
    })
}

fn weight(text: &str) -> Result<(Kind, u32), String> {
    let (name, weight) = text.split_once('=').ok_or("write KIND=N")?;
    Ok((kind(name)?, weight.parse().map_err(|error| format!("{weight}: {error}"))?))
}

/// Lets faults happen, and prints the table.
///
/// # Errors
/// When something is violated, or could not be tried.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let options = Options {
        // As it is shipped it has no kill points.
        operator: args.operator.clone().map_or_else(|| build(Profile::Dev), Ok)?,
        seed: args.seed,
        time: Duration::from_secs(args.minutes * 60),
        faults: args.faults,
        kinds: args.only.clone(),
        weights: args.weights.clone(),
        lanes: args.lanes,
        progress: args.progress.unwrap_or(if args.lanes > 1 { 100 } else { 1 }),
        patience: Duration::from_secs(args.patience),
    };
    let report = rolecall_chaos::run(options).await.context("the faults could not be tried")?;
    println!("{report}");
    ensure!(report.failed.is_empty(), "some faults could not be inflicted as a whole");
    match report.violations().count() {
        0 => Ok(()),
        many => bail!("{many} violations"),
    }
}
