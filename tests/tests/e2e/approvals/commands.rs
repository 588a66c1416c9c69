//! `kubectl rolecall requests`, `approve` and `deny`.

use std::process::Output;

use anyhow::{Result, ensure};
use rolecall_testbed::Identity;
use rolecall_tests::process::kubectl_rolecall;
use serde_json::{Value, json};

use super::{Approver, ask, request, start};

async fn run(env: &rolecall_tests::TestEnv, who: &str, args: &[&str]) -> Result<Output> {
    let identity = Identity::Certificate { name: who.to_owned(), group: None };
    kubectl_rolecall(&identity, &[args, &["-n", &env.namespace]].concat()).await
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn who_may_decides_about_what_they_have_read() -> Result<()> {
    let env = start(json!({})).await?;
    // Rights, which take a moment, and a first request to see them by.
    let bob = Approver::new(&env, "bob", None).await?;
    ask(&env, "first", json!({"ttl": "1h"})).await?;
    bob.approves(&request(&env, "first").await?).await?;
    env.active("first").await?;

    ask(&env, "s", json!({"ttl": "1h"})).await?;
    let wanted = request(&env, "s").await?;
    let listed = run(&env, "bob", &["requests", "-o", "json"]).await?;
    let list: Value = serde_json::from_slice(&listed.stdout)?;
    ensure!(list["items"].as_array().is_some_and(|items| items.len() == 1), "{}", said(&listed));
    ensure!(list["items"][0]["status"]["request"]["hash"] == wanted.hash.as_str());
    let table = said(&run(&env, "bob", &["requests"]).await?);
    ensure!(table.contains(&wanted.hash[7..19]) && table.contains("0/1 reader"), "{table}");

    let unread = run(&env, "bob", &["approve", "s"]).await?;
    ensure!(!unread.status.success() && said(&unread).contains("say --hash"), "{}", said(&unread));
    ensure!(said(&unread).contains("INC-1234") && said(&unread).contains(&wanted.hash), "{}", said(&unread));
    let other = run(&env, "bob", &["approve", "s", "--hash", "00000000"]).await?;
    ensure!(said(&other).contains("something else than what was read"), "{}", said(&other));
    let nobody = run(&env, "nobody", &["approve", "s", "--yes"]).await?;
    ensure!(!nobody.status.success(), "{}", said(&nobody));
    let approved = run(&env, "bob", &["approve", "s", "--hash", &wanted.hash, "--reason", "ok"]).await?;
    ensure!(
        approved.status.success() && said(&approved).contains("approved on behalf of reader"),
        "{}",
        said(&approved)
    );
    env.active("s").await?;
    let again = run(&env, "bob", &["approve", "s", "--yes"]).await?;
    ensure!(said(&again).contains("does not wait for approval; it is Active"), "{}", said(&again));

    ask(&env, "no", json!({"ttl": "1h"})).await?;
    request(&env, "no").await?;
    let denied = run(&env, "bob", &["deny", "no", "--reason", "not now", "--yes", "-o", "json"]).await?;
    let decision: Value = serde_json::from_slice(&denied.stdout)?;
    ensure!(decision["spec"]["decision"] == "Deny" && decision["spec"]["decidedBy"] == "bob");
    env.rejected("no", "ApprovalDenied").await?;
    Ok(())
}
