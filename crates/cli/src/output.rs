//! What is printed, and where.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

/// The form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// For people with wide terminals.
    Wide,
    /// For comments on pull requests.
    Markdown,
    /// For spreadsheets.
    Csv,
    /// For browsers: one page that needs nothing else.
    Html,
}

/// The form of what a client of a database is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Shell commands that set environment variables.
    Env,
    /// A URI, of PostgreSQL or MongoDB.
    Uri,
    /// A URL for Java: PostgreSQL's driver (42.7.14 and later), or Amazon's for Redshift.
    Jdbc,
    /// keyword=value, as libpq takes it.
    Dsn,
}

/// A view in the requested form. Every form ends with a line break.
///
/// # Errors
///
/// A view that cannot be written, which no view of this crate is.
pub fn render<V: Serialize>(
    view: &V,
    output: Output,
    table: impl FnOnce() -> String,
) -> anyhow::Result<String> {
    match output {
        // Only where a command has that form; it does not come here then.
        Output::Table | Output::Wide | Output::Markdown | Output::Csv | Output::Html => Ok(table()),
        Output::Json => {
            let mut text = serde_json::to_string_pretty(view).context("writing JSON")?;
            text.push('\n');
            Ok(text)
        }
        Output::Yaml => serde_saphyr::to_string(view).context("writing YAML"),
    }
}

/// Writes to standard output. A closed pipe is not an error.
///
/// # Errors
///
/// What else the system answers, for example that the disk is full.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("writing to standard output")
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error, if that is possible.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether standard output should be coloured: only on a terminal, and not where NO_COLOR is set.
pub fn colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !refused && io::stdout().is_terminal()
}
