//! Faults of the operator itself.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::Signal;

use super::pass;
use crate::lane::Lane;

/// How long an armed operator may take until it reaches its point.
const UNTIL_HIT: Duration = Duration::from_secs(8);
/// A clock jumps by so many seconds at most: a session without an end is live for longer than that.
const JUMP: i64 = 600;
/// A Lease lasts 15 s; a loaded machine may need longer.
const UNTIL_LOST: Duration = Duration::from_secs(60);

pub(super) async fn killed(lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    let after = pass(random, 100, 1_500).await;
    lane.operator.restart().await?;
    Ok(format!("after {after} ms"))
}

pub(super) async fn kill_point(lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    let at: usize = random.random_range(1..160);
    drop(lane.operator.current.take());
    let armed = lane.operator.start_alone(Some(&format!("kill:{at}")))?;
    armed.until_hit(UNTIL_HIT).await;
    let point = armed.kill_point().unwrap_or_else(|| "not reached".to_owned());
    drop(armed);
    pass(random, 0, 300).await;
    lane.operator.restart().await?;
    Ok(format!("{at}: {point}"))
}

pub(super) async fn frozen(lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    let current = lane.operator.current.as_ref().context("no operator")?;
    pass(random, 0, 700).await;
    current.signal(Signal::STOP);
    let time = pass(random, 500, 6_000).await;
    current.signal(Signal::CONT);
    Ok(format!("for {time} ms"))
}

pub(super) async fn two(lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    let second = lane.operator.start_alone(None)?;
    second.ready().await?;
    let time = pass(random, 1_000, 4_000).await;
    // Either of them goes on alone.
    if random.random_bool(0.5) {
        lane.operator.current = Some(second);
    }
    Ok(format!("for {time} ms"))
}

pub(super) async fn late(lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    let at: usize = random.random_range(1..160);
    drop(lane.operator.current.take());
    let first = lane.operator.start_alone(Some(&format!("stop:{at}")))?;
    first.until_hit(UNTIL_HIT).await;
    let point = first.kill_point().unwrap_or_else(|| "anywhere".to_owned());
    first.signal(Signal::STOP);
    let second = lane.operator.start_alone(None)?;
    second.ready().await?;
    lane.operator.current = Some(second);
    pass(random, 300, 2_500).await;
    // What it was about to do, it does now.
    first.signal(Signal::CONT);
    pass(random, 300, 1_500).await;
    drop(first);
    Ok(format!("{at}: {point}"))
}

pub(super) async fn leader_lost(lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    drop(lane.operator.current.take());
    let flags = ["--leader-elect=true"];
    let first = lane.operator.start(&flags, &[])?;
    first.ready().await?;
    let second = lane.operator.start(&flags, &[])?;
    pass(random, 500, 2_000).await;
    first.signal(Signal::STOP);
    second.leads().await?;
    second.ready().await?;
    pass(random, 200, 1_000).await;
    first.signal(Signal::CONT);
    let ends = first.until_hit(UNTIL_LOST).await;
    ensure!(ends, "a leader that lost its Lease goes on:\n{}", first.text());
    drop(second);
    lane.operator.restart().await?;
    Ok(String::new())
}

pub(super) async fn clock_jumped(lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    let file = lane.operator.folder().join("clock");
    let show = |ahead: i64| fs::write(&file, format!("{ahead:+}\n")).context("writing the time of a clock");
    show(0)?;
    drop(lane.operator.current.take());
    let process = lane.operator.start_with_clock(&file)?;
    process.ready().await?;
    lane.operator.current = Some(process);
    let mut jumps = Vec::new();
    for _ in 0..random.random_range(1..4) {
        let ahead = random.random_range(-JUMP..JUMP);
        show(ahead)?;
        jumps.push(format!("{ahead:+} s"));
        pass(random, 300, 2_500).await;
    }
    // It goes on with a clock that is right again.
    show(0)?;
    Ok(jumps.join(", "))
}
