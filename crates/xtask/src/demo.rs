//! `cargo xtask demo`: a guided tour on real components, which checks everything that it shows.

mod chapters;
mod mongodb;
mod mongosh;
mod postgres;
mod psql;
mod redshift;
mod shell;
mod stage;
mod tour;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use rolecall_testbed::progress::duration;
use rolecall_testbed::{Mongo, Postgres};
use rolecall_xtask::operator;
use tokio::signal::unix::{Signal, SignalKind, signal};

use chapters::Story;
use stage::Stage;

/// Options of the demo.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Leave everything running at the end, to play on, until Ctrl-C.
    #[arg(long)]
    pub(crate) keep: bool,

    /// On a MongoDB instead of a PostgreSQL.
    #[arg(long)]
    pub(crate) mongodb: bool,

    /// On a simulator of Amazon Redshift.
    #[arg(long, conflicts_with = "mongodb")]
    pub(crate) redshift: bool,
}

/// Runs the demo and cleans up after it, whatever happens.
///
/// # Errors
/// When something cannot be built or started, a step does not show what it should, or somebody interrupts.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match (args.mongodb, args.redshift) {
        (true, _) => run_on::<Mongo>(&args).await,
        (_, true) => run_on::<redshift::Simulator>(&args).await,
        _ => run_on::<Postgres>(&args).await,
    }
}

async fn run_on<S: Story>(args: &Args) -> anyhow::Result<()> {
    let prepared = tokio::task::spawn_blocking(chapters::prepare::<S>).await;
    let binary = prepared.context("preparing the components")??;
    // From here on, an interrupt stops the servers in order. Before, there are none.
    let mut stop = Stop::new()?;
    tokio::select! {
        done = play::<S>(binary, args) => match done? {
            Some(_stage) => stop.wait().await,
            None => return Ok(()),
        },
        () = stop.wait() => bail!("interrupted; everything is stopped and removed"),
    }
    println!("\nstopped");
    Ok(())
}

/// Plays once, says what happened and how to continue by hand. Returns what is left running.
async fn play<S: Story>(binary: PathBuf, args: &Args) -> anyhow::Result<Option<Stage<S>>> {
    let started = Instant::now();
    let mut stage = S::start(binary).await?;
    if let Err(error) = S::play(&mut stage).await {
        if let Some(operator) = &stage.operator {
            eprintln!("\nThe end of the operator's log:\n{}", operator::tail(operator.log(), 25));
        }
        return Err(error);
    }
    let tour = &stage.tour;
    tour.headline(&format!("All of it in {}, on {}. What happened:", duration(started.elapsed()), S::RUN_ON));
    tour.say(S::SUMMARY);
    if !args.keep {
        tour.headline("Play on");
        let on = match (args.mongodb, args.redshift) {
            (true, _) => " --mongodb",
            (_, true) => " --redshift",
            _ => "",
        };
        tour.say(&format!("cargo xtask demo{on} --keep      the same, and leaves everything running"));
        return Ok(None);
    }
    play_on(&stage, &S::lines(&stage));
    Ok(Some(stage))
}

/// How to continue by hand. `lines` are those of the database.
fn play_on<S>(stage: &Stage<S>, lines: &[String]) {
    let tour = &stage.tour;
    let kubectl = stage.cluster.kubectl_path();
    tour.headline("Play on, in another terminal");
    for line in [
        format!("export KUBECONFIG={}", stage.shell.variable("KUBECONFIG")),
        format!("export PATH={}:$PATH", kubectl.parent().unwrap_or(&kubectl).display()),
        format!("export DEMO={}", stage.dir().display()),
        "kubectl apply -f $DEMO/database_session.yaml    # a new session".to_owned(),
        "kubectl get dbs --watch".to_owned(),
    ] {
        tour.command(&line);
    }
    for line in lines {
        tour.command(line);
    }
    for line in [
        "kubectl patch dbu alice --type=merge -p '{\"spec\":{\"suspend\":true}}'    # ends every session of alice",
        "kubectl get events --sort-by=.lastTimestamp",
        "kubectl explain databasesession.spec",
        "less $DEMO/operator.log",
    ] {
        tour.command(line);
    }
    if let Some(operator) = &stage.operator {
        tour.command(&format!("curl http://{}/metrics", operator.address()));
    }
    tour.headline("Ctrl-C here stops and removes everything.");
}

/// What ends the demo early.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
