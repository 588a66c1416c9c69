//! Many requests at once, and what they cost: `cargo test --workspace --test e2e -- --ignored --nocapture open_requests`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DeleteParams, ListParams, PostParams};
use rolecall_api::DatabaseSession;
use rolecall_tests::objects::reason_of;
use rolecall_tests::operator::get;
use rolecall_tests::{Process, TestEnv};
use serde_json::json;

use super::{ENFORCED, ask_for, asks};

const REQUESTS: usize = 5_000;
/// Requests under way at once.
const CONCURRENCY: usize = 16;
const PATIENCE: Duration = Duration::from_secs(1_200);

#[tokio::test]
#[ignore = "it measures, for some minutes"]
async fn five_thousand_open_requests() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    ask_for(&env, json!({})).await?;
    let operator = env.process(&[ENFORCED, "--log=info"]).await?;
    operator.log().wait_for("ready").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = memory(&operator).await?;
    let me = asks(&env).await?;
    let api = env.api::<DatabaseSession>();
    let begun = Instant::now();
    stream::iter(0..REQUESTS)
        .map(|number| {
            let session: serde_json::Result<DatabaseSession> = serde_json::from_value(json!({
                "apiVersion": "rolecall.dev/v1alpha1",
                "kind": "DatabaseSession",
                "metadata": {"name": format!("s{number:04}")},
                "spec": {
                    "user": "alice", "database": "orders", "databaseName": "app", "ttl": "1h",
                    "requestedBy": me, "retainAfterEnd": "1h",
                },
            }));
            let api = api.clone();
            async move { anyhow::Ok(api.create(&PostParams::default(), &session?).await.map(drop)?) }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    let created = begun.elapsed();
    let waiting = async || {
        let list = api.list(&ListParams::default()).await?.items;
        anyhow::Ok(list.iter().filter(|session| reason_of(*session) == "AwaitingApproval").count())
    };
    while waiting().await? < REQUESTS {
        ensure!(begun.elapsed() < PATIENCE, "{} wait", waiting().await?);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let asked = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let during = memory(&operator).await?;
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    while !api.list(&ListParams::default().limit(1)).await?.items.is_empty() {
        ensure!(begun.elapsed() < PATIENCE, "they do not go");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let after = memory(&operator).await?;
    println!(
        "{REQUESTS} requests: created in {created:.0?}, all waiting after {asked:.0?}; memory of the operator in MiB: {before} before, \
         {during} while they wait, {after} when they are gone"
    );
    operator.stop().await
}

/// Resident memory, in MiB.
async fn memory(operator: &Process) -> Result<u64> {
    let metrics = get(operator.log().address().await?, "/metrics").await?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    let bytes: f64 = line.context("a metric")?.trim().parse()?;
    Ok((bytes / 1_048_576.0).round() as u64)
}
