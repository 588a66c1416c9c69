//! The operator in this process, on its own threads, so that it can be stopped or crashed.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{CommandFactory, FromArgMatches};
use kube::Config;
use rolecall_operator::args::Args;
use rolecall_operator::ledger::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing::Dispatch;
use tracing::dispatcher;

use crate::audit::AuditFile;
use crate::cluster;
use crate::log::Log;

/// What operators of tests log. Secrets must not be in it at any level: one test asks for more.
pub const FILTER: &str = "info,rolecall_operator=debug,rolecall_engine=debug,rolecall_postgres=debug,rolecall_mongodb=debug,rolecall_pki=debug";

/// A running operator. Dropping it is a crash.
#[derive(Debug)]
pub struct Operator {
    log: Log,
    audit: AuditFile,
    stop: CancellationToken,
    crash: CancellationToken,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Operator {
    /// Starts an operator with the rights of its service account.
    ///
    /// # Errors
    /// When it cannot be started. [`Operator::stop`] reports that it ended by itself later.
    pub async fn start(flags: &[String], filter: &str) -> Result<Self> {
        Self::start_with(cluster::operator_config().await?, flags, filter)
    }

    /// As [`Operator::start`], with another way to the API server.
    ///
    /// # Errors
    /// As [`Operator::start`].
    pub fn start_with(config: Config, flags: &[String], filter: &str) -> Result<Self> {
        let mut args = parse(flags)?;
        let audit = AuditFile::default();
        if args.audit_log == Target::Stderr {
            args.audit_log = Target::File(audit.path().to_owned());
        }
        let log = Log::default();
        let subscriber = rolecall_operator::log::subscriber(filter, args.log_format, false, log.clone())?;
        let dispatch = Dispatch::new(subscriber);
        let runtime = runtime(&dispatch)?;
        let (stop, crash) = (CancellationToken::new(), CancellationToken::new());
        let (stopping, crashing) = (stop.clone(), crash.clone());
        let body = move || {
            dispatcher::with_default(&dispatch, || {
                let result = runtime.block_on(async {
                    tokio::select! {
                        result = rolecall_operator::run_with(config, args, stopping) => result,
                        () = crashing.cancelled() => Err(anyhow!("crashed")),
                    }
                });
                // As in a crash, nothing that is under way is waited for.
                runtime.shutdown_background();
                result
            })
        };
        let thread = std::thread::Builder::new().name("operator".to_owned()).spawn(body)?;
        Ok(Self { log, audit, stop, crash, thread: Some(thread) })
    }

    /// What it wrote so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The audit log that it wrote so far, where no flag says that it goes elsewhere.
    pub fn audit(&self) -> &AuditFile {
        &self.audit
    }

    /// Waits until it has listed everything and works.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ready(&self) -> Result<()> {
        self.log.wait_for("rolecall_operator: ready").await
    }

    /// Ends it as SIGTERM does and waits for its end.
    ///
    /// # Errors
    /// What the operator ended with.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        self.join().await
    }

    /// Ends it at once, whatever it is doing.
    pub async fn crash(mut self) {
        self.crash.cancel();
        let _ = self.join().await;
    }

    /// Waits until it has ended, without stopping it.
    ///
    /// # Errors
    /// What the operator ended with, or that it still runs.
    pub async fn ended(mut self) -> Result<()> {
        let ends = async {
            while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
                // A thread cannot be watched.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(crate::TIMEOUT, ends)
            .await
            .with_context(|| format!("the operator still runs. Its log:\n{}", self.log.text()))?;
        self.join().await
    }

    /// Answer to an HTTP request: status line and headers, then the body.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> Result<String> {
        get(self.log.address().await?, path).await
    }

    /// As [`Operator::get`], with what is accepted for an answer.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get_as(&self, path: &str, accept: &str) -> Result<String> {
        ask(self.log.address().await?, path, &format!("Accept: {accept}\r\n")).await
    }

    async fn join(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
        joined.map_err(|_| anyhow!("the operator panicked. Its log:\n{}", self.log.text()))?
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.crash.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The operator's flags, without what the caller's environment says of them.
fn parse(flags: &[String]) -> Result<Args> {
    let command = Args::command().mut_args(|argument| match argument.get_env() {
        // A variable that is never set: clap cannot remove one from a flag.
        Some(_) => argument.env("ROLECALL_UNSET"),
        None => argument,
    });
    let flags = std::iter::once("rolecall-operator".to_owned()).chain(flags.iter().cloned());
    Ok(Args::from_arg_matches(&command.try_get_matches_from(flags)?)?)
}

/// Answer to an HTTP request: status line and headers, then the body.
///
/// # Errors
/// When there is no answer.
pub async fn get(address: SocketAddr, path: &str) -> Result<String> {
    ask(address, path, "").await
}

async fn ask(address: SocketAddr, path: &str, headers: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Two workers, as on a small node; every thread of it writes to this operator's log and to no other.
fn runtime(dispatch: &Dispatch) -> Result<Runtime> {
    let dispatch = dispatch.clone();
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || std::mem::forget(dispatcher::set_default(&dispatch)))
        .build()?)
}
