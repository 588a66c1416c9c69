//! Of several operators one works, and another takes over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use rolecall_api::{DatabaseSession, EndReason};
use rolecall_tests::{Network, Operator, World};
use serde_json::json;

/// A world in which operators can be leaders: the Lease stands in its namespace.
async fn world() -> Result<World> {
    let world = World::builder().without_operator().start().await?;
    world.apply_yaml(include_str!("../../../deploy/rbac/leader_election_role.yaml")).await?;
    world
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "rolecall-leader-election"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rolecall-leader-election"},
            "subjects": [{"kind": "ServiceAccount", "name": "rolecall-operator", "namespace": "rolecall-system"}],
        }))
        .await?;
    Ok(world)
}

async fn replica(world: &World) -> Result<Operator> {
    world.another_operator(&["--leader-elect=true", &namespace(world)]).await
}

fn namespace(world: &World) -> String {
    format!("--leader-election-namespace={}", world.namespace)
}

#[tokio::test]
async fn when_the_leader_is_killed_the_other_takes_over_and_ends_what_is_due() -> Result<()> {
    let world = world().await?;
    let first = replica(&world).await?;
    first.ready().await?;
    let second = replica(&world).await?;
    second.log().wait_for("waiting for the lead").await?;
    world.session("timed", json!({"ttl": "6s"})).await?;
    world.session("standing", json!({})).await?;
    world.active("timed").await?;
    world.active("standing").await?;
    assert!(!second.log().text().contains("audit"), "only the leader works:\n{}", world.log());
    let standby = second.get("/readyz").await?;
    assert!(standby.starts_with("HTTP/1.1 200"), "one that waits is ready too: {standby}");

    let client = world.login("timed").await?;
    let begun = Instant::now();
    first.crash().await;
    world.session("new", json!({"databaseName": "app2"})).await?;
    second.log().wait_for(": leading").await?;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(25), "it took {took:?}");
    world.active("new").await?;
    world.ended("timed", EndReason::Expired).await?;
    // One account, still held by the standing session: its connections go with the password or roles only.
    drop(client);
    world.login("standing").await?;
    second.stop().await
}

#[tokio::test]
async fn a_leader_that_stops_in_order_hands_over_at_once() -> Result<()> {
    let world = world().await?;
    let first = replica(&world).await?;
    first.ready().await?;
    let second = replica(&world).await?;
    second.log().wait_for("waiting for the lead").await?;
    let begun = Instant::now();
    first.stop().await?;
    second.log().wait_for(": leading").await?;
    // A Lease that was not given up lasts 15 s.
    assert!(begun.elapsed() < Duration::from_secs(13), "it took {:?}", begun.elapsed());
    world.session("new", json!({})).await?;
    world.active("new").await?;
    Ok(())
}

#[tokio::test]
async fn a_leader_whose_lease_is_taken_ends() -> Result<()> {
    let world = world().await?;
    let operator = replica(&world).await?;
    operator.ready().await?;
    let lease: Lease = world.get("rolecall-operator").await.with_context(|| world.log())?;
    assert_eq!(lease.spec.and_then(|spec| spec.lease_duration_seconds), Some(15));
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
    let theirs = json!({"spec": {"holderIdentity": "another", "acquireTime": now, "renewTime": now}});
    world.patch::<Lease>("rolecall-operator", theirs).await?;
    let error = operator.ended().await.err().context("it must not go on")?;
    assert!(error.to_string().contains("Lease"), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn a_leader_that_the_api_server_does_not_hear_stops_before_another_takes_over() -> Result<()> {
    let world = world().await?;
    let network = Network::to_api_server().await?;
    let flags = ["--leader-elect=true", &namespace(&world)];
    let first = world.operator_by(network.operator_config().await?, &flags)?;
    first.ready().await?;
    let second = replica(&world).await?;
    second.log().wait_for("waiting for the lead").await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;

    // A look is under way when the lead is lost: it must not be waited for.
    world.pg.pause().await;
    world.user("bob", json!({})).await?;
    world.session("bob-orders", json!({"user": "bob"})).await?;
    network.silence();
    let begun = Instant::now();
    let error = first.ended().await.err().context("it must not go on")?;
    println!("it stopped after {:?}", begun.elapsed());
    world.pg.unpause().await;
    assert!(error.to_string().contains("Lease"), "{error:#}");
    assert!(!second.log().text().contains("leader: leading"), "{}", world.log());

    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    second.stop().await
}
