//! Tasks of the project, run as `cargo xtask <task>`.

mod bench;
mod chaos;
mod chart;
mod demo;
mod generate;
mod imports;
mod testbed;
mod tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rolecall_xtask::root;

/// Tasks of the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Shows the whole thing: a cluster, a database, the operator, a session.
    Demo(demo::Args),
    /// Runs everything that has to pass: formatting, lints, generated files, the direction of imports, dependencies,
    /// all tests.
    Test(tests::Args),
    /// Keeps a cluster, PostgreSQL and MongoDB servers running in the background.
    Testbed(testbed::Args),
    /// Writes the files that are generated from the code.
    Generate(generate::Args),
    /// Measures: sessions from end to end, or decisions of the policy.
    Bench(bench::Args),
    /// Lets faults happen to the operator, the API server and the databases, and checks what is left of them.
    Chaos(chaos::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo(args) => demo::run(args).await,
        Task::Test(args) => tests::run(&args).await,
        Task::Testbed(args) => testbed::run(args).await,
        Task::Generate(args) => generate::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Chaos(args) => chaos::run(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod checks {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
