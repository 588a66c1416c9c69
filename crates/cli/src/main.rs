//! `kubectl-rolecall`: see the library.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    rolecall_cli::run(std::env::args_os()).await
}
