//! `cargo xtask test`: everything that has to pass.

use std::io::{IsTerminal, stderr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use rolecall_testbed::progress::{Progress, duration};
use rolecall_testbed::{KubernetesVersion, components};

use crate::{demo, generate, imports};

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
    /// Also what takes long: the tests against the API server on every Kubernetes version, and of the image (also as a
    /// release, for ARM64 and by its Dockerfile), and of traces.
    #[arg(long)]
    full: bool,
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
    /// The direction of imports, between crates and between files.
    Imports,
    /// `cargo deny`: licenses, sources, duplicate and banned crates, and advisories when they can be had.
    Deny,
    /// Builds PostgreSQL, etcd and Kubernetes into the cache.
    Components,
    /// `cargo test`; one test that fails keeps no other from running.
    Tests,
    /// `cargo xtask demo`, with and without `--mongodb`, which checks everything that it shows.
    Demo,
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Runs the steps, whatever becomes of those before, and ends with a summary.
///
/// # Errors
/// When a step fails.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let chosen =
        |step: &Step| (args.only.is_empty() || args.only.contains(step)) && !args.skip.contains(step);
    let steps: Vec<Step> = Step::value_variants().iter().copied().filter(chosen).collect();
    let mut done: Vec<Done> = Vec::new();
    for (index, step) in steps.iter().copied().enumerate() {
        eprintln!("\n{}", paint(BOLD, &format!("== {} ({} of {})", step.name(), index + 1, steps.len())));
        let lacks_components = done.iter().any(|done| done.step == Step::Components && done.error.is_some());
        if lacks_components && matches!(step, Step::Tests | Step::Demo) {
            let error = Some("the components are missing".to_owned());
            done.push(Done { step, took: Duration::ZERO, error });
            continue;
        }
        let started = Instant::now();
        let error = perform(step, args).await.err().map(|error| format!("{error:#}"));
        if let Some(error) = &error {
            eprintln!("{}: {error}", paint(RED, "error"));
        }
        done.push(Done { step, took: started.elapsed(), error });
    }
    summary(&done, args);
    let failed: Vec<String> =
        done.iter().filter(|done| done.error.is_some()).map(|done| done.step.name()).collect();
    match failed.first() {
        None => Ok(()),
        Some(first) => {
            bail!("failed: {}; again with: cargo xtask test --only {first}", failed.join(", "))
        }
    }
}

/// What a step came to.
struct Done {
    step: Step,
    took: Duration,
    error: Option<String>,
}

fn summary(done: &[Done], args: &Args) {
    eprintln!("\n{}", paint(BOLD, "== summary"));
    for Done { step, took, error } in done {
        let (step, took) = (step.name(), duration(*took));
        match error {
            None => eprintln!("  {step:<12} {} in {took}", paint(GREEN, "ok")),
            Some(error) => {
                let error = error.lines().next().unwrap_or_default();
                eprintln!("  {step:<12} {} after {took}: {error}", paint(RED, "FAILED"));
            }
        }
    }
    if !args.full && done.iter().any(|done| done.step == Step::Tests) {
        eprintln!("  left out     {}: cargo xtask test --full", left_out());
    }
}

/// What only `--full` runs.
fn left_out() -> String {
    let versions: Vec<String> = other_versions().map(|version| version.to_string()).collect();
    format!(
        "tests of {} on Kubernetes {}, those of RDS on PostgreSQL 16 and 17, the image (also as a release, for ARM64 and by its Dockerfile), the kubectl plugin for each machine, the report's page in a browser, and those of traces",
        API_SERVER_TESTS.join(", "),
        versions.join(" and ")
    )
}

/// The Kubernetes versions beside the one that all tests run on.
fn other_versions() -> impl Iterator<Item = KubernetesVersion> {
    KubernetesVersion::ALL.into_iter().filter(|version| *version != KubernetesVersion::NEWEST)
}

/// The test binaries that say something of an API server.
const API_SERVER_TESTS: [&str; 4] = ["admission", "e2e", "connect", "online"];

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
        Step::Clippy => {
            cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
            // What is off by default: the tests are built without it.
            cargo(&["clippy", "--workspace", "--features", "rolecall-operator/otlp", "--", "-D", "warnings"])
        }
        Step::Generate => generate::check(),
        Step::Imports => imports::check(),
        Step::Deny => deny(),
        Step::Components => {
            // The tests of one binary are on the oldest always.
            let mut versions = vec![KubernetesVersion::NEWEST, KubernetesVersion::OLDEST];
            if args.full {
                versions.extend(other_versions());
            }
            let prepare = move || components::prepare_all(&versions);
            tokio::task::spawn_blocking(prepare).await.context("preparing components")??;
            Ok(())
        }
        Step::Tests => run_tests(args),
        Step::Demo => {
            let postgres = demo::run(demo::Args::default()).await;
            postgres?;
            demo::run(demo::Args { mongodb: true, ..demo::Args::default() }).await?;
            demo::run(demo::Args { redshift: true, ..demo::Args::default() }).await
        }
    }
}

/// All tests, and with `--full` those against an API server on the other versions, and the long ones of the image.
fn run_tests(args: &Args) -> anyhow::Result<()> {
    let mut arguments = vec!["test", "--no-fail-fast"];
    if args.arguments.is_empty() {
        arguments.push("--workspace");
    }
    arguments.extend(args.arguments.iter().map(String::as_str));
    let mut result = cargo(&arguments);
    if args.full {
        // One after the other: each builds.
        let image = [
            "test",
            "--workspace",
            "--test",
            "container",
            "--",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ];
        result = result.and(cargo(&image));
        // It downloads a browser.
        let page = ["test", "--workspace", "--test", "page", "--", "--ignored", "--nocapture"];
        result = result.and(cargo(&page));
        // What is off by default, as in the step before.
        let traces = ["test", "--workspace", "--features", "rolecall-operator/otlp", "--lib", "traces::"];
        result = result.and(cargo(&traces));
        let mut arguments = vec!["test", "--no-fail-fast", "--workspace"];
        arguments.extend(API_SERVER_TESTS.iter().flat_map(|name| ["--test", name]));
        for version in other_versions() {
            let version = version.to_string();
            result = result.and(cargo_with(&arguments, &[(KubernetesVersion::VARIABLE, &version)]));
        }
    }
    result
}

/// Runs cargo in the workspace's root, with its output as ours.
fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    cargo_with(arguments, &[])
}

fn cargo_with(arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let variables: String = environment.iter().map(|(name, value)| format!("{name}={value} ")).collect();
    let line = format!("{variables}cargo {}", arguments.join(" "));
    eprintln!("$ {line}");
    let mut command = command(arguments);
    let status =
        command.envs(environment.iter().copied()).status().with_context(|| format!("running {line}"))?;
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
