//! What somebody does by hand on the server, or to objects while nobody looks.

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase};
use rolecall_tests::World;
use rolecall_tests::objects::{is_ready, message_of, reason_of};
use rolecall_tests::world::{ADMIN_USER, ALICE};
use serde_json::json;

use crate::checks::look_again;

#[tokio::test]
async fn what_somebody_granted_revoked_or_closed_by_hand_is_mended_at_the_next_look() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let by_hand = format!(
        "revoke reader from \"{ALICE}\" granted by \"{ADMIN_USER}\";
         grant writer to \"{ALICE}\" granted by \"{ADMIN_USER}\"; alter role \"{ALICE}\" nologin"
    );
    world.pg.sql("postgres", &by_hand).await?;

    look_again(&world).await?;
    let mended = |account: Option<&rolecall_tests::Account>| {
        account.is_some_and(|account| account.is_enabled_with(&["reader"]))
    };
    world.account_until("what policy says", mended).await?;
    world.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_mended_though_no_object_changes() -> Result<()> {
    let world = World::builder().flag("--resync-interval=1s").start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let as_left = |account: Option<&rolecall_tests::Account>| {
        account.is_some_and(|account| account.is_enabled_with(&["reader"]))
    };
    for by_hand in [
        format!("grant writer to \"{ALICE}\" granted by \"{ADMIN_USER}\""),
        format!("revoke reader from \"{ALICE}\" granted by \"{ADMIN_USER}\""),
        format!("alter role \"{ALICE}\" nologin"),
    ] {
        world.pg.sql("postgres", &by_hand).await?;
        world.account_until("what policy says", as_left).await.context(by_hand)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_access_whose_marker_somebody_took_is_not_over_while_it_can_be_used() -> Result<()> {
    let world = World::builder().flag("--resync-interval=1s").start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let by_hand = format!("revoke \"teleport-auto-user\" from \"{ALICE}\" granted by \"{ADMIN_USER}\"");
    world.pg.sql("postgres", &by_hand).await?;
    let told = |session: &DatabaseSession| reason_of(session) == "UserConflict" && !is_ready(session);
    world.until("alice-orders", "in conflict", told).await?;
    world.event("alice-orders", "UserConflict").await?;

    world.delete::<DatabaseSession>("alice-orders").await?;
    let session = world.phase("alice-orders", SessionPhase::Ending, "UserConflict").await?;
    let remedy = format!("GRANT \"teleport-auto-user\" TO \"{ALICE}\"");
    assert!(message_of(&session).contains(&remedy), "{}", message_of(&session));
    assert!(world.account().await?.is_some_and(|account| account.login), "it is not touched");
    world.pg.sql("postgres", &remedy).await?;
    world.gone::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_record_that_somebody_overwrote_is_written_again_and_disturbs_nobody() -> Result<()> {
    let world = World::builder().flag("--resync-interval=1s").start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    let before = world.account().await?.and_then(|account| account.comment).context("a record")?;
    world.pg.sql("postgres", &format!("comment on role \"{ALICE}\" is 'HR'")).await?;
    let mended = |account: Option<&rolecall_tests::Account>| {
        account.is_some_and(|account| account.comment.as_ref() == Some(&before))
    };
    world.account_until("recorded again", mended).await?;
    rolecall_testbed::rows(&client, "select 1").await.context("the connection lives on")?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_access_whose_record_somebody_took_is_not_over_while_it_can_be_used() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    // No look finds this before the session is deleted.
    world.pg.sql("postgres", &format!("comment on role \"{ALICE}\" is 'HR'")).await?;
    world.delete::<DatabaseSession>("alice-orders").await?;
    let session = world.phase("alice-orders", SessionPhase::Ending, "UserConflict").await?;
    assert!(world.account().await?.is_some_and(|account| account.login), "it is not touched");
    let message = message_of(&session);
    let remedy = message.split_once("run ").and_then(|(_, rest)| rest.split_once(" to have it back"));
    let (remedy, _) = remedy.with_context(|| message.to_owned())?;
    world.pg.sql("postgres", remedy).await?;
    world.gone::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_finalizer_that_somebody_took_off_a_live_session_comes_back() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.patch::<DatabaseSession>("alice-orders", json!({"metadata": {"finalizers": null}})).await?;
    let marked = |session: &DatabaseSession| session.metadata.finalizers.iter().flatten().count() == 1;
    world.until("alice-orders", "marked again", marked).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_access_whose_session_was_removed_by_force_is_ended() -> Result<()> {
    let world = forgotten(json!({})).await?;
    world
        .account_until("disabled", |account| account.is_some_and(rolecall_tests::Account::is_disabled))
        .await?;
    assert!(world.event("orders", "OrphanEnded").await?.contains(ALICE));
    Ok(())
}

#[tokio::test]
async fn an_access_whose_session_was_removed_by_force_is_only_counted_where_the_admin_says_so() -> Result<()>
{
    let world = forgotten(json!({"spec": {"orphans": "Report"}})).await?;
    let counted = |admin: &DatabaseAdmin| {
        admin.status.as_ref().and_then(|s| s.accounts.as_ref()).is_some_and(|counts| counts.orphaned == 1)
    };
    world.until("orders", "counting an orphan", counted).await?;
    assert!(world.account().await?.is_some_and(|account| account.login));
    Ok(())
}

/// A world with an account that is enabled, and an operator that has never heard of its session.
async fn forgotten(admin: serde_json::Value) -> Result<World> {
    let mut world = World::start().await?;
    world.admin(admin).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.crash_operator().await;
    world.patch::<DatabaseSession>("alice-orders", json!({"metadata": {"finalizers": null}})).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    world.start_operator().await?;
    Ok(world)
}
