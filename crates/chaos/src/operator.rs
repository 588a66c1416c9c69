//! The operator as processes of its real program: started, armed, killed, frozen, several at once.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rolecall_testbed::{components, environment};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A start takes a second; a loaded machine, and an API server that was just started, may need much longer.
const TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);
/// What the log says once it works, and when it leads.
const READY: &str = "rolecall_operator: ready";
const LEADS: &str = "leader: leading";
/// It works without a Lease.
const ALONE: [&str; 1] = ["--leader-elect=false"];
/// Also one that needs no Lease reads it: somebody may ask on it to uninstall.
const LEASES: &str = "--leader-election-namespace=rolecall-system";
/// How much of the logs is shown with a violation: lines about it, and the last ones; of so many processes.
const SHOWN: (usize, usize) = (40, 20);
const PROCESSES: usize = 3;

/// How operators are started, and the one that works now.
#[derive(Debug)]
pub struct Operators {
    binary: PathBuf,
    kubeconfig: PathBuf,
    flags: Vec<String>,
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
    /// None runs yet. All of them get these flags beside the usual ones.
    ///
    /// # Errors
    /// When there is no place for logs.
    pub fn new(binary: &Path, kubeconfig: PathBuf, flags: Vec<String>) -> Result<Self> {
        let logs = tempfile::Builder::new().prefix("rolecall-chaos-").tempdir()?;
        let binary = binary.to_owned();
        Ok(Self { binary, kubeconfig, flags, logs, started: AtomicUsize::new(0), current: None })
    }

    /// Starts one more, with flags and variables beside the usual ones. `ROLECALL_KILL_POINT` arms it: see `kill_point` of
    /// the contract's crate.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&self, flags: &[&str], variables: &[(&str, &str)]) -> Result<Process> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.log(number);
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("operator.sh"), "rolecall-operator"])
            .arg(&log)
            .arg(&self.binary)
            .args(["--listen=127.0.0.1:0", LEASES])
            .args(&self.flags)
            .args(flags)
            .env_clear()
            .envs(environment(self.logs.path()))
            .env("KUBECONFIG", &self.kubeconfig)
            .env(
                "ROLECALL_LOG",
                "info,rolecall_operator=debug,rolecall_postgres=debug,rolecall_mongodb=debug",
            )
            .envs(variables.iter().copied())
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
        let armed = armed.map(|armed| ("ROLECALL_KILL_POINT", armed));
        self.start(&ALONE, armed.as_slice())
    }

    /// Starts one as it works between faults, whose clock is ahead by what stands in a file, in seconds, at any time.
    ///
    /// # Errors
    /// When the program cannot be started, or the library for it cannot be fetched.
    pub fn start_with_clock(&self, ahead: &Path) -> Result<Process> {
        let library = components::faketime()?.display().to_string();
        let variables = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", &ahead.display().to_string()),
            ("FAKETIME_NO_CACHE", "1"),
            // Only what clocks on walls show.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        self.start(&ALONE, &variables)
    }

    /// The folder of the logs, for what belongs to operators.
    pub fn folder(&self) -> &Path {
        self.logs.path()
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

    /// What the last operators wrote about these things, and what they wrote last; a bounded number of lines.
    pub fn log_about(&self, words: &[&str]) -> String {
        let started = self.started.load(Ordering::Relaxed);
        let mut lines = Vec::new();
        for number in started.saturating_sub(PROCESSES)..started {
            let text = read(&self.log(number));
            lines.extend(text.lines().map(|line| format!("[{number}] {line}")));
        }
        let (about, last) = SHOWN;
        let of_words = |line: &&String| words.iter().any(|word| line.contains(word));
        let rest = lines.split_off(lines.len().saturating_sub(last));
        let about: Vec<&String> = lines.iter().rev().filter(of_words).take(about).collect();
        let shown: Vec<&str> = about.into_iter().rev().chain(&rest).map(String::as_str).collect();
        shown.join("\n")
    }

    fn log(&self, number: usize) -> PathBuf {
        self.logs.path().join(format!("{number:05}.log"))
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
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
        read(&self.log)
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
