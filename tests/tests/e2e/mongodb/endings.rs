//! Ends that a running command delays.

use std::time::Duration;

use anyhow::{Context, Result};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use rolecall_api::{DatabaseSession, SessionPhase};
use rolecall_testbed::MongoAdmin;
use rolecall_tests::MongoTestEnv;
use rolecall_tests::objects::{message_of, phase};
use serde_json::json;
use tokio::task::JoinHandle;

use super::is_over;

/// A query that takes so long.
async fn running(
    env: &MongoTestEnv,
    client: &Client,
    time: Duration,
) -> Result<JoinHandle<mongodb::error::Result<Document>>> {
    let database = client.database(&env.app);
    let slowly = doc! { "$where": format!("sleep({}) || true", time.as_millis()) };
    let command =
        tokio::spawn(async move { database.run_command(doc! { "find": "orders", "filter": slowly }).await });
    let seen = doc! { "currentOp": 1, "ns": format!("{}.orders", env.app), "active": true };
    loop {
        let found = env.root.database("admin").run_command(seen.clone()).await?;
        if !found.get_array("inprog")?.is_empty() {
            return Ok(command);
        }
        anyhow::ensure!(!command.is_finished(), "the command has ended already");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_end_waits_for_a_command_that_runs_and_says_which_and_how_to_kill_it() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    let command = running(&env, &client, Duration::from_secs(12)).await?;

    env.delete::<DatabaseSession>("alice-orders").await?;
    // Reported as soon as the first attempt has timed out; until then there is nothing to report.
    let ending = env
        .until::<DatabaseSession>("alice-orders", "Ending with a command that runs", |session| {
            phase(session) == SessionPhase::Ending && message_of(session).contains("still runs find")
        })
        .await?;
    let message = message_of(&ending);
    for part in [format!("{}.orders", env.app), "killOp".to_owned(), "opid".to_owned(), "killop".to_owned()] {
        assert!(message.contains(&part), "{part:?} in {message}");
    }
    is_over(&env, &client).await?;
    assert!(!command.is_finished(), "while it runs, the session does not end");
    env.gone::<DatabaseSession>("alice-orders").await?;
    assert!(command.is_finished());
    Ok(())
}

#[tokio::test]
async fn an_admin_user_that_may_kill_ends_the_command() -> Result<()> {
    let env = MongoTestEnv::builder().privileges(MongoAdmin::documented().killop()).start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    let command = running(&env, &client, Duration::from_secs(600)).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let killed = tokio::time::timeout(rolecall_tests::TIMEOUT, command).await.context("it is killed")??;
    assert!(killed.is_err());
    is_over(&env, &client).await
}
