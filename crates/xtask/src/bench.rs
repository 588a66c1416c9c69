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
        /// The kind of server: postgres, mongodb or redshift (a simulator).
        #[arg(long, default_value = "postgres")]
        engine: String,
        /// Where a PostgreSQL server runs: self-hosted, or rds (behind a front that takes IAM tokens).
        #[arg(long, default_value = "self-hosted")]
        platform: String,
        /// Arguments of the benchmark; `cargo xtask bench sessions -- --help` names them.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// 1,000 and 10,000 users with a live session each on 20 servers: memory, an idle minute, a restart, 10,000 expiries in one
    /// minute, and how all of it grows.
    Scale {
        /// Arguments of the benchmark; `cargo xtask bench scale -- --help` names them.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Permission sets on servers with 10, 1,000 and 50,000 tables, beside bare GRANTs; 2,000 users on one table.
    Objects {
        /// Arguments of the benchmark: numbers of tables, and `users=<number>`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Accounts beside 10,000 that are kept, on PostgreSQL 16 and 19.
    Kept {
        /// Arguments of the benchmark: versions, `kept=<number>`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Commands of the kubectl plugin that ask nobody, beside kubectl, and on many manifests.
    Cli {
        /// Arguments of the benchmark: the number of manifests.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// What a line of the audit log costs, beside a bare write of the same bytes to the same disk.
    Ledger {
        /// Arguments of the benchmark: the number of lines.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// What the admission policies add to the creation of a session, beside an API server without them.
    Admission {
        /// Arguments of the benchmark: the number of sessions.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Sessions on eighteen healthy servers, with and without a dead and a slow one beside them.
    Fairness {
        /// Arguments of the benchmark; `cargo xtask bench fairness -- --help` names them.
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
    // These wait for servers most of the time: linking them with LTO would take minutes for nothing.
    let quick = ["--config", "profile.bench.lto=\"off\"", "--config", "profile.bench.codegen-units=16"];
    match &args.what {
        What::Sessions { engine, platform, arguments } => {
            let which = ["--package", "rolecall-xtask", "--bench", "sessions"];
            let engine = match (engine.as_str(), platform.as_str()) {
                (_, "self-hosted") => format!("--engine={engine}"),
                ("postgres", "rds") => "--engine=rds".to_owned(),
                _ => bail!("there is no {engine} on the platform {platform}"),
            };
            bench(&[which, quick].concat(), &[&[engine], &arguments[..]].concat())
        }
        What::Scale { arguments } => {
            let which = ["--package", "rolecall-xtask", "--bench", "scale"];
            bench(&[which, quick].concat(), arguments)
        }
        What::Objects { arguments } => {
            let which = ["--package", "rolecall-postgres", "--bench", "objects"];
            bench(&[which, quick].concat(), arguments)
        }
        What::Kept { arguments } => {
            let which = ["--package", "rolecall-postgres", "--bench", "kept"];
            bench(&[which, quick].concat(), arguments)
        }
        What::Cli { arguments } => bench(&["--package", "rolecall-cli", "--bench", "offline"], arguments),
        What::Ledger { arguments } => {
            let which = ["--package", "rolecall-operator", "--bench", "ledger"];
            bench(&[which, quick].concat(), arguments)
        }
        What::Admission { arguments } => {
            let which = ["--package", "rolecall-xtask", "--bench", "admission"];
            bench(&[which, quick].concat(), arguments)
        }
        What::Fairness { arguments } => {
            let which = ["--package", "rolecall-xtask", "--bench", "fairness"];
            bench(&[which, quick].concat(), arguments)
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
