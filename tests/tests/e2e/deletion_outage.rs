//! Servers that go down while an access ends, and what is left on them when they are back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason, SessionPhase};
use rolecall_testbed::{PgVersion, Postgres};
use rolecall_tests::TestEnv;
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use serde_json::json;

use crate::checks::secret;

#[tokio::test]
async fn a_ttl_that_runs_out_while_the_server_is_down_counts() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "3s"})).await?;
    env.active("alice-orders").await?;
    env.pg.stop().await;
    env.phase("alice-orders", SessionPhase::Ending, "DatabaseUnreachable").await?;
    env.pg.start_again().await?;
    env.ended("alice-orders", EndReason::Expired).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_teardown_waits_for_a_server_that_comes_back_in_time() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    env.pg.stop().await;
    env.delete::<DatabaseAdmin>("orders").await?;
    env.phase("alice-orders", SessionPhase::Ending, "DatabaseUnreachable").await?;
    env.pg.start_again().await?;
    env.gone::<DatabaseAdmin>("orders").await?;
    env.ended("alice-orders", EndReason::DatabaseRemoved).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_server_that_hangs_does_not_stop_its_neighbours() -> Result<()> {
    const MANY: usize = 30;
    let env = TestEnv::start().await?;
    let hanging = Postgres::start(PgVersion::V17).await?;
    let admin = hanging.create_admin(ADMIN_USER).await?;
    let setup = format!("create role reader; grant reader to \"{ADMIN_USER}\" with admin option");
    hanging.sql("postgres", &setup).await?;
    env.tls_secret("hanging-cert", &admin.cert_pem, &admin.key_pem).await?;
    secret(&env, "hanging-ca", json!({"ca.crt": hanging.server_ca_pem()})).await?;
    let mut manifest = env.admin_manifest();
    manifest["metadata"]["name"] = json!("hanging");
    manifest["spec"]["uri"] = json!(hanging.address());
    manifest["spec"]["auth"] = json!({"x509": {"secretRef": {"name": "hanging-cert"}}});
    manifest["spec"]["tls"] = json!({"caSecretRef": {"name": "hanging-ca", "key": "ca.crt"}});
    manifest["spec"]["userCredentials"] = json!({});
    env.apply(manifest).await?;
    let names: Vec<String> = (0..MANY).map(|index| format!("user-{index}")).collect();
    try_join_all(names.iter().map(|name| start(&env, name))).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;

    hanging.pause().await;
    try_join_all(names.iter().map(|name| env.delete::<DatabaseSession>(name))).await?;
    let begun = Instant::now();
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let took = begun.elapsed();
    hanging.unpause().await;
    ensure!(took < Duration::from_secs(9), "the neighbour's end took {took:?}\n{}", env.log());
    assert!(env.account_of(ALICE).await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

async fn start(env: &TestEnv, name: &str) -> Result<()> {
    env.user(name, json!({})).await?;
    env.session(name, json!({"user": name, "database": "hanging", "databaseName": "postgres"})).await?;
    env.active(name).await.map(drop)
}
