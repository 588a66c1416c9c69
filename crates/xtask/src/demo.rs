//! `cargo xtask demo`: a guided tour on real components, which checks everything that it shows.

mod chapters;
mod mongodb;
mod mongosh;
mod postgres;
mod psql;
mod shell;
mod stage;
mod tour;

use std::any::Any;
use std::time::Instant;

use anyhow::{Context, bail};
use rolecall_testbed::progress::duration;
use rolecall_testbed::{Mongo, Postgres};
use rolecall_xtask::operator;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
}

/// Runs the demo and cleans up after it, whatever happens.
///
/// # Errors
/// When something cannot be built or started, a step does not show what it should, or somebody interrupts.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mongodb = args.mongodb;
    let prepared = tokio::task::spawn_blocking(move || stage::prepare(mongodb)).await;
    let binary = prepared.context("preparing the components")??;
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
async fn play(binary: std::path::PathBuf, args: &Args) -> anyhow::Result<Option<Box<dyn Any + Send>>> {
    let started = Instant::now();
    if args.mongodb {
        let mut stage = Stage::mongodb(binary).await?;
        let told = mongodb::tell(&mut stage).await;
        let summary = "- A DatabaseSession made a database user with what policy gives and a certificate that ends with the session.\n\
             - Deleting it took the rights away at once, also from the open connection, and waited for what still ran.\n\
             - The account stays, locked and without roles, because the role says `createDbUserMode: Keep`.";
        return finish(stage, told, started, args, summary, mongodb_lines);
    }
    let mut stage = Stage::postgres(binary).await?;
    let told = postgres::tell(&mut stage).await;
    let summary = "- A DatabaseSession made a database user with what policy gives and a certificate that ends with the session.\n\
         - Deleting it closed the login, took all rights away, ended the open connection and read that back.\n\
         - The account stays, disabled, because the role says `createDbUserMode: Keep`: what it owns is kept.";
    finish(stage, told, started, args, summary, postgres_lines)
}

/// Says what happened, and how to go on by hand.
fn finish<S: Send + 'static>(
    stage: Stage<S>,
    told: anyhow::Result<()>,
    started: Instant,
    args: &Args,
    summary: &str,
    lines: impl Fn(&Stage<S>) -> Vec<String>,
) -> anyhow::Result<Option<Box<dyn Any + Send>>> {
    if let Err(error) = told {
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
    tour.say(summary);
    if !args.keep {
        tour.headline("Play on");
        let mongodb = if args.mongodb { " --mongodb" } else { "" };
        tour.say(&format!("cargo xtask demo{mongodb} --keep      the same, and leaves everything running"));
        return Ok(None);
    }
    play_on(&stage, &lines(&stage));
    Ok(Some(Box::new(stage)))
}

fn postgres_lines(stage: &Stage<Postgres>) -> Vec<String> {
    vec![
        format!("export ALICE=\"{}\"", stage.shell.variable(psql::ALICE)),
        format!("export SUPERUSER=\"{}\"", stage.shell.variable(psql::SUPERUSER)),
        format!("{}   # a new key and certificate each time", postgres::SAVE),
        "psql \"$ALICE\"".to_owned(),
    ]
}

fn mongodb_lines(stage: &Stage<Mongo>) -> Vec<String> {
    let superuser = mongosh::Who::Superuser.variable();
    vec![
        format!("export {superuser}=\"{}\"", stage.shell.variable(superuser)),
        format!("{}   # a new key and certificate each time", mongodb::SAVE),
        mongodb::CONNECT.to_owned(),
        "mongosh \"$ALICE\"".to_owned(),
    ]
}

/// How to go on by hand. `lines` are those of the database.
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
