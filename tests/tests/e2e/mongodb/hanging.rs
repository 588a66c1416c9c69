//! A server that does not answer any more though connections to it worked.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase, conditions};
use rolecall_tests::MongoWorld;
use rolecall_tests::objects::{Conditions, message_of, phase};
use serde_json::json;

/// Told within seconds, whatever the machine does beside it.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn an_end_that_waits_for_a_server_that_hangs_is_reported() -> Result<()> {
    let world = MongoWorld::builder().members(1).start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let silent = |admin: &DatabaseAdmin| {
        conditions::find(admin.conditions(), conditions::READY).is_some_and(|ready| ready.status == "False")
    };

    world.mongo().pause(0).await;
    let begun = Instant::now();
    world.delete::<DatabaseSession>("alice-orders").await?;
    let ending = |session: &DatabaseSession| phase(session) == SessionPhase::Ending;
    let told = world.until("alice-orders", "Ending", ending).await?;
    let took = begun.elapsed();
    world.until("orders", "not Ready", silent).await?;
    let told_of_server = begun.elapsed();
    world.session("late", json!({"ttl": "1h", "startDeadline": "5s"})).await?;
    let rejected = |session: &DatabaseSession| phase(session) == SessionPhase::Rejected;
    world.until("late", "Rejected", rejected).await?;
    world.mongo().unpause(0).await;
    ensure!(took < SOON, "it was told after {took:?}\n{}", world.log());
    ensure!(told_of_server < SOON * 2, "it was told after {told_of_server:?}\n{}", world.log());
    ensure!(message_of(&told).contains("waits for the server"), "{}", message_of(&told));
    world.gone::<DatabaseSession>("alice-orders").await
}
