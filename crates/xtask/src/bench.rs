//! `cargo xtask bench`: benchmarks, each a program of its own, built with optimisation.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Options of the benchmarks.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Sessions from end to end on real components, beside a bare client that does the same.
    Sessions {
        /// Arguments of the benchmark; `cargo xtask bench sessions -- --help` names them.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Permission sets beside 10, 1,000 and 50,000 tables, on a real server, beside bare GRANTs.
    Objects {
        /// Arguments of the benchmark: numbers of tables.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Decisions of the policy alone.
    Policy {
        /// Arguments of the benchmark, for example a part of a name.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

/// Runs one benchmark.
///
/// # Errors
/// When it fails.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Sessions { arguments } => {
            // The client waits for others most of the time: linking it with LTO would take minutes for nothing.
            let quick =
                ["--config", "profile.bench.lto=\"off\"", "--config", "profile.bench.codegen-units=16"];
            let which = ["--package", "rolecall-xtask", "--bench", "sessions"];
            bench(&[which, quick].concat(), arguments)
        }
        What::Objects { arguments } => {
            bench(&["--package", "rolecall-engine", "--bench", "objects"], arguments)
        }
        What::Policy { arguments } => bench(&["--package", "rolecall-policy"], arguments),
    }
}

fn bench(which: &[&str], arguments: &[String]) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg("bench").args(which).arg("--").args(arguments);
    let status = command
        .current_dir(rolecall_xtask::root())
        .stdin(Stdio::null())
        .status()
        .context("running cargo bench")?;
    if !status.success() {
        bail!("the benchmark failed");
    }
    Ok(())
}
