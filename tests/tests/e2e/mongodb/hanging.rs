//! A server that does not answer any more though connections to it worked.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase, conditions};
use rolecall_tests::MongoTestEnv;
use rolecall_tests::objects::{Conditions, message_of, phase};
use serde_json::json;

/// Reported within seconds, even on a loaded machine.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn an_end_that_waits_for_a_server_that_hangs_is_reported() -> Result<()> {
    let env = MongoTestEnv::builder().members(1).start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let silent = |admin: &DatabaseAdmin| {
        conditions::find(admin.conditions(), conditions::READY).is_some_and(|ready| ready.status == "False")
    };

    env.mongo().pause(0).await;
    let begun = Instant::now();
    env.delete::<DatabaseSession>("alice-orders").await?;
    let ending = |session: &DatabaseSession| phase(session) == SessionPhase::Ending;
    let reported = env.until("alice-orders", "Ending", ending).await?;
    let took = begun.elapsed();
    env.until("orders", "not Ready", silent).await?;
    let server_reported = begun.elapsed();
    env.session("late", json!({"ttl": "1h", "startDeadline": "5s"})).await?;
    let rejected = |session: &DatabaseSession| phase(session) == SessionPhase::Rejected;
    env.until("late", "Rejected", rejected).await?;
    env.mongo().unpause(0).await;
    ensure!(took < SOON, "it was reported after {took:?}\n{}", env.log());
    ensure!(server_reported < SOON * 2, "it was reported after {server_reported:?}\n{}", env.log());
    ensure!(message_of(&reported).contains("waits for the server"), "{}", message_of(&reported));
    env.gone::<DatabaseSession>("alice-orders").await
}
