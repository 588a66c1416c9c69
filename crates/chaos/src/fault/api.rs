//! Faults of the API server, and on the way to it.

use std::time::Duration;

use anyhow::Result;
use rand::RngExt;
use rand::rngs::StdRng;

use super::pass;
use crate::link::State;
use crate::world::World;

pub(super) async fn killed(world: &mut World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    world.cluster.kill_api_server().await;
    let time = pass(random, 200, 4_000).await;
    world.cluster.start_api_server().await?;
    Ok(format!("for {time} ms"))
}

pub(super) async fn frozen(world: &mut World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    world.cluster.pause_api_server().await;
    let time = pass(random, 500, 8_000).await;
    world.cluster.unpause_api_server().await;
    Ok(format!("for {time} ms"))
}

pub(super) async fn unreachable(world: &mut World, random: &mut StdRng) -> Result<String> {
    broken(world, random, State::Cut, 6_000).await
}

pub(super) async fn silent(world: &mut World, random: &mut StdRng) -> Result<String> {
    broken(world, random, State::Silent, 12_000).await
}

pub(super) async fn slow(world: &mut World, random: &mut StdRng) -> Result<String> {
    let late = Duration::from_millis(random.random_range(100..2_000));
    broken(world, random, State::Slow(late), 8_000).await
}

async fn broken(world: &mut World, random: &mut StdRng, state: State, most: u64) -> Result<String> {
    pass(random, 0, 700).await;
    world.api.set(state);
    let time = pass(random, 500, most).await;
    world.api.set(State::Whole);
    Ok(format!("{state:?} for {time} ms"))
}

pub(super) async fn restored(world: &mut World, random: &mut StdRng) -> Result<String> {
    pass(random, 0, 700).await;
    world.cluster.restore_snapshot().await?;
    pass(random, 0, 1_000).await;
    // The next time goes back to now at most.
    world.cluster.take_snapshot().await?;
    Ok("to the last snapshot".to_owned())
}
