//! What is live is put right after a restart, wherever the operator was when it ended.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, EndReason, ProvisioningRole, SessionPhase};
use rolecall_testbed::rows;
use rolecall_tests::objects::phase;
use rolecall_tests::world::{ADMIN_USER, ALICE};
use rolecall_tests::{Account, Credentials, World};
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn a_restart_disturbs_no_live_session() -> Result<()> {
    for credentials in [Credentials::X509, Credentials::Password] {
        let mut world = World::builder().credentials(credentials).start().await?;
        world.session("alice-orders", json!({"ttl": "1h"})).await?;
        let before = world.active("alice-orders").await?;
        let secret: Secret = world.get("alice-orders").await?;
        let client = world.login("alice-orders").await?;
        world.stop_operator().await?;
        world.start_operator().await?;
        // Something for it to do, after which it has processed the account.
        world.session("second", json!({})).await?;
        world.active("second").await?;
        rows(&client, "select 1").await.context("the connection lives on")?;
        assert_eq!(world.get::<DatabaseSession>("alice-orders").await?.status, before.status);
        assert_eq!(world.get::<Secret>("alice-orders").await?.resource_version(), secret.resource_version());
        world.login("alice-orders").await?;
        world.login("second").await?;
    }
    Ok(())
}

#[tokio::test]
async fn memberships_that_drifted_while_it_was_down_are_mended() -> Result<()> {
    let mut world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    world.crash_operator().await;
    let drift = format!(
        "set role \"{ADMIN_USER}\"; revoke reader from \"{ALICE}\"; grant writer to \"{ALICE}\"; reset role"
    );
    world.pg.sql("postgres", &drift).await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["writer"])));
    world.start_operator().await?;
    let mended =
        |account: Option<&Account>| account.is_some_and(|account| account.is_enabled_with(&["reader"]));
    world.account_until("mended", mended).await?;
    assert!(
        client.query_one("select 1", &[]).await.is_err(),
        "every connection that might have the role is terminated"
    );
    world.login("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_login_that_somebody_took_away_while_it_was_down_comes_back() -> Result<()> {
    let mut world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.crash_operator().await;
    world.pg.sql("postgres", &format!("alter role \"{ALICE}\" nologin")).await?;
    world.start_operator().await?;
    world.account_until("enabled", |account| account.is_some_and(|account| account.login)).await?;
    world.login("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn an_account_that_was_dropped_while_it_was_down_is_made_again() -> Result<()> {
    let mut world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.crash_operator().await;
    world.pg.sql("postgres", &format!("drop role \"{ALICE}\"")).await?;
    world.start_operator().await?;
    let there =
        |account: Option<&Account>| account.is_some_and(|account| account.is_enabled_with(&["reader"]));
    world.account_until("there again", there).await?;
    Ok(())
}

#[tokio::test]
async fn what_ended_while_it_was_down_is_ended_at_the_start() -> Result<()> {
    let mut world = World::start().await?;
    for (user, ttl) in [("expires", "3s"), ("deleted", "1h"), ("revoked", "1h"), ("suspended", "1h")] {
        world.role(user, json!({})).await?;
        world.user(user, json!({"roles": [user]})).await?;
        world.session(user, json!({"user": user, "ttl": ttl})).await?;
    }
    for user in ["expires", "deleted", "revoked", "suspended"] {
        world.active(user).await?;
    }
    let client = world.login("expires").await?;
    world.crash_operator().await;
    world.delete::<DatabaseSession>("deleted").await?;
    world.delete::<ProvisioningRole>("revoked").await?;
    world.patch::<DatabaseUser>("suspended", json!({"spec": {"suspend": true}})).await?;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    rows(&client, "select 1").await.context("no operator runs to end it")?;
    assert!(world.find::<DatabaseSession>("deleted").await?.is_some(), "the finalizer holds it");

    world.start_operator().await?;
    world.ended("expires", EndReason::Expired).await?;
    world.ended("revoked", EndReason::AccessRevoked).await?;
    world.ended("suspended", EndReason::UserSuspended).await?;
    world.gone::<DatabaseSession>("deleted").await?;
    for user in ["expires", "deleted", "revoked", "suspended"] {
        assert!(world.account_of(user).await?.is_some_and(|account| account.is_disabled()), "{user}");
        assert!(world.find::<Secret>(user).await?.is_none(), "{user}");
    }
    assert!(client.query_one("select 1", &[]).await.is_err());
    Ok(())
}

/// Crashes the operator after each of some thousandths of a second of a start, and again of an end.
#[tokio::test]
async fn a_crash_at_any_step_leaves_nothing_half_done() -> Result<()> {
    let mut world = World::builder().without_operator().start().await?;
    for step in 0..12_u64 {
        let name = format!("session-{step}");
        let wait = std::time::Duration::from_millis(step * step);
        world.session(&name, json!({})).await?;
        world.start_operator().await?;
        tokio::time::sleep(wait).await;
        world.crash_operator().await;
        if phase(&world.get(&name).await?) == SessionPhase::Active {
            assert!(
                world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])),
                "{step}"
            );
            world.login(&name).await?;
        }
        world.start_operator().await?;
        world.active(&name).await?;
        world.login(&name).await?;

        world.delete::<DatabaseSession>(&name).await?;
        tokio::time::sleep(wait / 4).await;
        world.crash_operator().await;
        if world.find::<DatabaseSession>(&name).await?.is_none() {
            assert!(world.account().await?.is_some_and(|account| account.is_disabled()), "{step}");
        }
        world.start_operator().await?;
        world.gone::<DatabaseSession>(&name).await?;
        assert!(world.account().await?.is_some_and(|account| account.is_disabled()), "{step}");
        assert!(world.find::<Secret>(&name).await?.is_none(), "{step}");
        world.crash_operator().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_process_is_followed_by_one_that_goes_on() -> Result<()> {
    let world = World::builder().without_operator().start().await?;
    let mut first = world.process(&[]).await?;
    world.session("ends", json!({"ttl": "4s"})).await?;
    world.session("stays", json!({})).await?;
    world.active("ends").await?;
    world.active("stays").await?;
    let client = world.login("stays").await?;
    first.signal(Signal::KILL)?;
    first.ended().await?;
    world.session("waits", json!({"databaseName": "app2"})).await?;

    let _second = world.process(&[]).await?;
    world.active("waits").await?;
    world.ended("ends", EndReason::Expired).await?;
    rows(&client, "select 1").await.context("the connection lives on")?;
    Ok(())
}

#[tokio::test]
async fn accesses_end_even_if_the_admin_was_deleted_while_it_was_down() -> Result<()> {
    let mut world = World::start().await?;
    world.session("timed", json!({"ttl": "1h"})).await?;
    world.active("timed").await?;
    world.crash_operator().await;
    world.delete::<DatabaseAdmin>("orders").await?;
    world.start_operator().await?;
    world.ended("timed", EndReason::DatabaseRemoved).await?;
    world.gone::<DatabaseAdmin>("orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}
