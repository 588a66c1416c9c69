//! What is live is put right after a restart, whatever the operator was doing when it ended.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, EndReason, ProvisioningRole, SessionPhase};
use rolecall_testbed::rows;
use rolecall_tests::objects::phase;
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use rolecall_tests::{Account, Credentials, TestEnv};
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn a_restart_disturbs_no_live_session() -> Result<()> {
    for credentials in [Credentials::X509, Credentials::Password] {
        let mut env = TestEnv::builder().credentials(credentials).start().await?;
        env.session("alice-orders", json!({"ttl": "1h"})).await?;
        let before = env.active("alice-orders").await?;
        let secret: Secret = env.get("alice-orders").await?;
        let client = env.login("alice-orders").await?;
        env.stop_operator().await?;
        env.start_operator().await?;
        // Something for it to do, after which it has processed the account.
        env.session("second", json!({})).await?;
        env.active("second").await?;
        rows(&client, "select 1").await.context("the connection lives on")?;
        assert_eq!(env.get::<DatabaseSession>("alice-orders").await?.status, before.status);
        assert_eq!(env.get::<Secret>("alice-orders").await?.resource_version(), secret.resource_version());
        env.login("alice-orders").await?;
        env.login("second").await?;
    }
    Ok(())
}

#[tokio::test]
async fn memberships_that_drifted_while_it_was_down_are_repaired() -> Result<()> {
    let mut env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    env.crash_operator().await;
    let drift = format!(
        "set role \"{ADMIN_USER}\"; revoke reader from \"{ALICE}\"; grant writer to \"{ALICE}\"; reset role"
    );
    env.pg.sql("postgres", &drift).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["writer"])));
    env.start_operator().await?;
    let repaired =
        |account: Option<&Account>| account.is_some_and(|account| account.is_enabled_with(&["reader"]));
    env.account_until("repaired", repaired).await?;
    let terminated = async || Ok(client.query_one("select 1", &[]).await.is_err());
    env.eventually("every connection that might have the role is terminated", terminated).await?;
    env.login("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_login_that_somebody_took_away_while_it_was_down_comes_back() -> Result<()> {
    let mut env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.crash_operator().await;
    env.pg.sql("postgres", &format!("alter role \"{ALICE}\" nologin")).await?;
    env.start_operator().await?;
    env.account_until("enabled", |account| account.is_some_and(|account| account.login)).await?;
    env.login("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn an_account_that_was_dropped_while_it_was_down_is_made_again() -> Result<()> {
    let mut env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.crash_operator().await;
    env.pg.sql("postgres", &format!("drop role \"{ALICE}\"")).await?;
    env.start_operator().await?;
    let there =
        |account: Option<&Account>| account.is_some_and(|account| account.is_enabled_with(&["reader"]));
    env.account_until("there again", there).await?;
    Ok(())
}

#[tokio::test]
async fn what_ended_while_it_was_down_is_ended_at_the_start() -> Result<()> {
    let mut env = TestEnv::start().await?;
    for (user, ttl) in [("expires", "3s"), ("deleted", "1h"), ("revoked", "1h"), ("suspended", "1h")] {
        env.role(user, json!({})).await?;
        env.user(user, json!({"roles": [user]})).await?;
        env.session(user, json!({"user": user, "ttl": ttl})).await?;
    }
    for user in ["expires", "deleted", "revoked", "suspended"] {
        env.active(user).await?;
    }
    let client = env.login("expires").await?;
    env.crash_operator().await;
    env.delete::<DatabaseSession>("deleted").await?;
    env.delete::<ProvisioningRole>("revoked").await?;
    env.patch::<DatabaseUser>("suspended", json!({"spec": {"suspend": true}})).await?;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    rows(&client, "select 1").await.context("no operator runs to end it")?;
    assert!(env.find::<DatabaseSession>("deleted").await?.is_some(), "the finalizer keeps it");

    env.start_operator().await?;
    env.ended("expires", EndReason::Expired).await?;
    env.ended("revoked", EndReason::AccessRevoked).await?;
    env.ended("suspended", EndReason::UserSuspended).await?;
    env.gone::<DatabaseSession>("deleted").await?;
    for user in ["expires", "deleted", "revoked", "suspended"] {
        assert!(env.account_of(user).await?.is_some_and(|account| account.is_disabled()), "{user}");
        assert!(env.find::<Secret>(user).await?.is_none(), "{user}");
    }
    assert!(client.query_one("select 1", &[]).await.is_err());
    Ok(())
}

/// Crashes the operator after each of some thousandths of a second of a start, and again of an end.
#[tokio::test]
async fn a_crash_at_any_step_leaves_nothing_half_done() -> Result<()> {
    let mut env = TestEnv::builder().without_operator().start().await?;
    for step in 0..12_u64 {
        let name = format!("session-{step}");
        let wait = std::time::Duration::from_millis(step * step);
        env.session(&name, json!({})).await?;
        env.start_operator().await?;
        tokio::time::sleep(wait).await;
        env.crash_operator().await;
        if phase(&env.get(&name).await?) == SessionPhase::Active {
            assert!(
                env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])),
                "{step}"
            );
            env.login(&name).await?;
        }
        env.start_operator().await?;
        env.active(&name).await?;
        env.login(&name).await?;

        env.delete::<DatabaseSession>(&name).await?;
        tokio::time::sleep(wait / 4).await;
        env.crash_operator().await;
        if env.find::<DatabaseSession>(&name).await?.is_none() {
            assert!(env.account().await?.is_some_and(|account| account.is_disabled()), "{step}");
        }
        env.start_operator().await?;
        env.gone::<DatabaseSession>(&name).await?;
        assert!(env.account().await?.is_some_and(|account| account.is_disabled()), "{step}");
        assert!(env.find::<Secret>(&name).await?.is_none(), "{step}");
        env.crash_operator().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_process_is_followed_by_one_that_goes_on() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    let mut first = env.process(&[]).await?;
    env.session("ends", json!({"ttl": "4s"})).await?;
    env.session("stays", json!({})).await?;
    env.active("ends").await?;
    env.active("stays").await?;
    let client = env.login("stays").await?;
    first.signal(Signal::KILL)?;
    first.ended().await?;
    env.session("waits", json!({"databaseName": "app2"})).await?;

    let _second = env.process(&[]).await?;
    env.active("waits").await?;
    env.ended("ends", EndReason::Expired).await?;
    rows(&client, "select 1").await.context("the connection lives on")?;
    Ok(())
}

#[tokio::test]
async fn accesses_end_even_if_the_admin_was_deleted_while_it_was_down() -> Result<()> {
    let mut env = TestEnv::start().await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.active("timed").await?;
    env.crash_operator().await;
    env.delete::<DatabaseAdmin>("orders").await?;
    env.start_operator().await?;
    env.ended("timed", EndReason::DatabaseRemoved).await?;
    env.gone::<DatabaseAdmin>("orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}
