//! Running a client program in a session.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until};

use super::identity::Identity;
use super::session::{News, Session};
use super::signals::Signals;
use crate::Exit;
use crate::output;

/// How long a program may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

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
        match find(OsStr::new(self.name)) {
            Some(path) => Ok(path),
            None => bail!(
                "there is no {} on the PATH; {}; --exec runs another client, --print shows how to connect",
                self.name,
                self.origin
            ),
        }
    }
}

/// The path of a program as a shell finds it.
pub(super) fn find(name: &OsStr) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if Path::new(name).components().count() > 1 {
        return Some(PathBuf::from(name)).filter(runs);
    }
    let directories = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&directories).map(|directory| directory.join(name)).find(runs)
}

/// Runs a program until it ends. The arguments are the caller's own.
pub(super) async fn run(
    mut command: Command,
    arguments: &[OsString],
    identity: &mut Identity,
    session: &Session,
    signals: &mut Signals,
) -> anyhow::Result<Exit> {
    let name = command.as_std().get_program().display().to_string();
    let mut child =
        command.args(arguments).kill_on_drop(true).spawn().with_context(|| format!("starting {name}"))?;
    let mut watch = session.watch();
    // When it is killed because it did not end by itself.
    let mut kill_at: Option<Instant> = None;
    loop {
        let killing = async {
            match kill_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = child.wait() => return Ok(exit(status.with_context(|| format!("waiting for {name}"))?)),
            () = signals.ending() => {
                // It may have a terminal to put in order.
                ask_to_end(&child);
                kill_at.get_or_insert_with(|| Instant::now() + PATIENCE);
            }
            () = killing => child.start_kill().with_context(|| format!("stopping {name}"))?,
            news = watch.next() => heed(news, identity, session)?,
        }
    }
}

/// Lets programs use a renewed certificate, and says what somebody should know.
pub(super) fn heed(news: News, identity: &mut Identity, session: &Session) -> anyhow::Result<()> {
    match news {
        News::Certificate(pem) => identity.put_certificate(&pem)?,
        News::Over(why) => output::say(format_args!("the session {} is over: {why}", session.name())),
        News::Unknown(why) => output::say(format_args!(
            "warning: how the session {} is, is not known: {why}; it goes on, and so do its connections",
            session.name()
        )),
        News::Known => output::say(format_args!("the session {} is known again", session.name())),
    }
    Ok(())
}

fn ask_to_end(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::TERM);
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
