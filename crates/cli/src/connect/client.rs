//! Running a client program in a session.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval};

use super::identity::Identity;
use super::session::Session;
use super::signals::Signals;
use crate::Exit;
use crate::output;

/// How often to check whether the certificate was renewed or the session has ended.
const POLL: Duration = Duration::from_secs(15);

/// A client program.
#[derive(Debug)]
pub(super) struct Program {
    /// Its name.
    pub(super) name: &'static str,
    /// Where to get it.
    pub(super) origin: &'static str,
}

impl Program {
    /// Its path, found before there is a session.
    pub(super) fn find(&self) -> anyhow::Result<PathBuf> {
        let runs = |path: &PathBuf| {
            path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        let directories = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&directories).map(|directory| directory.join(self.name)).find(runs);
        match found {
            Some(path) => Ok(path),
            None => bail!("there is no {} on the PATH; {}", self.name, self.origin),
        }
    }
}

/// Runs a program until it ends, or until the session does. The arguments are the caller's own.
pub(super) async fn run(
    name: &str,
    mut command: Command,
    arguments: &[OsString],
    identity: &mut Identity,
    session: &Session,
    signals: &mut Signals,
) -> anyhow::Result<Exit> {
    let mut child = command
        .args(arguments)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", command.as_std().get_program().display()))?;
    let mut check = interval(POLL);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    check.tick().await;
    let mut ended = false;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(exit(status.with_context(|| format!("waiting for {name}"))?)),
            () = signals.ending() => child.start_kill().with_context(|| format!("stopping {name}"))?,
            _ = check.tick(), if !ended => match session.refresh(identity).await {
                Ok(None) => {}
                Ok(Some(why)) => {
                    ended = true;
                    output::say(format_args!("the session {} is over: {why}", session.name()));
                }
                // The next check may succeed; an open connection does not depend on it.
                Err(error) => output::say(format_args!("warning: checking the session: {error:#}")),
            },
        }
    }
}

fn exit(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    match code.and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Exit::Done,
        Some(code) => Exit::Other(code),
        None => Exit::Other(1),
    }
}
