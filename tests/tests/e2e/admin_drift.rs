//! What somebody does by hand on the server, or to objects while no operator runs.

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase};
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{is_ready, message_of, reason_of};
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use serde_json::json;

use crate::checks::trigger_reconcile;

#[tokio::test]
async fn what_somebody_granted_revoked_or_closed_by_hand_is_repaired_at_the_next_reconcile() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let by_hand = format!(
        "revoke reader from \"{ALICE}\" granted by \"{ADMIN_USER}\";
         grant writer to \"{ALICE}\" granted by \"{ADMIN_USER}\"; alter role \"{ALICE}\" nologin"
    );
    env.pg.sql("postgres", &by_hand).await?;

    trigger_reconcile(&env).await?;
    let repaired = |account: Option<&rolecall_tests::Account>| {
        account.is_some_and(|account| account.is_enabled_with(&["reader"]))
    };
    env.account_until("what policy says", repaired).await?;
    env.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_repaired_though_no_object_changes() -> Result<()> {
    let env = TestEnv::builder().flag("--resync-interval=1s").start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let as_left = |account: Option<&rolecall_tests::Account>| {
        account.is_some_and(|account| account.is_enabled_with(&["reader"]))
    };
    for by_hand in [
        format!("grant writer to \"{ALICE}\" granted by \"{ADMIN_USER}\""),
        format!("revoke reader from \"{ALICE}\" granted by \"{ADMIN_USER}\""),
        format!("alter role \"{ALICE}\" nologin"),
    ] {
        env.pg.sql("postgres", &by_hand).await?;
        env.account_until("what policy says", as_left).await.context(by_hand)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_access_whose_marker_somebody_took_is_not_over_while_it_can_be_used() -> Result<()> {
    let env = TestEnv::builder().flag("--resync-interval=1s").start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let by_hand = format!("revoke \"teleport-auto-user\" from \"{ALICE}\" granted by \"{ADMIN_USER}\"");
    env.pg.sql("postgres", &by_hand).await?;
    let reported = |session: &DatabaseSession| reason_of(session) == "UserConflict" && !is_ready(session);
    env.until("alice-orders", "in conflict", reported).await?;
    env.event("alice-orders", "UserConflict").await?;

    env.delete::<DatabaseSession>("alice-orders").await?;
    let session = env.phase("alice-orders", SessionPhase::Ending, "UserConflict").await?;
    let remedy = format!("GRANT \"teleport-auto-user\" TO \"{ALICE}\"");
    assert!(message_of(&session).contains(&remedy), "{}", message_of(&session));
    assert!(env.account().await?.is_some_and(|account| account.login), "it is not touched");
    env.pg.sql("postgres", &remedy).await?;
    env.gone::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_record_that_somebody_overwrote_is_written_again_and_disturbs_nobody() -> Result<()> {
    let env = TestEnv::builder().flag("--resync-interval=1s").start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    let before = env.account().await?.and_then(|account| account.comment).context("a record")?;
    env.pg.sql("postgres", &format!("comment on role \"{ALICE}\" is 'HR'")).await?;
    let repaired = |account: Option<&rolecall_tests::Account>| {
        account.is_some_and(|account| account.comment.as_ref() == Some(&before))
    };
    env.account_until("recorded again", repaired).await?;
    rolecall_testbed::rows(&client, "select 1").await.context("the connection lives on")?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_access_whose_record_somebody_took_is_not_over_while_it_can_be_used() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    // No reconcile finds this before the session is deleted.
    env.pg.sql("postgres", &format!("comment on role \"{ALICE}\" is 'HR'")).await?;
    env.delete::<DatabaseSession>("alice-orders").await?;
    let session = env.phase("alice-orders", SessionPhase::Ending, "UserConflict").await?;
    assert!(env.account().await?.is_some_and(|account| account.login), "it is not touched");
    let message = message_of(&session);
    let remedy = message.split_once("run ").and_then(|(_, rest)| rest.split_once(" to have it back"));
    let (remedy, _) = remedy.with_context(|| message.to_owned())?;
    env.pg.sql("postgres", remedy).await?;
    env.gone::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_finalizer_that_somebody_took_off_a_live_session_comes_back() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.patch::<DatabaseSession>("alice-orders", json!({"metadata": {"finalizers": null}})).await?;
    let marked = |session: &DatabaseSession| session.metadata.finalizers.iter().flatten().count() == 1;
    env.until("alice-orders", "marked again", marked).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_access_whose_session_was_removed_by_force_is_ended() -> Result<()> {
    let env = forgotten(json!({})).await?;
    env.account_until("disabled", |account| account.is_some_and(rolecall_tests::Account::is_disabled))
        .await?;
    assert!(env.event("orders", "OrphanEnded").await?.contains(ALICE));
    Ok(())
}

#[tokio::test]
async fn an_access_whose_session_was_removed_by_force_is_only_counted_where_the_admin_says_so() -> Result<()>
{
    let env = forgotten(json!({"spec": {"orphans": "Report"}})).await?;
    let counted = |admin: &DatabaseAdmin| {
        admin.status.as_ref().and_then(|s| s.accounts.as_ref()).is_some_and(|counts| counts.orphaned == 1)
    };
    env.until("orders", "counting an orphan", counted).await?;
    assert!(env.account().await?.is_some_and(|account| account.login));
    Ok(())
}

/// A test environment with an account that is enabled, and an operator that has never heard of its session.
async fn forgotten(admin: serde_json::Value) -> Result<TestEnv> {
    let mut env = TestEnv::start().await?;
    env.admin(admin).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.crash_operator().await;
    env.patch::<DatabaseSession>("alice-orders", json!({"metadata": {"finalizers": null}})).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    env.start_operator().await?;
    Ok(env)
}
