//! The operator as processes of its real program: started, armed, killed, frozen, several at once.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rolecall_testbed::environment;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A start takes a second; a loaded machine, and an API server that was just started, may need much longer.
const TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);
/// What the log says once it works, and when it leads.
const READY: &str = "rolecall_operator: ready";
const LEADS: &str = "leader: leading";
/// Also one that needs no Lease reads it: somebody may ask on it to uninstall.
const LEASES: &str = "--leader-election-namespace=rolecall-system";
/// How much of a log is shown with a violation.
const SHOWN: usize = 150;

/// How operators are started, and the one that works now.
#[derive(Debug)]
pub struct Operators {
    binary: PathBuf,
    kubeconfig: PathBuf,
    logs: TempDir,
    started: AtomicUsize,
    /// The one that works between faults.
    pub current: Option<Process>,
}

/// A running operator. It is killed when this value is dropped, and also when this process dies.
#[derive(Debug)]
pub struct Process {
    supervisor: Child,
    pid: Pid,
    log: PathBuf,
}

impl Operators {
    /// None runs yet.
    ///
    /// # Errors
    /// When there is no place for logs.
    pub fn new(binary: &Path, kubeconfig: PathBuf) -> Result<Self> {
        let logs = tempfile::Builder::new().prefix("rolecall-chaos-").tempdir()?;
        let binary = binary.to_owned();
        Ok(Self { binary, kubeconfig, logs, started: AtomicUsize::new(0), current: None })
    }

    /// Starts one more, with flags beside the usual ones, and armed: see `kill_point` of the contract's crate.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&self, flags: &[&str], armed: Option<&str>) -> Result<Process> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.logs.path().join(format!("{number:05}.log"));
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("operator.sh"), "rolecall-operator"])
            .arg(&log)
            .arg(&self.binary)
            .args(["--listen=127.0.0.1:0", "--resync-interval=5s", LEASES])
            .args(flags)
            .env_clear()
            .envs(environment(self.logs.path()))
            .env("KUBECONFIG", &self.kubeconfig)
            .env(
                "ROLECALL_LOG",
                "info,rolecall_operator=debug,rolecall_postgres=debug,rolecall_mongodb=debug",
            )
            .envs(armed.map(|armed| ("ROLECALL_KILL_POINT", armed)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal goes to the whole group; this one ends when its owner does.
            .process_group(0);
        let mut supervisor = command.spawn().context("starting the operator")?;
        let mut line = String::new();
        if let Some(stdout) = supervisor.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).context("starting the operator")?;
        }
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.context("the shell that starts the operator named no process")?;
        Ok(Process { supervisor, pid, log })
    }

    /// Starts one as it works between faults: alone, without a Lease.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_alone(&self, armed: Option<&str>) -> Result<Process> {
        self.start(&["--leader-elect=false"], armed)
    }

    /// Whatever runs ends at once, and one that works takes its place.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        drop(self.current.take());
        let process = self.start_alone(None)?;
        process.ready().await?;
        self.current = Some(process);
        Ok(())
    }

    /// The end of the log of the operator that works now.
    pub fn log_since_last(&self) -> String {
        self.current.as_ref().map_or_else(String::new, |current| {
            let text = current.text();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(SHOWN)..].join("\n")
        })
    }
}

impl Process {
    /// Sends it a signal; whether it still ran.
    pub fn signal(&self, signal: Signal) -> bool {
        self.is_running() && kill_process(self.pid, signal).is_ok()
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.state().is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// Whether it is frozen.
    pub fn is_stopped(&self) -> bool {
        self.state() == Some('T')
    }

    /// What it wrote so far.
    pub fn text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The kill point that it reached, as it said itself.
    pub fn kill_point(&self) -> Option<String> {
        let text = self.text();
        let line = text.lines().find_map(|line| line.strip_prefix("kill point "))?;
        Some(line.to_owned())
    }

    /// Waits until it works.
    ///
    /// # Errors
    /// When it does not in time, or has ended.
    pub async fn ready(&self) -> Result<()> {
        self.says(READY).await
    }

    /// Waits until it has the lead.
    ///
    /// # Errors
    /// When it has not in time, or has ended.
    pub async fn leads(&self) -> Result<()> {
        self.says(LEADS).await
    }

    /// Waits until it has ended or is frozen, for so long at most.
    pub async fn until_hit(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_running() && !self.is_stopped() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    async fn says(&self, what: &str) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        while !self.text().contains(what) {
            ensure!(self.is_running(), "the operator ended:\n{}", self.text());
            ensure!(Instant::now() < deadline, "the operator did not write {what:?}:\n{}", self.text());
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero())).ok()?;
        // The name in parentheses may hold anything; the state follows the last one.
        stat.rsplit_once(") ")?.1.chars().next()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // The supervisor ends in time; if it did not, nothing could be done about it.
        let _ = self.supervisor.wait();
    }
}
