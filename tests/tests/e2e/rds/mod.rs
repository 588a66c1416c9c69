//! RDS and Aurora: logins with IAM tokens, on a server behind a front that verifies them.

mod blue_green;
mod plugin;

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, conditions};
use rolecall_aws::Credentials;
use rolecall_aws::rds_token::{Target, token};
use rolecall_testbed::{KubernetesVersion, PgVersion, rows};
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{message_of, reason_of};
use rolecall_tests::rds::{HOST, REGION, RdsEnv};
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use serde_json::json;

use crate::checks::trigger_reconcile;

/// A token as a user with AWS credentials signs it.
fn signed(env: &RdsEnv, user: &str, host: &str) -> Result<String> {
    let keys = env.keys();
    let credentials = Credentials::new(keys.access_key_id, keys.secret, keys.session_token, None, "test");
    let target =
        Target { host: host.to_owned(), port: 5432, user: user.to_owned(), region: REGION.to_owned() };
    let made = token(&target, &credentials, SystemTime::now())?;
    Ok(secrecy::ExposeSecret::expose_secret(&made).to_owned())
}

fn refused(result: rolecall_testbed::Result<tokio_postgres::Client>) -> Option<String> {
    result.err().map(|error| error.sqlstate().unwrap_or_default().to_owned())
}

async fn a_session_from_its_start_to_its_end(version: PgVersion) -> Result<()> {
    let env = RdsEnv::start(version, None).await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    let session = env.active("alice-orders").await?;
    let connection = session.status.and_then(|status| status.connection).context("a connection")?;
    assert_eq!(connection.port, env.front.address().port());
    let account = env.account().await?.context("the account")?;
    assert!(account.is_enabled_with(&["rds_iam", "reader"]), "{account:?}");

    let secret = env.secret("alice-orders").await?;
    assert_eq!(secret.get("username").map(String::as_str), Some(ALICE));
    assert!(!secret.contains_key("password") && !secret.contains_key("tls.key"), "{:?}", secret.keys());
    assert!(secret.contains_key("ca.crt") && secret["uri"].starts_with("postgresql://alice%40example.com@"));

    let client = env.connect(ALICE, &signed(&env, ALICE, HOST)?).await?;
    rows(&client, "select 1").await?;
    assert_eq!(refused(env.connect(ALICE, &signed(&env, "bob", HOST)?).await).as_deref(), Some("28000"));
    env.pg.sql("postgres", &format!("alter role \"{ALICE}\" password 'secret'")).await?;
    assert_eq!(refused(env.connect(ALICE, "secret").await).as_deref(), Some("28000"), "no password");

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let account = env.account().await?.context("the account")?;
    assert!(account.is_disabled() && account.memberships.is_empty(), "{account:?}");
    assert!(rows(&client, "select 1").await.is_err(), "its connection has ended");
    assert!(refused(env.connect(ALICE, &signed(&env, ALICE, HOST)?).await).is_some());

    let tokens = env.front.seen().tokens;
    let of_admin = tokens.iter().filter(|token| token.contains(&format!("DBUser={ADMIN_USER}&"))).count();
    assert_eq!(of_admin, 1, "a token is used again");
    Ok(())
}

/// The oldest and the newest version; where everything runs once more, on another Kubernetes, those between.
fn versions() -> [PgVersion; 2] {
    match std::env::var_os(KubernetesVersion::VARIABLE) {
        None => [PgVersion::V15, PgVersion::V18],
        Some(_) => [PgVersion::V16, PgVersion::V17],
    }
}

#[tokio::test]
async fn a_session_from_its_start_to_its_end_on_an_older_server() -> Result<()> {
    a_session_from_its_start_to_its_end(versions()[0]).await
}

#[tokio::test]
async fn a_session_from_its_start_to_its_end_on_a_newer_server() -> Result<()> {
    a_session_from_its_start_to_its_end(versions()[1]).await
}

#[tokio::test]
async fn a_token_that_is_refused_once_is_replaced_at_once() -> Result<()> {
    let env = RdsEnv::start(PgVersion::V18, None).await?;
    env.until("orders", "Ready", |admin: &DatabaseAdmin| rolecall_tests::objects::is_ready(admin)).await?;
    // A token of the same second would be the same.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    env.front.refuse(1);
    let end =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ADMIN_USER}'");
    env.pg.sql("postgres", &end).await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    let seen = env.front.seen();
    assert_eq!((seen.refused.len(), seen.tokens.len()), (1, 2), "{:?}", seen.refused);
    assert!(!env.log().contains("LoginFailed"), "nobody had to wait:\n{}", env.log());
    assert!(!env.log().contains("X-Amz-Signature"), "no token is logged");
    Ok(())
}

/// Sessions that are counted, one after the other.
const COUNTED: u64 = 5;

/// Round trips to servers so far.
fn round_trips(metrics: &str) -> Result<u64> {
    let line = metrics.lines().find(|line| line.starts_with("rolecall_server_round_trips_total"));
    let count = line.and_then(|line| line.rsplit_once(' ')).context("no such metric")?;
    Ok(count.1.parse()?)
}

