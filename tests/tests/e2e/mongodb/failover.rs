//! A replica set whose primary changes.

use anyhow::{Context, Result};
use rolecall_api::{DatabaseSession, EndReason};
use rolecall_tests::{MongoWorld, mongo};
use serde_json::json;

use super::is_over;

#[tokio::test]
async fn sessions_start_and_end_over_a_failover_and_the_loss_of_a_member() -> Result<()> {
    let world = MongoWorld::builder().members(3).start().await?;
    world.session("first", json!({})).await?;
    world.active("first").await?;
    let client = world.login("first").await?;
    let secret = world.secret("first").await?;

    let primary = world.mongo().step_down().await?;
    world.session("second", json!({})).await?;
    world.active("second").await?;
    assert!(world.read(&client).await?.is_some());

    world.mongo().kill(primary).await;
    world.delete::<DatabaseSession>("second").await?;
    world.delete::<DatabaseSession>("first").await?;
    world.gone::<DatabaseSession>("second").await?;
    world.gone::<DatabaseSession>("first").await?;
    is_over(&world, &client).await?;
    assert!(mongo::login_with(&secret).await.is_err());

    // Who comes back has heard of it before anybody can log in there.
    world.mongo().start_again(primary).await?;
    let identity = world.mongo().client_cert(&world.alice)?;
    let deadline = std::time::Instant::now() + rolecall_tests::TIMEOUT;
    while world.mongo().connect_to(primary, &identity).await.is_ok() {
        anyhow::ensure!(std::time::Instant::now() < deadline, "the member that came back lets alice in");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn an_access_that_a_lost_majority_brings_back_is_ended_at_once_and_told() -> Result<()> {
    // By itself no look would find the new primary in time.
    let world = MongoWorld::builder().members(3).flag("--resync-interval=1h").start().await?;
    world.session("timed", json!({"ttl": "1h"})).await?;
    world.active("timed").await?;
    let secret = world.secret("timed").await?;
    let primary = world.mongo().primary().await?.context("a primary")?;
    let [other, behind] = [(primary + 1) % 3, (primary + 2) % 3];
    // It has heard of the access, and does not hear of its end.
    let enabled = async || {
        let identity = world.mongo().client_cert(&world.alice)?;
        Ok(world.mongo().connect_to(behind, &identity).await.is_ok())
    };
    world.eventually("the member has heard of the access", enabled).await?;
    world.mongo().kill(behind).await;
    world.patch::<DatabaseSession>("timed", json!({"spec": {"ttl": "1s"}})).await?;
    world.ended("timed", EndReason::Expired).await?;
    assert!(mongo::login_with(&secret).await.is_err());
    crate::checks::settled(&world, 0).await?;

    world.mongo().kill(primary).await;
    world.mongo().kill(other).await;
    world.mongo().start_again(behind).await?;
    world.mongo().survive_alone(behind).await?;
    let begun = std::time::Instant::now();
    let over = async || {
        let root = world.mongo().superuser().await?;
        let account = world.account_by(&root).await?;
        Ok(account.is_some_and(|account| account.is_disabled()))
    };
    world.eventually("the access is ended again", over).await?;
    println!("closed {} ms after the member became primary", begun.elapsed().as_millis());
    let note = world.event("timed", "AccessReturned").await?;
    assert!(note.contains("failover from term") && note.contains("ended again"), "{note}");
    assert!(world.event("orders", "Failover").await?.contains("term"));
    let identity = world.mongo().client_cert(&world.alice)?;
    assert!(world.mongo().connect_to(behind, &identity).await.is_err());
    Ok(())
}
