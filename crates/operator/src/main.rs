//! `rolecall-operator`: parses flags, installs the TLS provider, the log and the signals, and runs.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::Parser;
use rolecall_operator::args::{Args, Command, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // One TLS provider for everything; installing it twice is the only way to fail, and this is the first line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    if let Some(Command::Crds) = args.command {
        let definitions = rolecall_api::crds_yaml().context("rendering the definitions")?;
        std::io::stdout().write_all(definitions.as_bytes()).context("writing the definitions")?;
        return Ok(());
    }
    log_to_stderr(&args)?;
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    rolecall_operator::run(args, stop).await
}

fn log_to_stderr(args: &Args) -> anyhow::Result<()> {
    // At debug the driver logs whole statements, password verifiers included: not even on request.
    let cap = "tokio_postgres=info".parse().context("capping the driver's log")?;
    let filter =
        tracing_subscriber::EnvFilter::try_new(&args.log).context("reading --log")?.add_directive(cap);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match args.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

fn stop_on_signals(stop: &CancellationToken) -> anyhow::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("listening for signals")?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
            // Somebody who says it twice means now.
            signals.recv().await;
            std::process::exit(130);
        });
    }
    Ok(())
}
