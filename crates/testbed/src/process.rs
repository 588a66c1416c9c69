//! One program under supervision: it ends when its owner does, however that happens.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::account::Account;
use crate::error::{Error, Result};

const POLL: Duration = Duration::from_millis(5);
const PAUSE_TIMEOUT: Duration = Duration::from_secs(60);

/// What to run.
pub(crate) struct Spec<'a> {
    /// Name for messages.
    pub(crate) name: &'static str,
    /// The program's file.
    pub(crate) program: &'a Path,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its whole environment, next to PATH.
    pub(crate) env: Vec<(&'static str, String)>,
    /// Its working directory, which must be readable by `account`.
    pub(crate) dir: &'a Path,
    /// Where its output is appended.
    pub(crate) log: PathBuf,
    /// Who it runs as.
    pub(crate) account: Account,
    /// The signal that ends it when nobody needs its data any more, by its short name.
    pub(crate) end_signal: &'static str,
}

/// A running program, ended when dropped and when this process dies.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    supervisor: Child,
    pid: Pid,
    log: PathBuf,
}

impl Program {
    /// Starts the program under its supervisor.
    ///
    /// # Errors
    /// When the supervisor cannot be started. That the program itself cannot be run shows in its log and in
    /// [`Program::is_running`].
    pub(crate) fn start(spec: Spec<'_>) -> Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("supervise.sh"), "rolecall-supervise", spec.end_signal, "30"])
            .arg(&spec.log)
            .arg(spec.program)
            .args(&spec.args)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(spec.env)
            .current_dir(spec.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal is sent to the whole group; the supervisor has to outlive it.
            .process_group(0);
        spec.account.apply(&mut command);
        let mut supervisor = command.spawn().map_err(Error::io("starting", spec.program))?;
        let mut line = String::new();
        if let Some(stdout) = supervisor.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(Error::io("starting", spec.program))?;
        }
        let Some(pid) = line.trim().parse().ok().and_then(Pid::from_raw) else {
            let _ = supervisor.kill();
            let _ = supervisor.wait();
            return Err(failure(spec.name, "could not be supervised (is `sh` a POSIX shell?)", &spec.log));
        };
        Ok(Self { name: spec.name, supervisor, pid, log: spec.log })
    }

    /// Whether the program has not ended yet.
    pub(crate) fn is_running(&self) -> bool {
        is_running(self.pid.as_raw_nonzero().get())
    }

    /// The error for a program that ended or is not ready, with the end of its log.
    pub(crate) fn failure(&self, problem: &str) -> Error {
        failure(self.name, problem, &self.log)
    }

    /// Sends `signal` to the program itself.
    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended already, which is what most signals are for.
        let _ = kill_process(self.pid, signal);
    }

    /// Sends `signal` to the program and all its descendants, the program first, and to those that were started
    /// meanwhile.
    pub(crate) fn signal_tree(&self, signal: Signal) {
        let mut signalled = HashSet::new();
        loop {
            let members = tree(self.pid.as_raw_nonzero().get());
            let new: Vec<i32> = members.into_iter().filter(|pid| signalled.insert(*pid)).collect();
            if new.is_empty() {
                return;
            }
            for pid in new.into_iter().filter_map(Pid::from_raw) {
                // It may have ended already, which is what most signals are for.
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Stops the program and all its descendants, and waits until none of their threads runs any more: a signal to a program
    /// with threads takes effect later in some of them.
    pub(crate) async fn pause(&self) {
        self.signal_tree(Signal::STOP);
        let deadline = Instant::now() + PAUSE_TIMEOUT;
        while tree(self.pid.as_raw_nonzero().get()).into_iter().any(has_running_threads)
            && Instant::now() < deadline
        {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends a [`Program::pause`].
    pub(crate) fn unpause(&self) {
        self.signal_tree(Signal::CONT);
    }

    /// Sends `signal` to the program (with `tree`: and all its descendants) and waits until they have ended; kills
    /// what is left after `timeout`.
    pub(crate) async fn end(self, signal: Signal, whole_tree: bool, timeout: Duration) {
        let members = tree(self.pid.as_raw_nonzero().get());
        self.signal_tree(Signal::CONT);
        if whole_tree {
            self.signal_tree(signal);
        } else {
            self.signal(signal);
        }
        let deadline = Instant::now() + timeout;
        while members.iter().any(|pid| is_running(*pid)) && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        // The supervisor kills what is left, in Drop.
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // The supervisor ends in time; if it did not, nothing could be done about it.
        let _ = self.supervisor.wait();
    }
}

/// The last lines of a log file.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

fn failure(name: &str, problem: &str, log: &Path) -> Error {
    Error::Start { program: name.to_owned(), problem: problem.to_owned(), log: tail(log) }
}

/// Whether a process exists and is not a zombie.
fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        // The name in parentheses may hold anything; the state follows the last one.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
    })
}

/// Whether a thread of a process is neither stopped nor at its end.
fn has_running_threads(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.into_iter().any(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['T', 't', 'Z', 'X']))
    })
}

/// A process and its descendants, parents before children.
///
/// By each process's parent, not by the kernel's lists of children: those leave some out while others of them end
/// (proc(5), `/proc/pid/task/tid/children`).
fn tree(root: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the state and the parent follow the last one.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
