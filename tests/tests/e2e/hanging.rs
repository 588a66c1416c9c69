//! Servers that do not answer any more though connections to them worked, and commits that wait for a lost standby.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason, SessionPhase, conditions};
use rolecall_tests::objects::{Conditions, message_of, phase, reason_of};
use rolecall_tests::{Account, TestEnv};
use serde_json::json;

use crate::checks::admin_ready;

/// Reported within seconds, even on a loaded machine; a server that hangs keeps statements for 40 s.
const SOON: Duration = Duration::from_secs(15);

fn is_silent(admin: &DatabaseAdmin) -> bool {
    conditions::find(admin.conditions(), conditions::READY).is_some_and(|ready| ready.status == "False")
}

#[tokio::test]
async fn an_end_that_waits_for_a_server_that_hangs_is_reported() -> Result<()> {
    let env = TestEnv::start().await?;
    env.user("bob", json!({})).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.session("bob-orders", json!({"user": "bob", "ttl": "8s"})).await?;
    env.active("bob-orders").await?;

    env.pg.pause().await;
    let begun = Instant::now();
    env.delete::<DatabaseSession>("alice-orders").await?;
    let ending = |session: &DatabaseSession| phase(session) == SessionPhase::Ending;
    let reported = env.until("alice-orders", "Ending", ending).await?;
    let took = begun.elapsed();
    let silent = env.until("orders", "not Ready", is_silent).await?;
    let server_reported = begun.elapsed();
    let expired = env.until("bob-orders", "Ending", ending).await?;
    env.pg.unpause().await;
    ensure!(took < SOON, "it was reported after {took:?}\n{}", env.log());
    ensure!(server_reported < SOON * 2, "it was reported after {server_reported:?}\n{}", env.log());
    ensure!(message_of(&reported).contains("waits for the server"), "{}", message_of(&reported));
    assert_eq!(reason_of(&silent), "DatabaseUnreachable");
    let end_reason = expired.status.and_then(|status| status.end_reason);
    assert_eq!(end_reason, Some(EndReason::Expired));

    env.gone::<DatabaseSession>("alice-orders").await?;
    env.ended("bob-orders", EndReason::Expired).await?;
    admin_ready(&env).await?;
    Ok(())
}

#[tokio::test]
async fn a_start_deadline_is_kept_while_the_server_hangs_and_afterwards() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    // A connection that worked is there.
    env.user("bob", json!({})).await?;
    env.session("bob-orders", json!({"user": "bob"})).await?;
    env.active("bob-orders").await?;

    env.pg.pause().await;
    let begun = Instant::now();
    env.session("alice-orders", json!({"ttl": "1h", "startDeadline": "5s"})).await?;
    let given_up =
        |session: &DatabaseSession| matches!(phase(session), SessionPhase::Rejected | SessionPhase::Ending);
    env.until("alice-orders", "given up", given_up).await?;
    let took = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(8)).await;
    env.pg.unpause().await;
    ensure!(took < SOON, "it was given up after {took:?}\n{}", env.log());
    let is_active = |session: &DatabaseSession| phase(session) == SessionPhase::Active;
    let rejected = |session: &DatabaseSession| {
        assert!(!is_active(session), "it started after its deadline");
        phase(session) == SessionPhase::Rejected
    };
    env.until("alice-orders", "Rejected", rejected).await?;
    env.account_until("without access", |account| account.is_none_or(Account::is_disabled)).await?;
    Ok(())
}

#[tokio::test]
async fn a_success_after_the_start_deadline_starts_no_session() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    // Nothing can be granted for some time, although the server answers.
    let blocker = env.pg.superuser("postgres").await?;
    blocker.batch_execute("begin; lock table pg_catalog.pg_auth_members in share mode").await?;
    env.session("alice-orders", json!({"ttl": "1h", "startDeadline": "1s"})).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    blocker.batch_execute("rollback").await?;
    let rejected = |session: &DatabaseSession| {
        assert!(phase(session) != SessionPhase::Active, "it started after its deadline");
        phase(session) == SessionPhase::Rejected
    };
    env.until("alice-orders", "Rejected", rejected).await?;
    env.account_until("without access", |account| account.is_none_or(Account::is_disabled)).await?;
    Ok(())
}

#[tokio::test]
async fn an_end_says_that_it_waits_for_a_standby_and_nobody_gets_in_meanwhile() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let inside = env.login("alice-orders").await?;
    let secret = env.secret("alice-orders").await?;
    let superuser = env.pg.superuser("postgres").await?;
    superuser.batch_execute("alter system set synchronous_standby_names = 'lost'").await?;
    superuser.batch_execute("select pg_reload_conf()").await?;
    // The server acts on it a moment later.
    let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    let commits = env.pg.superuser("postgres").await?;
    env
        .eventually("commits wait", async || {
            let waits = async {
                while env.pg.value("postgres", waiting).await?.as_deref() == Some("0") {
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
    env.pg.value("postgres", cancel).await?;

    let begun = Instant::now();
    env.delete::<DatabaseSession>("alice-orders").await?;
    let ending = env.phase("alice-orders", SessionPhase::Ending, "WaitingForStandby").await?;
    ensure!(begun.elapsed() < SOON, "it was reported after {:?}\n{}", begun.elapsed(), env.log());
    ensure!(message_of(&ending).contains("waits for the standby"), "{}", message_of(&ending));
    assert!(inside.query_one("select 1", &[]).await.is_err());
    assert!(env.login_with(&secret).await.is_err());

    // The next operator does not take it for over either.
    let mut env = env;
    env.crash_operator().await;
    env.start_operator().await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    env.phase("alice-orders", SessionPhase::Ending, "WaitingForStandby").await?;
    superuser.batch_execute("alter system reset synchronous_standby_names").await?;
    superuser.batch_execute("select pg_reload_conf()").await?;
    env.gone::<DatabaseSession>("alice-orders").await?;
    let account = env.account().await?.context("it is kept")?;
    ensure!(account.is_disabled(), "{account:?}");
    Ok(())
}
