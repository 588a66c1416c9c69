//! Of several operators one works, and another takes over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use rolecall_api::{DatabaseSession, EndReason};
use rolecall_tests::{Network, Operator, TestEnv};
use serde_json::json;

/// A test environment in which operators can be leaders: the Lease is in its namespace.
pub(crate) async fn env() -> Result<TestEnv> {
    let env = TestEnv::builder().without_operator().start().await?;
    env.apply_yaml(include_str!("../../../deploy/rbac/leader_election_role.yaml")).await?;
    env
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "rolecall-leader-election"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rolecall-leader-election"},
            "subjects": [{"kind": "ServiceAccount", "name": "rolecall-operator", "namespace": "rolecall-system"}],
        }))
        .await?;
    Ok(env)
}

async fn replica(env: &TestEnv) -> Result<Operator> {
    env.another_operator(&["--leader-elect=true", &namespace(env)]).await
}

fn namespace(env: &TestEnv) -> String {
    format!("--leader-election-namespace={}", env.namespace)
}

#[tokio::test]
async fn when_the_leader_is_killed_the_other_takes_over_and_ends_what_is_due() -> Result<()> {
    let env = env().await?;
    let first = replica(&env).await?;
    first.ready().await?;
    let second = replica(&env).await?;
    second.log().wait_for("waiting for the lead").await?;
    env.session("timed", json!({"ttl": "6s"})).await?;
    env.session("standing", json!({})).await?;
    env.active("timed").await?;
    env.active("standing").await?;
    assert_eq!(second.audit().text(), "", "only the leader works");
    let standby = second.get("/readyz").await?;
    assert!(standby.starts_with("HTTP/1.1 200"), "one that waits is ready too: {standby}");

    let client = env.login("timed").await?;
    let begun = Instant::now();
    first.crash().await;
    env.session("new", json!({"databaseName": "app2"})).await?;
    second.log().wait_for(": leading").await?;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(25), "it took {took:?}");
    env.active("new").await?;
    env.ended("timed", EndReason::Expired).await?;
    // One account, still used by the other session: its connections go with the password or roles only.
    drop(client);
    env.login("standing").await?;
    second.stop().await
}

#[tokio::test]
async fn a_leader_that_stops_in_order_hands_over_at_once() -> Result<()> {
    let env = env().await?;
    let first = replica(&env).await?;
    first.ready().await?;
    let second = replica(&env).await?;
    second.log().wait_for("waiting for the lead").await?;
    let begun = Instant::now();
    first.stop().await?;
    second.log().wait_for(": leading").await?;
    // A Lease that was not given up lasts 15 s.
    assert!(begun.elapsed() < Duration::from_secs(13), "it took {:?}", begun.elapsed());
    env.session("new", json!({})).await?;
    env.active("new").await?;
    Ok(())
}

#[tokio::test]
async fn a_leader_whose_lease_is_taken_ends() -> Result<()> {
    let env = env().await?;
    let operator = replica(&env).await?;
    operator.ready().await?;
    let lease: Lease = env.get("rolecall-operator").await.with_context(|| env.log())?;
    assert_eq!(lease.spec.and_then(|spec| spec.lease_duration_seconds), Some(15));
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
    let theirs = json!({"spec": {"holderIdentity": "another", "acquireTime": now, "renewTime": now}});
    env.patch::<Lease>("rolecall-operator", theirs).await?;
    let error = operator.ended().await.err().context("it must not go on")?;
    assert!(error.to_string().contains("Lease"), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn a_leader_that_the_api_server_does_not_hear_from_stops_before_another_takes_over() -> Result<()> {
    let env = env().await?;
    let network = Network::to_api_server().await?;
    let flags = ["--leader-elect=true", &namespace(&env)];
    let first = env.operator_by(network.operator_config().await?, &flags)?;
    first.ready().await?;
    let second = replica(&env).await?;
    second.log().wait_for("waiting for the lead").await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;

    // A reconcile is under way when the lead is lost: it must not be waited for.
    env.pg.pause().await;
    env.user("bob", json!({})).await?;
    env.session("bob-orders", json!({"user": "bob"})).await?;
    network.silence();
    let begun = Instant::now();
    let error = first.ended().await.err().context("it must not go on")?;
    println!("it stopped after {:?}", begun.elapsed());
    env.pg.unpause().await;
    assert!(error.to_string().contains("Lease"), "{error:#}");
    assert!(!second.log().text().contains("leader: leading"), "{}", env.log());

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    second.stop().await
}

#[tokio::test]
async fn a_status_that_an_operator_without_the_lead_writes_late_is_put_right() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    let before = env.active("alice-orders").await?;
    let late = json!({"status": {"phase": "Pending", "startedAt": null}});
    let written = env
        .api::<DatabaseSession>()
        .patch_status("alice-orders", &PatchParams::default(), &Patch::Merge(&late))
        .await?;
    assert_ne!(written.status, before.status);
    env.active("alice-orders").await?;
    env.login("alice-orders").await.map(drop)
}
