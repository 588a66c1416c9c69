//! Accounts that Rolecall may not use, or not now.

use anyhow::Result;
use rolecall_api::{AccountPhase, DatabaseSession, DatabaseUser};
use rolecall_tests::TestEnv;
use rolecall_tests::accounts::MARKER;
use rolecall_tests::objects::message_of;
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use serde_json::json;

use crate::checks::{admin_ready, nothing_secret_is_shown, row_of, session_reports, statement};

#[tokio::test]
async fn an_unmanaged_user_of_the_same_name_is_never_touched() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    let statements = format!(
        "create role \"{ALICE}\" login password 'of-her-own' connection limit 3 in role writer;
         comment on role \"{ALICE}\" is 'not yours'; alter role \"{ALICE}\" set search_path = app"
    );
    env.pg.sql("postgres", &statements).await?;
    let before = row_of(&env, ALICE).await?;

    let mut env = env;
    env.start_operator().await?;
    env.session("alice-orders", json!({})).await?;
    session_reports(&env, "alice-orders", "UserConflict", "rename or drop that user").await?;
    let reported = |user: &DatabaseUser| {
        user.status.iter().flat_map(|s| &s.accounts).any(|account| account.phase == AccountPhase::Conflict)
    };
    env.until("alice", "reporting the conflict", reported).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_eq!(row_of(&env, ALICE).await?, before);
    nothing_secret_is_shown(&env).await
}

#[tokio::test]
async fn a_session_starts_once_the_user_in_its_way_is_gone() -> Result<()> {
    let env = TestEnv::start().await?;
    env.pg.sql("postgres", &format!("create role \"{ALICE}\" login")).await?;
    env.session("alice-orders", json!({})).await?;
    env.pending("alice-orders", "UserConflict").await?;

    env.pg.sql("postgres", &format!("drop role \"{ALICE}\"")).await?;
    env.active("alice-orders").await.map(drop)
}

#[tokio::test]
async fn an_idle_account_that_teleport_managed_is_taken_over_with_nothing_left_of_before() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    teleport_managed(&env).await?;
    let leftovers = format!(
        "grant writer to \"{ALICE}\" granted by \"{ADMIN_USER}\"; alter role \"{ALICE}\" set search_path = evil;
         alter role \"{ALICE}\" in database app set role = 'writer'; alter role \"{ALICE}\" password 'known'"
    );
    env.pg.sql("postgres", &leftovers).await?;

    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let account = env.account().await?.unwrap_or_default();
    assert!(account.is_enabled_with(&["reader"]), "{account:?}");
    assert!(!account.settings && !account.password, "{account:?}");
    assert!(account.comment.is_some_and(|comment| comment.contains("\"uid\"")));
    Ok(())
}

#[tokio::test]
async fn a_managed_account_that_somebody_else_works_with_is_waited_for() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    teleport_managed(&env).await?;
    let client = env.pg.connect("app", &env.pg.client_cert(ALICE)?).await?;

    env.session("alice-orders", json!({})).await?;
    session_reports(&env, "alice-orders", "AccountInUse", "when it is idle").await?;
    client.query_one("select 1", &[]).await?;

    drop(client);
    env.active("alice-orders").await.map(drop)
}

#[tokio::test]
async fn a_membership_that_the_admin_cannot_revoke_delays_no_end_but_blocks_the_next_start() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("first", json!({})).await?;
    env.active("first").await?;
    env.pg.sql("postgres", &format!("grant writer to \"{ALICE}\"")).await?;

    env.delete_and_wait::<DatabaseSession>("first").await?;
    let account = env.account().await?.unwrap_or_default();
    assert!(!account.login && account.backends == 0, "{account:?}");
    let reported = |user: &DatabaseUser| {
        let mut messages = user.status.iter().flat_map(|s| &s.accounts).filter_map(|a| a.message.as_deref());
        messages.any(|message| message.contains("writer") && message.contains("REVOKE"))
    };
    env.until("alice", "reporting the membership", reported).await?;

    env.session("second", json!({})).await?;
    let session = session_reports(&env, "second", "LeftoverMembership", "granted by \"postgres\"").await?;
    env.pg.sql("postgres", statement(message_of(&session))?).await?;
    env.active("second").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    Ok(())
}

#[tokio::test]
async fn a_prepared_transaction_delays_no_end_but_blocks_the_next_start() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("first", json!({})).await?;
    env.active("first").await?;
    let client = env.login("first").await?;
    client.batch_execute("begin; select pg_current_xact_id(); prepare transaction 'it''s open'").await?;
    env.delete_and_wait::<DatabaseSession>("first").await?;

    env.session("second", json!({})).await?;
    let session = session_reports(&env, "second", "LeftoverMembership", "ROLLBACK PREPARED").await?;
    env.pg.sql("app", statement(message_of(&session))?).await?;
    env.active("second").await.map(drop)
}

#[tokio::test]
async fn an_account_that_was_made_a_superuser_does_not_start_again() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("first", json!({})).await?;
    env.active("first").await?;
    env.pg.sql("postgres", &format!("alter role \"{ALICE}\" createdb")).await?;
    env.delete_and_wait::<DatabaseSession>("first").await?;

    env.session("second", json!({})).await?;
    let session = session_reports(&env, "second", "LeftoverMembership", "NOCREATEDB").await?;
    env.pg.sql("postgres", statement(message_of(&session))?).await?;
    env.active("second").await.map(drop)
}

/// An account as Teleport leaves it when its user is gone.
async fn teleport_managed(env: &TestEnv) -> Result<()> {
    let statements = format!(
        "create role \"{ALICE}\" login; grant \"{ALICE}\" to \"{ADMIN_USER}\" with admin option;
         grant \"{MARKER}\" to \"{ALICE}\" granted by \"{ADMIN_USER}\""
    );
    env.pg.sql("postgres", &statements).await.map(drop)?;
    Ok(())
}
