//! What the policies cost: `cargo test --workspace --test admission -- --ignored --nocapture cost`.

use std::time::{Duration, Instant};

use anyhow::Result;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use rolecall_tests::cluster;
use serde_json::json;

use super::people::{Try, session};
use super::{ALICE, POLICIES, people};
use crate::kinds;

/// Blocks of creates with the policies, and as many without, in turn.
const BLOCKS: usize = 10;
const CREATES: usize = 100;

/// The median of creates one after the other by one person, with every policy and with none.
#[tokio::test]
#[ignore = "it measures"]
async fn cost_of_a_create() -> Result<()> {
    let _policies = POLICIES.write().await;
    let people = people("cost").await?;
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
    let bindings: Vec<String> =
        ["admission", "mutating"].map(|directory| format!("{deploy}/{directory}/bindings.yaml")).into();
    let forged = Try::Create(session("forged", &json!({"requestedBy": "bob"})));
    let api = kinds::api(&people.client(ALICE).await?, "DatabaseSession", "cost")?;
    let mut times = [Vec::new(), Vec::new()];
    for block in 0..BLOCKS * 2 {
        let with = block % 2 == 0;
        for file in &bindings {
            let action: &[&str] = if with { &["apply", "--server-side"] } else { &["delete"] };
            people.cluster.kubectl(&[action, &["--filename", file]].concat()).await?;
        }
        match with {
            true => people.cannot(ALICE, &forged, "says who asks").await?,
            false => people.can(ALICE, &forged).await?,
        }
        // The other kind of policy follows by itself.
        tokio::time::sleep(Duration::from_secs(2)).await;
        for number in 0..CREATES {
            let object: DynamicObject = serde_json::from_value(session(&format!("s{number}"), &json!({})))?;
            let started = Instant::now();
            api.create(&PostParams::default(), &object).await?;
            times[usize::from(with)].push(started.elapsed());
        }
        for number in 0..CREATES {
            let admin = kinds::api(&cluster::client().await?, "DatabaseSession", "cost")?;
            admin.delete(&format!("s{number}"), &DeleteParams::default()).await?;
        }
    }
    for (text, times) in ["without", "with"].into_iter().zip(&mut times) {
        times.sort();
        let at = |part: usize| times[times.len() * part / 100];
        println!("{text} policies: p50 {:.2?}, p90 {:.2?}, {} creates", at(50), at(90), times.len());
    }
    for file in &bindings {
        people.cluster.kubectl(&["apply", "--server-side", "--filename", file]).await?;
    }
    Ok(())
}
