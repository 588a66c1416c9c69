//! Faults of database servers.

use std::time::Duration;

use anyhow::{Context, Result};
use rand::RngExt;
use rand::rngs::StdRng;
use rolecall_testbed::Postgres;

use super::{one_of, pass};
use crate::link::State;
use crate::world::{Server, World};

/// How long a statement on a slow server takes.
const LATE: Duration = Duration::from_secs(25);

fn choose<'a>(world: &'a World, random: &mut StdRng) -> (Server, &'a Postgres) {
    let server = one_of(random, &Server::POSTGRES);
    (server, &world.postgres[&server])
}

pub(super) async fn killed(world: &mut World, random: &mut StdRng) -> Result<String> {
    let (server, pg) = choose(world, random);
    pass(random, 0, 700).await;
    pg.kill().await;
    let time = pass(random, 100, 3_000).await;
    pg.start_again().await?;
    Ok(format!("{} for {time} ms", server.name()))
}

pub(super) async fn frozen(world: &mut World, random: &mut StdRng) -> Result<String> {
    let (server, pg) = choose(world, random);
    pass(random, 0, 700).await;
    pg.pause().await;
    let time = pass(random, 500, 15_000).await;
    pg.unpause().await;
    Ok(format!("{} for {time} ms", server.name()))
}

pub(super) async fn restarted(world: &mut World, random: &mut StdRng) -> Result<String> {
    let (server, pg) = choose(world, random);
    pass(random, 0, 700).await;
    pg.restart().await?;
    Ok(server.name().to_owned())
}

pub(super) async fn full(world: &mut World, random: &mut StdRng) -> Result<String> {
    let (server, pg) = choose(world, random);
    let mut held = Vec::new();
    // Those that are kept for superusers too. The operator's own may be given up now and then, and are taken then.
    while let Ok(client) = pg.superuser("postgres").await {
        held.push(client);
    }
    let mut time = 0;
    for _ in 0..random.random_range(2..6) {
        time += pass(random, 300, 700).await;
        held.extend(pg.superuser("postgres").await.ok());
    }
    let many = held.len();
    drop(held);
    // They end a moment later.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(format!("{}: {many} connections for {time} ms", server.name()))
}

pub(super) async fn read_only(world: &mut World, random: &mut StdRng) -> Result<String> {
    let (server, pg) = choose(world, random);
    let reload = "select pg_reload_conf()";
    pg.sql("postgres", "alter system set default_transaction_read_only = on").await?;
    pg.sql("postgres", reload).await?;
    let time = pass(random, 1_000, 5_000).await;
    let client = pg.superuser("postgres").await?;
    client.batch_execute("set default_transaction_read_only = off").await?;
    client.batch_execute("alter system reset default_transaction_read_only").await?;
    client.batch_execute(reload).await?;
    Ok(format!("{} for {time} ms", server.name()))
}

pub(super) async fn failed_over(world: &mut World, random: &mut StdRng) -> Result<String> {
    let standby = world.standby.take().context("no standby")?;
    standby.cut_off().await?;
    // What happens now is lost.
    let lost = pass(random, 200, 4_000).await;
    let primary = &world.postgres[&Server::Orders];
    let link = &world.links[&Server::Orders];
    link.set(State::Cut);
    primary.kill().await;
    standby.promote().await?;
    pass(random, 0, 1_000).await;
    link.lead_to(standby.port());
    link.set(State::Whole);
    world.postgres.insert(Server::Orders, standby);
    pass(random, 0, 1_000).await;
    // It is stopped for this, and starts again.
    world.standby = Some(world.postgres[&Server::Orders].standby().await?);
    Ok(format!("{lost} ms are lost"))
}

pub(super) async fn slow(world: &mut World, random: &mut StdRng) -> Result<String> {
    let link = &world.links[&Server::Archive];
    link.set(State::Slow(LATE));
    let time = pass(random, 20_000, 60_000).await;
    link.set(State::Whole);
    Ok(format!("for {time} ms"))
}

pub(super) async fn unreachable(world: &mut World, random: &mut StdRng) -> Result<String> {
    let server = one_of(random, &Server::POSTGRES);
    let state = if random.random_bool(0.5) { State::Cut } else { State::Silent };
    pass(random, 0, 700).await;
    world.links[&server].set(state);
    let time = pass(random, 500, 8_000).await;
    world.links[&server].set(State::Whole);
    Ok(format!("{} {state:?} for {time} ms", server.name()))
}

pub(super) async fn election(world: &mut World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    let primary = world.mongo.step_down().await?;
    Ok(format!("to member {primary}"))
}

pub(super) async fn primary_killed(world: &mut World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    let primary = world.mongo.primary().await?.context("no primary")?;
    world.mongo.kill(primary).await;
    let time = pass(random, 500, 6_000).await;
    world.mongo.start_again(primary).await?;
    Ok(format!("member {primary} for {time} ms"))
}

pub(super) async fn primary_frozen(world: &mut World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    let primary = world.mongo.primary().await?.context("no primary")?;
    world.mongo.pause(primary).await;
    let time = pass(random, 500, 12_000).await;
    world.mongo.unpause(primary).await;
    Ok(format!("member {primary} for {time} ms"))
}
