//! `cargo xtask test`: everything that has to pass.

use std::io::{IsTerminal, stderr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use rolecall_testbed::components;
use rolecall_testbed::progress::{Progress, duration};

use crate::{demo, generate};

const CARGO_DENY_VERSION: &str = "0.20.2";

/// Options of the test run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this step; may be given several times.
    #[arg(long, value_enum, value_name = "STEP")]
    only: Vec<Step>,
    /// All but this step; may be given several times.
    #[arg(long, value_enum, value_name = "STEP")]
    skip: Vec<Step>,
    /// Arguments for `cargo test` in place of `--workspace`, for example `-- -p rolecall-policy labels`.
    #[arg(last = true, value_name = "CARGO TEST ARGUMENTS")]
    arguments: Vec<String>,
}

/// One step, in the order in which they run: what fails fast comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// `cargo fmt --all --check`.
    Format,
    /// `cargo clippy`, warnings are errors.
    Clippy,
    /// `cargo xtask generate --check`.
    Generate,
    /// `cargo deny`: licenses, sources, duplicate and banned crates, and advisories when they can be had.
    Deny,
    /// Builds PostgreSQL, etcd and Kubernetes into the cache.
    Components,
    /// `cargo test`.
    Tests,
    /// `cargo xtask demo`, with and without `--mongodb`, which checks everything that it shows.
    Demo,
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Runs the steps, stops at the first that fails, and ends with a summary.
///
/// # Errors
/// When a step fails.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let chosen =
        |step: &Step| (args.only.is_empty() || args.only.contains(step)) && !args.skip.contains(step);
    let steps: Vec<Step> = Step::value_variants().iter().copied().filter(chosen).collect();
    let mut done: Vec<(Step, Duration)> = Vec::new();
    for (index, step) in steps.iter().copied().enumerate() {
        eprintln!("\n{}", paint(BOLD, &format!("== {} ({} of {})", step.name(), index + 1, steps.len())));
        let started = Instant::now();
        let result = perform(step, args).await;
        let took = started.elapsed();
        if let Err(error) = result {
            summary(&done);
            eprintln!("  {:<12} {} after {}", step.name(), paint(RED, "FAILED"), duration(took));
            for later in &steps[index + 1..] {
                eprintln!("  {:<12} not run", later.name());
            }
            return Err(
                error.context(format!("step {0}; again with: cargo xtask test --only {0}", step.name()))
            );
        }
        done.push((step, took));
    }
    summary(&done);
    Ok(())
}

fn summary(done: &[(Step, Duration)]) {
    eprintln!("\n{}", paint(BOLD, "== summary"));
    for (step, took) in done {
        eprintln!("  {:<12} {} in {}", step.name(), paint(GREEN, "ok"), duration(*took));
    }
}

const BOLD: &str = "1";
const RED: &str = "1;31";
const GREEN: &str = "32";

/// Colours text for a terminal; leaves it as it is elsewhere.
fn paint(code: &str, text: &str) -> String {
    if stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

async fn perform(step: Step, args: &Args) -> anyhow::Result<()> {
    match step {
        Step::Format => cargo(&["fmt", "--all", "--check"]),
        Step::Clippy => cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        Step::Generate => generate::check(),
        Step::Deny => deny(),
        Step::Components => {
            tokio::task::spawn_blocking(components::prepare_all).await.context("preparing components")??;
            Ok(())
        }
        Step::Tests => {
            let mut arguments = vec!["test"];
            if args.arguments.is_empty() {
                arguments.push("--workspace");
            }
            arguments.extend(args.arguments.iter().map(String::as_str));
            cargo(&arguments)
        }
        Step::Demo => {
            demo::run(demo::Args::default()).await?;
            demo::run(demo::Args { mongodb: true, ..demo::Args::default() }).await
        }
    }
}

/// Runs cargo in the workspace's root, with its output as ours.
fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    let line = format!("cargo {}", arguments.join(" "));
    eprintln!("$ {line}");
    let status = command(arguments).status().with_context(|| format!("running {line}"))?;
    if !status.success() {
        if matches!(arguments.first(), Some(&("fmt" | "clippy"))) {
            eprintln!("(when cargo does not know the command: rustup component add rustfmt clippy)");
        }
        bail!("`{line}` failed");
    }
    Ok(())
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(crate::root()).stdin(Stdio::null());
    command
}

/// Checks the dependencies. The advisory database comes from a place that not every machine reaches: then all but the
/// advisories is checked, and the output says so.
fn deny() -> anyhow::Result<()> {
    let program = components::cargo_tool("cargo-deny", CARGO_DENY_VERSION)?;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(crate::root()).stdin(Stdio::null());
        command
    };
    let check = |what: &[&str]| -> anyhow::Result<()> {
        let status = run(&["check"]).args(what).status().context("running cargo-deny")?;
        if status.success() { Ok(()) } else { bail!("cargo-deny check {} failed", what.join(" ")) }
    };
    check(&["bans", "licenses", "sources"])?;

    let progress = Progress::start("fetching the advisory database");
    let fetched = run(&["fetch", "db"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    drop(progress);
    if fetched.is_ok_and(|status| status.success()) {
        return check(&["--disable-fetch", "advisories"]);
    }
    eprintln!(
        "\n!! ADVISORIES NOT CHECKED: the database of known vulnerabilities cannot be reached from this machine.\n\
         !! Where it can, run: cargo xtask test --only deny\n"
    );
    Ok(())
}
