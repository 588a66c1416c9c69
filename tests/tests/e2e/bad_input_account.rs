//! Accounts that are not Rolecall's to use, or not now.

use anyhow::Result;
use rolecall_api::{AccountPhase, DatabaseSession, DatabaseUser};
use rolecall_tests::World;
use rolecall_tests::accounts::MARKER;
use rolecall_tests::objects::message_of;
use rolecall_tests::world::{ADMIN_USER, ALICE};
use serde_json::json;

use crate::checks::{admin_ready, nothing_secret_is_shown, row_of, session_tells, statement};

#[tokio::test]
async fn an_unmanaged_user_of_the_same_name_is_never_touched() -> Result<()> {
    let world = World::builder().without_operator().start().await?;
    let statements = format!(
        "create role \"{ALICE}\" login password 'of-her-own' connection limit 3 in role writer;
         comment on role \"{ALICE}\" is 'not yours'; alter role \"{ALICE}\" set search_path = app"
    );
    world.pg.sql("postgres", &statements).await?;
    let before = row_of(&world, ALICE).await?;

    let mut world = world;
    world.start_operator().await?;
    world.session("alice-orders", json!({})).await?;
    session_tells(&world, "alice-orders", "UserConflict", "rename or drop that user").await?;
    let reported = |user: &DatabaseUser| {
        user.status.iter().flat_map(|s| &s.accounts).any(|account| account.phase == AccountPhase::Conflict)
    };
    world.until("alice", "reporting the conflict", reported).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_eq!(row_of(&world, ALICE).await?, before);
    nothing_secret_is_shown(&world).await
}

#[tokio::test]
async fn a_session_starts_once_the_user_in_its_way_is_gone() -> Result<()> {
    let world = World::start().await?;
    world.pg.sql("postgres", &format!("create role \"{ALICE}\" login")).await?;
    world.session("alice-orders", json!({})).await?;
    world.pending("alice-orders", "UserConflict").await?;

    world.pg.sql("postgres", &format!("drop role \"{ALICE}\"")).await?;
    world.active("alice-orders").await.map(drop)
}

#[tokio::test]
async fn an_idle_account_that_teleport_managed_is_taken_over_with_nothing_left_of_before() -> Result<()> {
    let world = World::start().await?;
    admin_ready(&world).await?;
    teleport_managed(&world).await?;
    let leftovers = format!(
        "grant writer to \"{ALICE}\" granted by \"{ADMIN_USER}\"; alter role \"{ALICE}\" set search_path = evil;
         alter role \"{ALICE}\" in database app set role = 'writer'; alter role \"{ALICE}\" password 'known'"
    );
    world.pg.sql("postgres", &leftovers).await?;

    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let account = world.account().await?.unwrap_or_default();
    assert!(account.is_enabled_with(&["reader"]), "{account:?}");
    assert!(!account.settings && !account.password, "{account:?}");
    assert!(account.comment.is_some_and(|comment| comment.contains("\"uid\"")));
    Ok(())
}

#[tokio::test]
async fn a_managed_account_that_somebody_else_works_with_is_waited_for() -> Result<()> {
    let world = World::start().await?;
    admin_ready(&world).await?;
    teleport_managed(&world).await?;
    let client = world.pg.connect("app", &world.pg.client_cert(ALICE)?).await?;

    world.session("alice-orders", json!({})).await?;
    session_tells(&world, "alice-orders", "AccountInUse", "when it is idle").await?;
    client.query_one("select 1", &[]).await?;

    drop(client);
    world.active("alice-orders").await.map(drop)
}

#[tokio::test]
async fn a_membership_that_the_admin_cannot_revoke_holds_no_end_back_but_the_next_start() -> Result<()> {
    let world = World::start().await?;
    world.session("first", json!({})).await?;
    world.active("first").await?;
    world.pg.sql("postgres", &format!("grant writer to \"{ALICE}\"")).await?;

    world.delete_and_wait::<DatabaseSession>("first").await?;
    let account = world.account().await?.unwrap_or_default();
    assert!(!account.login && account.backends == 0, "{account:?}");
    let reported = |user: &DatabaseUser| {
        let mut messages = user.status.iter().flat_map(|s| &s.accounts).filter_map(|a| a.message.as_deref());
        messages.any(|message| message.contains("writer") && message.contains("REVOKE"))
    };
    world.until("alice", "reporting the membership", reported).await?;

    world.session("second", json!({})).await?;
    let session = session_tells(&world, "second", "LeftoverMembership", "granted by \"postgres\"").await?;
    world.pg.sql("postgres", statement(message_of(&session))?).await?;
    world.active("second").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    Ok(())
}

#[tokio::test]
async fn a_prepared_transaction_holds_no_end_back_but_the_next_start() -> Result<()> {
    let world = World::start().await?;
    world.session("first", json!({})).await?;
    world.active("first").await?;
    let client = world.login("first").await?;
    client.batch_execute("begin; select pg_current_xact_id(); prepare transaction 'it''s open'").await?;
    world.delete_and_wait::<DatabaseSession>("first").await?;

    world.session("second", json!({})).await?;
    let session = session_tells(&world, "second", "LeftoverMembership", "ROLLBACK PREPARED").await?;
    world.pg.sql("app", statement(message_of(&session))?).await?;
    world.active("second").await.map(drop)
}

#[tokio::test]
async fn an_account_that_was_made_a_superuser_does_not_start_again() -> Result<()> {
    let world = World::start().await?;
    world.session("first", json!({})).await?;
    world.active("first").await?;
    world.pg.sql("postgres", &format!("alter role \"{ALICE}\" createdb")).await?;
    world.delete_and_wait::<DatabaseSession>("first").await?;

    world.session("second", json!({})).await?;
    let session = session_tells(&world, "second", "LeftoverMembership", "NOCREATEDB").await?;
    world.pg.sql("postgres", statement(message_of(&session))?).await?;
    world.active("second").await.map(drop)
}

/// An account as Teleport leaves it when its user has gone.
async fn teleport_managed(world: &World) -> Result<()> {
    let statements = format!(
        "create role \"{ALICE}\" login; grant \"{ALICE}\" to \"{ADMIN_USER}\" with admin option;
         grant \"{MARKER}\" to \"{ALICE}\" granted by \"{ADMIN_USER}\""
    );
    world.pg.sql("postgres", &statements).await.map(drop)?;
    Ok(())
}
