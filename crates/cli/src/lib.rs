//! `kubectl rolecall`: who may do what on which database, and why.
//!
//! The same functions decide here as in the operator (`rolecall-resolve`, `rolecall-policy`). Every command gathers
//! its input ([`input`]), makes a view of it without I/O, and prints the view as a table, JSON or YAML ([`output`]).
//!
//! | module | contents |
//! |---|---|
//! | [`args`] | flags and help |
//! | [`input`] | manifests, files of objects, the API server |
//! | [`explain`] | what a user may do on a database, and why not more |
//! | [`access`] | what users get on databases, for many decisions |
//! | [`plan`] | what applying manifests would change |
//! | [`who_can`] | which users get what on a database |
//! | [`audit`], [`report`] | whether the audit log is whole; who had which access |
//! | [`get`] | lists of objects, with what follows from all of them |
//! | [`completion`] | completion in shells, man pages |
//! | [`ls`] | which databases a user reaches |
//! | [`sessions`], [`end`] | what is live; ending it |
//! | [`requests`] | what waits for approval; approving and denying it |
//! | [`activity`] | what a session's user runs; cancelling and terminating it |
//! | [`doctor`] | what is wrong between the operator and a server |
//! | [`convert`] | Teleport's YAML to Rolecall's kinds |
//! | [`connect`] | a session with a certificate, and psql or mongosh in it |
//! | `reach` | from here to a server of the cluster: directly, by an address, by a port-forward |
//! | [`output`], [`table`] | what is printed |

pub mod access;
pub mod activity;
mod admin_login;
pub mod args;
pub mod audit;
pub mod completion;
pub mod connect;
pub mod convert;
pub mod doctor;
pub mod end;
pub mod explain;
pub mod get;
pub mod input;
pub mod ls;
pub mod output;
pub mod plan;
mod reach;
pub mod report;
pub mod requests;
pub mod sessions;
pub mod table;
pub mod who_can;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use rolecall_engine::Stop;

use args::{Cli, Command};
use output::Output;

/// What a command ends with; see `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It succeeded.
    Done,
    /// It succeeded with a negative answer that the caller wants to see in the exit status.
    Refused,
    /// It ran another program, which exited with this status.
    Other(u8),
}

/// Runs the program with these arguments, its own name first.
pub async fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // One TLS provider for everything; a second installation fails and changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(answered) = completion::answer(&args) {
        return match answered {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::say(format_args!("error: {error:#}"));
                ExitCode::FAILURE
            }
        };
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(answer) => {
            // A closed pipe is not an error.
            let _ = answer.print();
            return ExitCode::from(u8::from(answer.use_stderr()));
        }
    };
    match dispatch(cli).await {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Refused) => ExitCode::from(2),
        Ok(Exit::Other(status)) => ExitCode::from(status),
        Err(error) => {
            output::say(format_args!("error: {error:#}{}", input::remedy(&error)));
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let Cli { global, command } = cli;
    check_form(&global, &command)?;
    match command {
        Command::Explain(args) => explain::run(&global, &args).await,
        Command::Ls(args) => ls::run(&global, &args).await,
        Command::Plan(args) => plan::run(&global, &args).await,
        Command::Get(args) => get::run(&global, &args).await,
        Command::Completion(args) => completion::run(&args),
        Command::Man(args) => completion::write_pages(&args),
        Command::WhoCan(args) => who_can::run(&global, &args).await,
        Command::Sessions(args) => sessions::run(&global, &args).await,
        Command::End(args) => end::run(&global, &args).await,
        Command::Requests(args) => requests::list(&global, &args).await,
        Command::Approve(args) => requests::approve(&global, &args).await,
        Command::Deny(args) => requests::deny(&global, &args).await,
        Command::Queries(args) => activity::queries(&global, &args).await,
        Command::Cancel(args) => activity::stop(&global, &args, Stop::Cancel).await,
        Command::Terminate(args) => activity::stop(&global, &args, Stop::Terminate).await,
        Command::Doctor(args) => doctor::run(&global, &args).await,
        Command::Audit(args) => audit::run(&global, &args).await,
        Command::Report(args) => report::run(&global, &args).await,
        Command::Convert(args) => convert::run(&global, &args),
        Command::Connect(args) => connect::run(&global, args).await,
    }
}

/// Some forms are those of one command alone.
fn check_form(global: &args::Global, command: &Command) -> anyhow::Result<()> {
    match (global.output(), command) {
        (Output::Markdown, Command::Plan(_)) | (Output::Wide, Command::Get(_) | Command::Ls(_)) => Ok(()),
        (Output::Csv | Output::Html, Command::Report(_)) => Ok(()),
        (Output::Csv | Output::Html, _) => {
            anyhow::bail!("only report prints CSV and HTML; -o takes table, json or yaml here")
        }
        (Output::Markdown, _) => {
            anyhow::bail!("only plan prints Markdown; -o takes table, json or yaml here")
        }
        (Output::Wide, _) => {
            anyhow::bail!("only get and ls have wide columns; -o takes table, json or yaml here")
        }
        _ => Ok(()),
    }
}
