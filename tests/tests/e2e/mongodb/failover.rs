//! A replica set whose primary changes.

use anyhow::{Context, Result};
use rolecall_api::{DatabaseSession, EndReason};
use rolecall_tests::{MongoTestEnv, mongo};
use serde_json::json;

use super::is_over;

#[tokio::test]
async fn sessions_start_and_end_over_a_failover_and_the_loss_of_a_member() -> Result<()> {
    let env = MongoTestEnv::builder().members(3).start().await?;
    env.session("first", json!({})).await?;
    env.active("first").await?;
    let client = env.login("first").await?;
    let secret = env.secret("first").await?;

    let primary = env.mongo().step_down().await?;
    env.session("second", json!({})).await?;
    env.active("second").await?;
    assert!(env.read(&client).await?.is_some());

    env.mongo().kill(primary).await;
    env.delete::<DatabaseSession>("second").await?;
    env.delete::<DatabaseSession>("first").await?;
    env.gone::<DatabaseSession>("second").await?;
    env.gone::<DatabaseSession>("first").await?;
    is_over(&env, &client).await?;
    assert!(mongo::login_with(&secret).await.is_err());

    // The member that comes back has replicated it before anybody can log in there.
    env.mongo().start_again(primary).await?;
    let identity = env.mongo().client_cert(&env.alice)?;
    let deadline = std::time::Instant::now() + rolecall_tests::TIMEOUT;
    while env.mongo().connect_to(primary, &identity).await.is_ok() {
        anyhow::ensure!(std::time::Instant::now() < deadline, "the member that came back lets alice in");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn an_access_that_a_lost_majority_brings_back_is_ended_at_once_and_reported() -> Result<()> {
    // By itself no resync would find the new primary in time.
    let env = MongoTestEnv::builder().members(3).flag("--resync-interval=1h").start().await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.active("timed").await?;
    let secret = env.secret("timed").await?;
    let primary = env.mongo().primary().await?.context("a primary")?;
    let [other, behind] = [(primary + 1) % 3, (primary + 2) % 3];
    // It has replicated the access, and does not replicate its end.
    let enabled = async || {
        let identity = env.mongo().client_cert(&env.alice)?;
        Ok(env.mongo().connect_to(behind, &identity).await.is_ok())
    };
    env.eventually("the member has heard of the access", enabled).await?;
    env.mongo().kill(behind).await;
    env.patch::<DatabaseSession>("timed", json!({"spec": {"ttl": "1s"}})).await?;
    env.ended("timed", EndReason::Expired).await?;
    assert!(mongo::login_with(&secret).await.is_err());
    crate::checks::settled(&env, 0).await?;

    env.mongo().kill(primary).await;
    env.mongo().kill(other).await;
    env.mongo().start_again(behind).await?;
    env.mongo().survive_alone(behind).await?;
    let begun = std::time::Instant::now();
    let over = async || {
        let root = env.mongo().superuser().await?;
        let account = env.account_by(&root).await?;
        Ok(account.is_some_and(|account| account.is_disabled()))
    };
    env.eventually("the access is ended again", over).await?;
    println!("closed {} ms after the member became primary", begun.elapsed().as_millis());
    let note = env.event("timed", "AccessReturned").await?;
    assert!(note.contains("failover from term") && note.contains("ended again"), "{note}");
    assert!(env.event("orders", "Failover").await?.contains("term"));
    let identity = env.mongo().client_cert(&env.alice)?;
    assert!(env.mongo().connect_to(behind, &identity).await.is_err());
    Ok(())
}
