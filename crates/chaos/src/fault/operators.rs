//! Faults of the operator itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::Signal;

use super::pass;
use crate::world::World;

/// How long an armed operator may take until it reaches its point.
const UNTIL_HIT: Duration = Duration::from_secs(8);
/// A Lease lasts 15 s; a loaded machine may need longer.
const UNTIL_LOST: Duration = Duration::from_secs(60);

pub(super) async fn killed(world: &mut World, random: &mut StdRng) -> Result<String> {
    let after = pass(random, 100, 1_500).await;
    world.operator.restart().await?;
    Ok(format!("after {after} ms"))
}

pub(super) async fn kill_point(world: &mut World, random: &mut StdRng) -> Result<String> {
    let at: usize = random.random_range(1..160);
    drop(world.operator.current.take());
    let armed = world.operator.start_alone(Some(&format!("kill:{at}")))?;
    armed.until_hit(UNTIL_HIT).await;
    let point = armed.kill_point().unwrap_or_else(|| "not reached".to_owned());
    drop(armed);
    pass(random, 0, 300).await;
    world.operator.restart().await?;
    Ok(format!("{at}: {point}"))
}

pub(super) async fn frozen(world: &mut World, random: &mut StdRng) -> Result<String> {
    let current = world.operator.current.as_ref().context("no operator")?;
    pass(random, 0, 700).await;
    current.signal(Signal::STOP);
    let time = pass(random, 500, 6_000).await;
    current.signal(Signal::CONT);
    Ok(format!("for {time} ms"))
}

pub(super) async fn two(world: &mut World, random: &mut StdRng) -> Result<String> {
    let second = world.operator.start_alone(None)?;
    second.ready().await?;
    let time = pass(random, 1_000, 4_000).await;
    // Either of them goes on alone.
    if random.random_bool(0.5) {
        world.operator.current = Some(second);
    }
    Ok(format!("for {time} ms"))
}

pub(super) async fn late(world: &mut World, random: &mut StdRng) -> Result<String> {
    let at: usize = random.random_range(1..160);
    drop(world.operator.current.take());
    let first = world.operator.start_alone(Some(&format!("stop:{at}")))?;
    first.until_hit(UNTIL_HIT).await;
    let point = first.kill_point().unwrap_or_else(|| "anywhere".to_owned());
    first.signal(Signal::STOP);
    let second = world.operator.start_alone(None)?;
    second.ready().await?;
    world.operator.current = Some(second);
    pass(random, 300, 2_500).await;
    // What it was about to do, it does now.
    first.signal(Signal::CONT);
    pass(random, 300, 1_500).await;
    drop(first);
    Ok(format!("{at}: {point}"))
}

pub(super) async fn leader_lost(world: &mut World, random: &mut StdRng) -> Result<String> {
    drop(world.operator.current.take());
    let flags = ["--leader-elect=true"];
    let first = world.operator.start(&flags, None)?;
    first.ready().await?;
    let second = world.operator.start(&flags, None)?;
    pass(random, 500, 2_000).await;
    first.signal(Signal::STOP);
    second.leads().await?;
    second.ready().await?;
    pass(random, 200, 1_000).await;
    first.signal(Signal::CONT);
    let ends = first.until_hit(UNTIL_LOST).await;
    ensure!(ends, "a leader that lost its Lease goes on:\n{}", first.text());
    drop(second);
    world.operator.restart().await?;
    Ok(String::new())
}
