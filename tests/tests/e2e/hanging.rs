//! Servers that do not answer any more though connections to them worked, and commits that wait for a lost standby.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason, SessionPhase, conditions};
use rolecall_tests::objects::{Conditions, message_of, phase, reason_of};
use rolecall_tests::{Account, World};
use serde_json::json;

use crate::checks::admin_ready;

/// Told within seconds, whatever the machine does beside it; a server that hangs keeps statements for 40 s.
const SOON: Duration = Duration::from_secs(15);

fn is_silent(admin: &DatabaseAdmin) -> bool {
    conditions::find(admin.conditions(), conditions::READY).is_some_and(|ready| ready.status == "False")
}

#[tokio::test]
async fn an_end_that_waits_for_a_server_that_hangs_is_reported() -> Result<()> {
    let world = World::start().await?;
    world.user("bob", json!({})).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.session("bob-orders", json!({"user": "bob", "ttl": "8s"})).await?;
    world.active("bob-orders").await?;

    world.pg.pause().await;
    let begun = Instant::now();
    world.delete::<DatabaseSession>("alice-orders").await?;
    let ending = |session: &DatabaseSession| phase(session) == SessionPhase::Ending;
    let told = world.until("alice-orders", "Ending", ending).await?;
    let took = begun.elapsed();
    let silent = world.until("orders", "not Ready", is_silent).await?;
    let told_of_server = begun.elapsed();
    let expired = world.until("bob-orders", "Ending", ending).await?;
    world.pg.unpause().await;
    ensure!(took < SOON, "it was told after {took:?}\n{}", world.log());
    ensure!(told_of_server < SOON * 2, "it was told after {told_of_server:?}\n{}", world.log());
    ensure!(message_of(&told).contains("waits for the server"), "{}", message_of(&told));
    assert_eq!(reason_of(&silent), "DatabaseUnreachable");
    let end_reason = expired.status.and_then(|status| status.end_reason);
    assert_eq!(end_reason, Some(EndReason::Expired));

    world.gone::<DatabaseSession>("alice-orders").await?;
    world.ended("bob-orders", EndReason::Expired).await?;
    admin_ready(&world).await?;
    Ok(())
}

#[tokio::test]
async fn a_start_deadline_is_kept_while_the_server_hangs_and_afterwards() -> Result<()> {
    let world = World::start().await?;
    admin_ready(&world).await?;
    // A connection that worked is there.
    world.user("bob", json!({})).await?;
    world.session("bob-orders", json!({"user": "bob"})).await?;
    world.active("bob-orders").await?;

    world.pg.pause().await;
    let begun = Instant::now();
    world.session("alice-orders", json!({"ttl": "1h", "startDeadline": "5s"})).await?;
    let given_up =
        |session: &DatabaseSession| matches!(phase(session), SessionPhase::Rejected | SessionPhase::Ending);
    world.until("alice-orders", "given up", given_up).await?;
    let took = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(8)).await;
    world.pg.unpause().await;
    ensure!(took < SOON, "it was given up after {took:?}\n{}", world.log());
    let is_active = |session: &DatabaseSession| phase(session) == SessionPhase::Active;
    let rejected = |session: &DatabaseSession| {
        assert!(!is_active(session), "it started after its deadline");
        phase(session) == SessionPhase::Rejected
    };
    world.until("alice-orders", "Rejected", rejected).await?;
    world.account_until("without access", |account| account.is_none_or(Account::is_disabled)).await?;
    Ok(())
}

#[tokio::test]
async fn a_late_success_is_held_against_the_start_deadline() -> Result<()> {
    let world = World::start().await?;
    admin_ready(&world).await?;
    // Nothing can be granted for some time, and the server answers all the same.
    let blocker = world.pg.superuser("postgres").await?;
    blocker.batch_execute("begin; lock table pg_catalog.pg_auth_members in share mode").await?;
    world.session("alice-orders", json!({"ttl": "1h", "startDeadline": "1s"})).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    blocker.batch_execute("rollback").await?;
    let rejected = |session: &DatabaseSession| {
        assert!(phase(session) != SessionPhase::Active, "it started after its deadline");
        phase(session) == SessionPhase::Rejected
    };
    world.until("alice-orders", "Rejected", rejected).await?;
    world.account_until("without access", |account| account.is_none_or(Account::is_disabled)).await?;
    Ok(())
}

#[tokio::test]
async fn an_end_says_that_it_waits_for_a_standby_and_nobody_gets_in_meanwhile() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let inside = world.login("alice-orders").await?;
    let secret = world.secret("alice-orders").await?;
    let superuser = world.pg.superuser("postgres").await?;
    superuser.batch_execute("alter system set synchronous_standby_names = 'lost'").await?;
    superuser.batch_execute("select pg_reload_conf()").await?;
    // The server acts on it a moment later.
    let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    let commits = world.pg.superuser("postgres").await?;
    world
        .eventually("commits wait", async || {
            let waits = async {
                while world.pg.value("postgres", waiting).await?.as_deref() == Some("0") {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok::<_, anyhow::Error>(())
            };
            tokio::select! {
                done = commits.batch_execute("alter role postgres connection limit -1") => done.map(|()| false).map_err(Into::into),
                waits = waits => waits.map(|()| true),
            }
        })
        .await?;
    let cancel = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";
    world.pg.value("postgres", cancel).await?;

    let begun = Instant::now();
    world.delete::<DatabaseSession>("alice-orders").await?;
    let ending = world.phase("alice-orders", SessionPhase::Ending, "WaitingForStandby").await?;
    ensure!(begun.elapsed() < SOON, "it was told after {:?}\n{}", begun.elapsed(), world.log());
    ensure!(message_of(&ending).contains("waits for the standby"), "{}", message_of(&ending));
    assert!(inside.query_one("select 1", &[]).await.is_err());
    assert!(world.login_with(&secret).await.is_err());

    // Whoever comes after this operator does not take it for over either.
    let mut world = world;
    world.crash_operator().await;
    world.start_operator().await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.phase("alice-orders", SessionPhase::Ending, "WaitingForStandby").await?;
    superuser.batch_execute("alter system reset synchronous_standby_names").await?;
    superuser.batch_execute("select pg_reload_conf()").await?;
    world.gone::<DatabaseSession>("alice-orders").await?;
    let account = world.account().await?.context("it is kept")?;
    ensure!(account.is_disabled(), "{account:?}");
    Ok(())
}
