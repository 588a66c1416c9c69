//! Completion in shells, and man pages: both follow from the flags themselves.
//!
//! The scripts hold no list of flags: they ask the program each time, so that they fit whichever version is installed.

mod names;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::engine;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use crate::Exit;
use crate::args::{Cli, CompletionArgs, ManArgs, Shell};
use crate::output;

/// Where a script says which shell asks.
const VARIABLE: &str = "ROLECALL_COMPLETE";
/// The program's own name, and by what name kubectl calls it to complete.
const NAME: &str = "kubectl-rolecall";
const COMPLETER: &str = "kubectl_complete-rolecall";
/// The first argument by which the program is asked to complete as kubectl does.
const ASKED: &str = "__complete";

/// What cobra calls `ShellCompDirectiveNoFileComp` and `ShellCompDirectiveNoSpace`.
const NO_FILES: u8 = 4;
const NO_SPACE: u8 = 2;

/// `completion`: prints the script.
///
/// # Errors
///
/// Standard output that cannot be written to.
pub fn run(args: &CompletionArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    let shell: &dyn EnvCompleter = match args.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Kubectl => {
            output::print(&format!("#!/bin/sh\nexec {NAME} {ASKED} \"$@\"\n"))?;
            return Ok(Exit::Done);
        }
    };
    shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script).context("writing the script")?;
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// `man`: writes a page for the program and for each command.
///
/// # Errors
///
/// A directory that cannot be written to.
pub fn write_pages(args: &ManArgs) -> anyhow::Result<Exit> {
    let directory = &args.directory;
    let writing = || format!("writing man pages to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(writing)?;
    clap_mangen::generate_to(Cli::command().name(NAME).disable_help_subcommand(true), directory)
        .with_context(writing)?;
    Ok(Exit::Done)
}

/// Answers where a shell or kubectl asks for completion; `None`: nobody does. `args`: all arguments, the program's own
/// name first.
pub fn answer(args: &[OsString]) -> Option<anyhow::Result<()>> {
    if let Some(shell) = std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty()) {
        return Some(for_shell(&shell, args));
    }
    let program = Path::new(args.first()?).file_name().unwrap_or_default();
    let words = match args.get(1) {
        _ if program == COMPLETER => &args[1..],
        Some(first) if first == ASKED => &args[2..],
        _ => return None,
    };
    Some(for_kubectl(words))
}

fn for_shell(shell: &OsStr, args: &[OsString]) -> anyhow::Result<()> {
    let shells: [&dyn EnvCompleter; 3] = [&Bash, &Zsh, &Fish];
    let called = shell.to_string_lossy();
    let shell = shells.into_iter().find(|shell| shell.is(&called));
    let shell =
        shell.with_context(|| format!("{VARIABLE} names the shell {called:?}; there are bash, zsh, fish"))?;
    let words: Vec<OsString> = args.iter().skip_while(|arg| *arg != "--").skip(1).cloned().collect();
    let mut command = names::completing(Cli::command().name(NAME).bin_name(NAME), &words);
    let mut answer = Vec::new();
    let directory = std::env::current_dir().ok();
    shell
        .write_complete(&mut command, words, directory.as_deref(), &mut answer)
        .context("completing the command line")?;
    print(&answer)
}

/// As cobra does: a candidate in each line, with its help after a tab, then a colon and what the shell should do.
fn for_kubectl(words: &[OsString]) -> anyhow::Result<()> {
    let mut line: Vec<OsString> = vec![NAME.into()];
    line.extend(words.iter().cloned());
    if words.is_empty() {
        line.push(OsString::new());
    }
    let mut command = names::completing(Cli::command().name(NAME).bin_name(NAME), &line);
    let (last, directory) = (line.len() - 1, std::env::current_dir().ok());
    let found = engine::complete(&mut command, line, last, directory.as_deref());
    let found: Vec<_> =
        found.unwrap_or_default().into_iter().filter(|candidate| !candidate.is_hide_set()).collect();
    let mut answer = String::new();
    for candidate in &found {
        let value = candidate.get_value().to_string_lossy();
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().unwrap_or_default();
        answer.push_str(&if help.is_empty() { format!("{value}\n") } else { format!("{value}\t{help}\n") });
    }
    // Into a directory one goes on.
    let goes_on = found.iter().all(|candidate| candidate.get_value().to_string_lossy().ends_with(['/', '=']));
    let directive = if goes_on && !found.is_empty() { NO_FILES | NO_SPACE } else { NO_FILES };
    answer.push_str(&format!(":{directive}\n"));
    print(answer.as_bytes())
}

fn print(answer: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    // A shell that has gone wants no answer.
    let _ = out.write_all(answer).and_then(|()| out.flush());
    Ok(())
}
