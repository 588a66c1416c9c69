//! `cargo xtask demo`: a guided tour on real components, which checks everything that it shows.

mod psql;
mod shell;
mod stage;
mod story;
mod tour;

use std::time::Instant;

use anyhow::{Context, bail};
use rolecall_testbed::progress::duration;
use rolecall_xtask::operator;
use tokio::signal::unix::{Signal, SignalKind, signal};

use stage::Stage;

/// Options of the demo.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Leave everything running at the end, to play on, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

/// Runs the demo and cleans up after it, whatever happens.
///
/// # Errors
/// When something cannot be built or started, a step does not show what it should, or somebody interrupts.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let binary = tokio::task::spawn_blocking(stage::prepare).await.context("preparing the components")??;
    // From here on, an interrupt stops the servers in order. Before, there are none.
    let mut stop = Stop::new()?;
    tokio::select! {
        done = play(binary, &args) => match done? {
            Some(_stage) => stop.wait().await,
            None => return Ok(()),
        },
        () = stop.wait() => bail!("interrupted; everything is stopped and removed"),
    }
    println!("\nstopped");
    Ok(())
}

/// Plays once. What is left running is returned.
async fn play(binary: std::path::PathBuf, args: &Args) -> anyhow::Result<Option<Stage>> {
    let started = Instant::now();
    let mut stage = Stage::set(binary).await?;
    if let Err(error) = story::tell(&mut stage).await {
        if let Some(operator) = &stage.operator {
            eprintln!("\nThe end of the operator's log:\n{}", operator::tail(operator.log(), 25));
        }
        return Err(error);
    }
    let tour = &stage.tour;
    tour.headline(&format!(
        "All of it in {}, on real components. What happened:",
        duration(started.elapsed())
    ));
    tour.say(
        "- A DatabaseSession made a database user with one role and a certificate that ends with the session.\n\
         - Deleting it closed the login, took the role away, ended the open connection and read that back.\n\
         - The account stays, disabled, because the role says `createDbUserMode: Keep`: what it owns is kept.",
    );
    if !args.keep {
        tour.headline("Play on");
        tour.say("cargo xtask demo --keep      the same, and leaves everything running");
        return Ok(None);
    }
    play_on(&stage);
    Ok(Some(stage))
}

/// How to go on by hand.
fn play_on(stage: &Stage) {
    let tour = &stage.tour;
    let kubectl = stage.cluster.kubectl_path();
    tour.headline("Play on, in another terminal");
    for line in [
        format!("export KUBECONFIG={}", stage.shell.variable("KUBECONFIG")),
        format!("export PATH={}:$PATH", kubectl.parent().unwrap_or(&kubectl).display()),
        format!("export DEMO={}", stage.dir().display()),
        format!("export ALICE=\"{}\"", stage.shell.variable(psql::ALICE)),
        format!("export SUPERUSER=\"{}\"", stage.shell.variable(psql::SUPERUSER)),
        "kubectl apply -f $DEMO/database_session.yaml    # a new session".to_owned(),
        "kubectl get dbs --watch".to_owned(),
        format!("{}   # a new key and certificate each time", story::SAVE),
        "psql \"$ALICE\"".to_owned(),
        "kubectl patch dbu alice --type=merge -p '{\"spec\":{\"suspend\":true}}'    # ends every session of alice".to_owned(),
        "kubectl get events --sort-by=.lastTimestamp".to_owned(),
        "kubectl explain databasesession.spec".to_owned(),
        "less $DEMO/operator.log".to_owned(),
    ] {
        tour.command(&line);
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
