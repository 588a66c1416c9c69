//! The start of all sessions, an idle minute, and a restart of the operator.

use std::time::Duration;

use futures::future::try_join_all;
use rolecall_testbed::progress::Progress;
use tokio::time::Instant;

use crate::bed::Bed;
use crate::figures::{Idle, Restart, Start};
use crate::gauge::Gauges;
use crate::load::{self, Plan};
use crate::observer::Observer;
use crate::server::Server;

/// What is counted with a phase includes what follows from it a little later: the status of a user says ten seconds after a
/// change what became of its accounts.
const SETTLE: Duration = Duration::from_secs(16);

/// All sessions start.
pub(crate) async fn start(bed: &Bed, size: u32, plan: &Plan, progress: &Progress) -> anyhow::Result<Start> {
    let (before, begun) = (Gauges::read(bed).await?, Instant::now());
    load::make_sessions(bed, size, plan, progress).await?;
    let wall_ms = milliseconds(begun.elapsed());
    progress.detail("all sessions are Active");
    tokio::time::sleep(SETTLE).await;
    Ok(Start { wall_ms, spent: Gauges::read(bed).await?.since(&before) })
}

/// Nothing happens.
pub(crate) async fn idle(bed: &Bed, seconds: u64) -> anyhow::Result<Idle> {
    listen(bed, true).await?;
    let (messages, before) = (messages(bed).await?, Gauges::read(bed).await?);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let spent = Gauges::read(bed).await?.since(&before);
    let messages = since(&self::messages(bed).await?, &messages);
    listen(bed, false).await?;
    Ok(Idle { seconds, spent, messages })
}

/// The operator is stopped in order, and started again.
pub(crate) async fn restart(bed: &mut Bed, size: u32) -> anyhow::Result<Restart> {
    listen(bed, true).await?;
    let (sent, before) = (messages(bed).await?, Gauges::read(bed).await?);
    let changed = changes(bed).await?;
    bed.stop_operator();
    let begun = Instant::now();
    bed.start_operator().await?;
    let ready_ms = milliseconds(begun.elapsed());
    load::until(bed, 1.0, |text| load::of_kind(text, "account")).await?;
    let first_ms = milliseconds(begun.elapsed());
    load::until(bed, f64::from(size), |text| load::of_kind(text, "account")).await?;
    let all_ms = milliseconds(begun.elapsed());
    let at_once_ms = Gauges::read(bed).await?.operator_ms();
    tokio::time::sleep(SETTLE).await;
    let spent = Gauges::read(bed).await?.since_restart(&before);
    let changes = since(&changes(bed).await?, &changed).iter().sum();
    let messages = since(&messages(bed).await?, &sent);
    listen(bed, false).await?;
    Ok(Restart { ready_ms, first_ms, all_ms, at_once_ms, changes, messages, spent })
}

/// Makes the servers count the messages of the operator, and do nothing by themselves meanwhile; or not any more.
async fn listen(bed: &Bed, on: bool) -> anyhow::Result<()> {
    let each = bed.servers.iter().map(async |server| {
        if let Server::Postgres { postgres, .. } = server {
            let vacuum = if on { "off" } else { "on" };
            postgres.sql("postgres", &format!("alter system set autovacuum = {vacuum}")).await?;
        }
        server.count_messages(on).await
    });
    try_join_all(each).await?;
    // What was under way.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// The messages of the operator to each server, by the server's own count.
async fn messages(bed: &Bed) -> anyhow::Result<Vec<i64>> {
    try_join_all(bed.servers.iter().map(Server::messages)).await
}

async fn changes(bed: &Bed) -> anyhow::Result<Vec<i64>> {
    try_join_all(bed.servers.iter().map(async |server| Observer::new(server).await?.changes().await)).await
}

fn since(now: &[i64], before: &[i64]) -> Vec<i64> {
    now.iter().zip(before).map(|(now, before)| now - before).collect()
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
