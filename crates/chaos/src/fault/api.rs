//! Faults of the API server, and on the way to it.

use std::time::Duration;

use anyhow::Result;
use rand::RngExt;
use rand::rngs::StdRng;

use super::pass;
use crate::lane::Lane;
use crate::link::State;
use crate::world::World;

pub(super) async fn killed(world: &World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    world.cluster.kill_api_server().await;
    let time = pass(random, 200, 4_000).await;
    world.cluster.start_api_server().await?;
    Ok(format!("for {time} ms"))
}

pub(super) async fn frozen(world: &World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    world.cluster.pause_api_server().await;
    let time = pass(random, 500, 8_000).await;
    world.cluster.unpause_api_server().await;
    Ok(format!("for {time} ms"))
}

pub(super) async fn unreachable(lane: &Lane, random: &mut StdRng) -> Result<String> {
    broken(lane, random, State::Cut, 6_000).await
}

pub(super) async fn silent(lane: &Lane, random: &mut StdRng) -> Result<String> {
    broken(lane, random, State::Silent, 12_000).await
}

pub(super) async fn slow(lane: &Lane, random: &mut StdRng) -> Result<String> {
    let late = Duration::from_millis(random.random_range(100..2_000));
    broken(lane, random, State::Slow(late), 8_000).await
}

pub(super) async fn jumbled(lane: &Lane, random: &mut StdRng) -> Result<String> {
    let most = Duration::from_millis(random.random_range(50..1_000));
    broken(lane, random, State::Jumbled(most), 6_000).await
}

async fn broken(lane: &Lane, random: &mut StdRng, state: State, most: u64) -> Result<String> {
    pass(random, 0, 700).await;
    lane.ways.api.set(state);
    let time = pass(random, 500, most).await;
    lane.ways.api.set(State::Whole);
    Ok(format!("{state:?} for {time} ms"))
}

pub(super) async fn restored(world: &World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    world.cluster.restore_snapshot().await?;
    pass(random, 0, 1_000).await;
    // The next time goes back to now at most.
    world.cluster.take_snapshot().await?;
    Ok("to the last snapshot".to_owned())
}
