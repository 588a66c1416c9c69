//! Servers that go while an access ends, and what they hold when they are back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason, SessionPhase};
use rolecall_testbed::{PgVersion, Postgres};
use rolecall_tests::World;
use rolecall_tests::world::{ADMIN_USER, ALICE};
use serde_json::json;

use crate::checks::secret;

#[tokio::test]
async fn a_ttl_that_runs_out_while_the_server_is_down_counts() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({"ttl": "3s"})).await?;
    world.active("alice-orders").await?;
    world.pg.stop().await;
    world.phase("alice-orders", SessionPhase::Ending, "DatabaseUnreachable").await?;
    world.pg.start_again().await?;
    world.ended("alice-orders", EndReason::Expired).await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_teardown_waits_for_a_server_that_comes_back_in_time() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    world.pg.stop().await;
    world.delete::<DatabaseAdmin>("orders").await?;
    world.phase("alice-orders", SessionPhase::Ending, "DatabaseUnreachable").await?;
    world.pg.start_again().await?;
    world.gone::<DatabaseAdmin>("orders").await?;
    world.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_server_that_hangs_does_not_stop_its_neighbours() -> Result<()> {
    const MANY: usize = 30;
    let world = World::start().await?;
    let hanging = Postgres::start(PgVersion::V17).await?;
    let admin = hanging.create_admin(ADMIN_USER).await?;
    let setup = format!("create role reader; grant reader to \"{ADMIN_USER}\" with admin option");
    hanging.sql("postgres", &setup).await?;
    world.tls_secret("hanging-cert", &admin.cert_pem, &admin.key_pem).await?;
    secret(&world, "hanging-ca", json!({"ca.crt": hanging.server_ca_pem()})).await?;
    let mut manifest = world.admin_manifest();
    manifest["metadata"]["name"] = json!("hanging");
    manifest["spec"]["uri"] = json!(hanging.address());
    manifest["spec"]["auth"] = json!({"x509": {"secretRef": {"name": "hanging-cert"}}});
    manifest["spec"]["tls"] = json!({"caSecretRef": {"name": "hanging-ca", "key": "ca.crt"}});
    manifest["spec"]["userCredentials"] = json!({});
    world.apply(manifest).await?;
    let names: Vec<String> = (0..MANY).map(|index| format!("user-{index}")).collect();
    try_join_all(names.iter().map(|name| start(&world, name))).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;

    hanging.pause().await;
    try_join_all(names.iter().map(|name| world.delete::<DatabaseSession>(name))).await?;
    let begun = Instant::now();
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let took = begun.elapsed();
    hanging.unpause().await;
    ensure!(took < Duration::from_secs(9), "the neighbour's end took {took:?}\n{}", world.log());
    assert!(world.account_of(ALICE).await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

async fn start(world: &World, name: &str) -> Result<()> {
    world.user(name, json!({})).await?;
    world.session(name, json!({"user": name, "database": "hanging", "databaseName": "postgres"})).await?;
    world.active(name).await.map(drop)
}
