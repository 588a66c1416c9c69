//! Faults of database servers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::RngExt;
use rand::rngs::StdRng;
use rolecall_testbed::Postgres;

use super::{one_of, pass};
use crate::lane::Lane;
use crate::link::{Link, State};
use crate::server::{ADMIN, Server};
use crate::world::World;

/// How long a statement on a slow server takes.
const LATE: Duration = Duration::from_secs(25);
/// An election takes some seconds; a loaded machine may need longer.
const ELECTION: Duration = Duration::from_secs(60);

fn choose(world: &World, random: &mut StdRng) -> Result<(Server, Arc<Postgres>)> {
    let server = one_of(random, &Server::POSTGRES);
    Ok((server, world.postgres(server).context("no PostgreSQL")?))
}

pub(super) async fn killed(world: &World, random: &mut StdRng) -> Result<String> {
    let (server, pg) = choose(world, random)?;
    pass(random, 0, 700).await;
    pg.kill().await;
    let time = pass(random, 100, 3_000).await;
    pg.start_again().await?;
    Ok(format!("{} for {time} ms", server.name()))
}

pub(super) async fn frozen(world: &World, random: &mut StdRng) -> Result<String> {
    let (server, pg) = choose(world, random)?;
    pass(random, 0, 700).await;
    pg.pause().await;
    let time = pass(random, 500, 15_000).await;
    pg.unpause().await;
    Ok(format!("{} for {time} ms", server.name()))
}

pub(super) async fn restarted(world: &World, random: &mut StdRng) -> Result<String> {
    let (server, pg) = choose(world, random)?;
    pass(random, 0, 700).await;
    pg.restart().await?;
    Ok(server.name().to_owned())
}

pub(super) async fn full(world: &World, random: &mut StdRng) -> Result<String> {
    let (server, pg) = choose(world, random)?;
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

pub(super) async fn read_only(world: &World, random: &mut StdRng) -> Result<String> {
    let (server, pg) = choose(world, random)?;
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

pub(super) async fn failed_over(world: &World, random: &mut StdRng) -> Result<String> {
    let standby = world.standby.lock().await.take().context("no standby")?;
    standby.cut_off().await?;
    // What happens now is lost.
    let lost = pass(random, 200, 4_000).await;
    let primary = world.postgres(Server::Orders).context("no primary")?;
    let links = || world.ways.iter().filter_map(|ways| ways.servers.get(&Server::Orders));
    links().for_each(|link| link.set(State::Cut));
    primary.kill().await;
    standby.promote().await?;
    pass(random, 0, 1_000).await;
    for link in links() {
        link.lead_to(standby.port());
        link.set(State::Whole);
    }
    world.replace(Server::Orders, standby).await;
    drop(primary);
    pass(random, 0, 1_000).await;
    // It is stopped for this, and starts again.
    let primary = world.postgres(Server::Orders).context("no primary")?;
    *world.standby.lock().await = Some(primary.standby().await?);
    Ok(format!("{lost} ms are lost"))
}

pub(super) async fn slow(lane: &Lane, random: &mut StdRng) -> Result<String> {
    let link = link(lane, Server::Archive)?;
    link.set(State::Slow(LATE));
    let time = pass(random, 20_000, 60_000).await;
    link.set(State::Whole);
    Ok(format!("for {time} ms"))
}

pub(super) async fn unreachable(lane: &Lane, random: &mut StdRng) -> Result<String> {
    let server = one_of(random, &Server::POSTGRES);
    let state = if random.random_bool(0.5) { State::Cut } else { State::Silent };
    pass(random, 0, 700).await;
    let link = link(lane, server)?;
    link.set(state);
    let time = pass(random, 500, 8_000).await;
    link.set(State::Whole);
    Ok(format!("{} {state:?} for {time} ms", server.name()))
}

fn link(lane: &Lane, server: Server) -> Result<&Link> {
    lane.ways.servers.get(&server).context("no way to the server")
}

pub(super) async fn connections_killed(world: &World, random: &mut StdRng) -> Result<String> {
    let (server, pg) = choose(world, random)?;
    let mut ended = 0;
    for _ in 0..random.random_range(1..5) {
        pass(random, 0, 300).await;
        // Of whichever lane: it is healed there, too.
        let one = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ADMIN}'
             order by {} * pid % 101 limit {}",
            random.random_range(1..100),
            random.random_range(1..4)
        );
        ended += pg.sql("postgres", &one).await?.len();
    }
    Ok(format!("{ended} on {}", server.name()))
}

pub(super) async fn election(world: &World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    let primary = world.mongo.step_down().await?;
    Ok(format!("to member {primary}"))
}

pub(super) async fn primary_killed(world: &World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    let primary = world.mongo.primary().await?.context("no primary")?;
    world.mongo.kill(primary).await;
    let time = pass(random, 500, 6_000).await;
    world.mongo.start_again(primary).await?;
    Ok(format!("member {primary} for {time} ms"))
}

pub(super) async fn primary_frozen(world: &World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    let primary = world.mongo.primary().await?.context("no primary")?;
    world.mongo.pause(primary).await;
    let time = pass(random, 500, 12_000).await;
    world.mongo.unpause(primary).await;
    Ok(format!("member {primary} for {time} ms"))
}

pub(super) async fn primary_rolled_back(world: &World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    let primary = world.mongo.primary().await?.context("no primary")?;
    let others: Vec<usize> = (0..world.mongo.ports().len()).filter(|member| *member != primary).collect();
    for member in &others {
        world.mongo.pause(*member).await;
    }
    // Nobody else hears of what is written now, and the primary does not notice that for seconds.
    let time = pass(random, 300, 2_000).await;
    world.mongo.kill(primary).await;
    for member in &others {
        world.mongo.unpause(*member).await;
    }
    let deadline = tokio::time::Instant::now() + ELECTION;
    while !matches!(world.mongo.primary().await, Ok(Some(_))) {
        ensure!(tokio::time::Instant::now() < deadline, "nobody became primary");
        pass(random, 50, 100).await;
    }
    pass(random, 0, 1_500).await;
    world.mongo.start_again(primary).await?;
    Ok(format!("{time} ms of member {primary}"))
}