async fn sessions_one_by_one(env: &TestEnv) -> Result<()> {
    for number in 0..COUNTED {
        let name = format!("counted-{number}");
        env.session(&name, json!({"ttl": "1h"})).await?;
        env.active(&name).await?;
        env.delete_and_wait::<DatabaseSession>(&name).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_session_costs_what_it_costs_on_a_server_of_ones_own() -> Result<()> {
    let own = TestEnv::builder().version(PgVersion::V18).flag("--resync-interval=1h").start().await?;
    sessions_one_by_one(&own).await?;
    let metrics = async || own.operator.as_ref().context("an operator")?.get("/metrics").await;
    let before = round_trips(&metrics().await?)?;
    sessions_one_by_one(&own).await?;
    let on_own = round_trips(&metrics().await?)? - before;

    let mut env = RdsEnv::start(PgVersion::V18, None).await?;
    env.start_process(&["--resync-interval=1h"]).await?;
    sessions_one_by_one(&env).await?;
    let (before, tokens) = (round_trips(&env.metrics().await?)?, env.front.seen().tokens.len());
    sessions_one_by_one(&env).await?;
    let on_rds = round_trips(&env.metrics().await?)? - before;
    println!("{COUNTED} sessions, start and end: {on_own} round trips, on RDS {on_rds}");
    // A health check may fall between.
    assert!(on_rds <= on_own + COUNTED, "{on_rds} round trips on RDS, {on_own} on a server of one's own");
    assert_eq!(env.front.seen().tokens.len(), tokens, "nobody signed for each session");
    Ok(())
}

#[tokio::test]
async fn what_the_admin_user_lacks_is_named_with_the_statement() -> Result<()> {
    let env = RdsEnv::start(PgVersion::V18, Some(&format!("grant rds_iam to \"{ADMIN_USER}\""))).await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.pending("alice-orders", "MissingRdsIam").await?;
    let statement = format!("GRANT \"rds_iam\" TO \"{ADMIN_USER}\" WITH ADMIN OPTION");
    assert!(message_of(&session).contains(&statement), "{}", message_of(&session));
    trigger_reconcile(&env).await?;
    env.until::<DatabaseAdmin>("orders", "incapable", |admin| {
        let status = admin.status.as_ref();
        let capable = status.and_then(|status| conditions::find(&status.conditions, conditions::CAPABLE));
        capable
            .is_some_and(|capable| capable.reason == "MissingRdsIam" && capable.message.contains(&statement))
    })
    .await?;
    env.pg.sql("postgres", &statement).await?;
    env.active("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn the_role_that_may_set_passwords_is_named_with_the_statement() -> Result<()> {
    let restricted = format!(
        "grant rds_iam to \"{ADMIN_USER}\" with admin option;
         alter role \"{ADMIN_USER}\" set rds.restrict_password_commands = '1'"
    );
    let env = RdsEnv::start(PgVersion::V18, Some(&restricted)).await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.pending("alice-orders", "MissingCreateRole").await?;
    let statement = format!("GRANT rds_password TO \"{ADMIN_USER}\"");
    assert!(message_of(&session).contains(&statement), "{}", message_of(&session));
    env.until::<DatabaseAdmin>("orders", "incapable", |admin| {
        let status = admin.status.as_ref();
        let capable = status.and_then(|status| conditions::find(&status.conditions, conditions::CAPABLE));
        capable.is_some_and(|capable| {
            capable.status == conditions::FALSE && capable.message.contains(&statement)
        })
    })
    .await?;
    env.pg.sql("postgres", &statement).await?;
    trigger_reconcile(&env).await?;
    env.active("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn hosts_where_nobody_can_be_provisioned_are_refused() -> Result<()> {
    let env = TestEnv::builder().without_objects().start().await?;
    env.role("reader", json!({})).await?;
    env.user("alice", json!({})).await?;
    let admin = async |host: &str| env.admin(json!({"spec": {"uri": format!("{host}:5432")}})).await;
    for (name, host, says) in [
        ("proxy", "orders.proxy-abc123.eu-west-1.rds.amazonaws.com", "RDS Proxy"),
        ("sharded", "orders.shardgrp-abc123.eu-west-1.rds.amazonaws.com", "not sharded"),
        ("dsql", "foo0bar1.dsql.us-east-1.on.aws", "DSQL"),
    ] {
        admin(host).await?;
        // A session is decided by what was found of its server, and must not meet the host before.
        env.until("orders", says, |admin: &DatabaseAdmin| message_of(admin).contains(says)).await?;
        env.session(name, json!({"ttl": "1h"})).await?;
        let session = env.rejected(name, "Unsupported").await?;
        assert!(message_of(&session).contains(says), "{}", message_of(&session));
    }
    admin("orders.cluster-ro-abc123.eu-west-1.rds.amazonaws.com").await?;
    let is_reader = |admin: &DatabaseAdmin| reason_of(admin) == "ReadOnlyEndpoint";
    env.until("orders", "a reader", is_reader).await?;
    env.session("reader", json!({})).await?;
    env.pending("reader", "ReadOnlyEndpoint").await?;
    Ok(())
}
