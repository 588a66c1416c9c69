//! `rolecall-operator`: parses flags, installs the TLS provider, the log and the signals, and runs.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::Parser;
use rolecall_operator::args::{Args, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::util::SubscriberInitExt;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // One TLS provider for everything; installing it twice is the only way to fail, and this is the first line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    if let Some(command) = &args.command {
        return run(command, &args).await;
    }
    let _traces = log_to_stderr(&args)?;
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    rolecall_operator::run(args, stop).await
}

async fn run(command: &Command, args: &Args) -> anyhow::Result<()> {
    let text = match command {
        Command::Crds => rolecall_api::crds_yaml().context("rendering the definitions")?,
        Command::Probe { url, timeout } => rolecall_operator::probe::run(url, *timeout).await?,
        Command::PrepareUninstall { timeout, kinds_too, release, finalizer_binding, force } => {
            let options = rolecall_operator::uninstall::Options {
                namespaces: args.watch_namespace.clone(),
                lease_namespace: args.leader_election_namespace.clone(),
                timeout: *timeout,
                kinds_too: *kinds_too,
                release: release.clone(),
                finalizer_binding: finalizer_binding.clone(),
                force: *force,
            };
            let stop = CancellationToken::new();
            stop_on_signals(&stop)?;
            // Whether anybody reads the progress changes nothing.
            let mut say = |line: String| drop(writeln!(std::io::stdout(), "{}", line.trim_end()));
            rolecall_operator::uninstall::run(&options, &mut say, &stop).await? + "\n"
        }
    };
    std::io::stdout().write_all(text.as_bytes()).context("writing to standard output")
}

/// Sends traces for as long as it lives.
#[cfg(feature = "otlp")]
type Traces = Option<rolecall_operator::traces::Traces>;
#[cfg(not(feature = "otlp"))]
struct Traces;

fn log_to_stderr(args: &Args) -> anyhow::Result<Traces> {
    let ansi = std::io::stderr().is_terminal();
    let subscriber = rolecall_operator::log::subscriber(&args.log, args.log_format, ansi, std::io::stderr)
        .context("reading --log")?;
    #[cfg(feature = "otlp")]
    {
        let traces = rolecall_operator::traces::Traces::from_environment()?;
        let layer = traces.as_ref().map(|traces| traces.layer());
        tracing_subscriber::layer::SubscriberExt::with(subscriber, layer)
            .try_init()
            .context("starting the log")?;
        Ok(traces)
    }
    #[cfg(not(feature = "otlp"))]
    {
        subscriber.try_init().context("starting the log")?;
        Ok(Traces)
    }
}

fn stop_on_signals(stop: &CancellationToken) -> anyhow::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("listening for signals")?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
            // A second signal means at once.
            signals.recv().await;
            std::process::exit(130);
        });
    }
    Ok(())
}
