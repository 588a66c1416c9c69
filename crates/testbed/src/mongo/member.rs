//! One mongod: its process, its data, its log.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::Mutex;

use crate::account::Account;
use crate::components::MongoInstallation;
use crate::error::{Error, Result};
use crate::ports;
use crate::process::{Program, Spec};

/// A start takes half a second; a loaded machine with many servers may need much longer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// The number of the log message "Waiting for connections".
const LISTENING: &str = "\"id\":23016,";
/// The number of the log message "Failed to set up listener", which means that the port is taken.
const NOT_LISTENING: &str = "\"id\":20568,";

/// One member of a deployment.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) port: u16,
    pub(super) dir: PathBuf,
    /// What follows on the command line after port, data and TLS.
    pub(super) args: Vec<String>,
    pub(super) program: Mutex<Option<Program>>,
}

impl Member {
    /// Starts the process for the first time, on another port when the one it was given is taken meanwhile.
    pub(super) async fn create(&mut self, installation: &MongoInstallation, account: Account) -> Result<()> {
        for _ in 0..10 {
            match self.launch(installation, account).await {
                Ok(program) => {
                    *self.program.get_mut() = Some(program);
                    return Ok(());
                }
                Err(Error::Start { log, .. }) if log.contains(NOT_LISTENING) => self.port = ports::free()?,
                Err(error) => return Err(error),
            }
        }
        let detail = "ten ports in a row were taken".to_owned();
        Err(Error::Build { component: "MongoDB".to_owned(), detail })
    }

    /// Starts the process again unless it runs.
    pub(super) async fn start_again(&self, installation: &MongoInstallation, account: Account) -> Result<()> {
        let mut slot = self.program.lock().await;
        if !slot.as_ref().is_some_and(Program::is_running) {
            *slot = None;
            *slot = Some(self.launch(installation, account).await?);
        }
        Ok(())
    }

    /// Ends the process with `signal` and waits for it.
    pub(super) async fn end(&self, signal: Signal) {
        if let Some(program) = self.program.lock().await.take() {
            program.end(signal, true, STOP_TIMEOUT).await;
        }
    }

    /// Stops all threads of the process.
    pub(super) async fn pause(&self) {
        if let Some(program) = self.program.lock().await.as_ref() {
            program.pause().await;
        }
    }

    /// Ends a pause.
    pub(super) async fn unpause(&self) {
        if let Some(program) = self.program.lock().await.as_ref() {
            program.unpause();
        }
    }

    pub(super) async fn is_running(&self) -> bool {
        self.program.lock().await.as_ref().is_some_and(Program::is_running)
    }

    pub(super) fn log(&self) -> String {
        read(&self.log_path())
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    async fn launch(&self, installation: &MongoInstallation, account: Account) -> Result<Program> {
        let log = self.log_path();
        // What an earlier start wrote must not be taken for this one's.
        let written = fs::metadata(&log).map_or(0, |file| usize::try_from(file.len()).unwrap_or(0));
        let mut args = vec!["--port".to_owned(), self.port.to_string()];
        args.extend(["--dbpath".to_owned(), self.dir.join("data").display().to_string()]);
        args.extend(self.args.iter().cloned());
        let mut env = vec![("LC_ALL", "C".to_owned()), ("TZ", "UTC".to_owned())];
        env.extend(installation.environment.iter().cloned());
        env.push(("HOME", self.dir.display().to_string()));
        let program = Program::start(Spec {
            name: "MongoDB",
            program: &installation.program,
            args,
            env,
            dir: &self.dir,
            log: log.clone(),
            account,
            // Nobody needs the data.
            end_signal: "KILL",
        })?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if read(&log).get(written..).is_some_and(|new| new.contains(LISTENING)) {
                return Ok(program);
            }
            if !program.is_running() {
                return Err(program.failure("ended while starting"));
            }
            if Instant::now() > deadline {
                return Err(program.failure("was not ready in time"));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
