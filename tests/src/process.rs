//! The real program, for what only a process can show: signals, exit codes, a crash without any destructor.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};

use anyhow::{Context, Result, ensure};
use rolecall_testbed::{Identity, environment};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use crate::cluster;
use crate::log::Log;
use crate::operator::FILTER;

/// A running `rolecall-operator`. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Log,
}

impl Process {
    /// Starts the program with the rights of its service account, and with these environment variables.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub async fn start(flags: &[String], variables: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(cluster::operator_kubeconfig().await?, flags, variables).await
    }

    /// As [`Process::start`], as whom a kubeconfig says.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub async fn start_as(kubeconfig: &str, flags: &[String]) -> Result<Self> {
        Self::start_with(kubeconfig, flags, &[]).await
    }

    async fn start_with(kubeconfig: &str, flags: &[String], variables: &[(&str, &str)]) -> Result<Self> {
        let file = temporary_kubeconfig(kubeconfig)?;
        let mut command = Command::new(program().await?);
        command
            .args(flags)
            .env_clear()
            .envs(environment(&std::env::temp_dir()))
            .env("KUBECONFIG", &file)
            .env("ROLECALL_LOG", FILTER)
            .envs(variables.iter().copied());
        let started = Self::of(command).await;
        // It has been read by now, and nothing else should be.
        std::fs::remove_file(&file)?;
        started
    }

    /// Starts an operator by another command, and waits until it serves its probes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn of(mut command: Command) -> Result<Self> {
        let log = Log::default();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting rolecall-operator")?;
        let mut stderr = child.stderr.take().context("its standard error")?;
        let writer = log.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 8192];
            while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
                writer.append(&buffer[..length]);
            }
        });
        log.address().await?;
        Ok(Self { child, log })
    }

    /// What it wrote so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(kill_process(id.context("the operator has ended")?, signal)?)
    }

    /// Stops it as a kubelet does, and waits for its end.
    ///
    /// # Errors
    /// When it does not end in time, or with a failure.
    pub async fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.ended().await?;
        ensure!(status.success(), "{status}. Its log:\n{}", self.log.text());
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        tokio::time::timeout(crate::TIMEOUT, self.child.wait())
            .await
            .with_context(|| format!("the operator still runs. Its log:\n{}", self.log.text()))?
            .context("waiting for the operator")
    }
}

/// Runs another command of the program, as whom a kubeconfig says, and waits until it has ended.
///
/// # Errors
/// When it cannot be built or started.
pub async fn run_operator(kubeconfig: &str, args: &[String]) -> Result<Output> {
    let file = temporary_kubeconfig(kubeconfig)?;
    let mut command = Command::new(program().await?);
    command.args(args).env_clear().envs(environment(&std::env::temp_dir())).env("KUBECONFIG", &file);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    std::fs::remove_file(&file)?;
    output.context("starting rolecall-operator")
}

fn temporary_kubeconfig(text: &str) -> Result<PathBuf> {
    let name = format!("rolecall-{}-{:08x}.kubeconfig", std::process::id(), rand::random::<u32>());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, text)?;
    Ok(file)
}

/// Runs `kubectl-rolecall` as somebody in the cluster, and waits until it has ended.
///
/// # Errors
/// When it cannot be built or started.
pub async fn kubectl_rolecall(identity: &Identity, args: &[&str]) -> Result<Output> {
    let mut command = kubectl_rolecall_command(identity).await?;
    command.args(args).output().await.context("starting kubectl-rolecall")
}

/// `kubectl-rolecall` as somebody in the cluster.
///
/// # Errors
/// When it cannot be built.
pub async fn kubectl_rolecall_command(identity: &Identity) -> Result<Command> {
    let program = program_of_the_plugin().await?;
    let kubeconfig = cluster::cluster().await?.kubeconfig_file_for(identity).await?;
    let mut command = Command::new(program);
    command.env_clear().envs(environment(kubeconfig.parent().unwrap_or(Path::new("/"))));
    // Of every command.
    command.arg("--kubeconfig").arg(kubeconfig).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// The program `kubectl-rolecall`, by its path.
///
/// # Errors
/// When it cannot be built.
pub async fn program_of_the_plugin() -> Result<&'static PathBuf> {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    PROGRAM.get_or_try_init(|| build("kubectl-rolecall")).await
}

/// The program `rolecall-operator`, by its path.
///
/// # Errors
/// When it cannot be built.
pub async fn program() -> Result<&'static PathBuf> {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    PROGRAM.get_or_try_init(|| build("rolecall-operator")).await
}

/// A program, built from the sources as they are: an old one beside the tests would test nothing.
async fn build(program: &str) -> Result<PathBuf> {
    // target/PROFILE/deps/TEST: the program is next to `deps`.
    let test = std::env::current_exe()?;
    let directory = test.parent().and_then(|deps| deps.parent()).context("the target directory")?;
    let release = directory.ends_with("release");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Of the whole workspace: its dependencies then have the features that those of the tests have, and are not built anew.
    cargo.args(["build", "--quiet", "--workspace", "--bin", program]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if release {
        cargo.arg("--release");
    }
    let built = cargo.output().await.context("running cargo")?;
    let said = String::from_utf8_lossy(&built.stderr);
    ensure!(built.status.success(), "cargo build --bin {program} failed:\n{said}");
    Ok(directory.join(program))
}
