//! The life of a session.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{CreateDbUserMode, DatabaseSession, EndReason, SessionPhase};
use rolecall_tests::MongoTestEnv;
use rolecall_tests::mongo::{self, AUTHENTICATION_FAILED, UNAUTHORIZED};
use serde_json::json;

use super::is_over;

#[tokio::test]
async fn a_session_gives_exactly_its_roles_and_takes_them_away() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    assert_eq!(env.account().await?, None, "nobody has an account before a session");
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    let session = env.active("alice-orders").await?;
    let status = session.status.context("a status")?;
    let reader = env.role_name("reader");
    assert_eq!((status.username.as_deref(), status.db_roles), (Some(&*env.alice), vec![reader.clone()]));
    let account = env.account().await?.context("an account")?;
    assert!(account.is_enabled_with(&[&reader]), "{account:?}");

    let secret = env.secret("alice-orders").await?;
    let client = mongo::login_with(&secret).await?;
    assert!(env.read(&client).await?.is_some());
    let refused = env.write(&client).await.err().context("a reader does not write")?;
    assert_eq!(mongo::code(&refused), Some(UNAUTHORIZED));

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_over(&env, &client).await?;
    let refused = mongo::login_with(&secret).await.err().context("nobody logs in any more")?;
    assert_eq!(mongo::login_code(&refused), Some(AUTHENTICATION_FAILED), "{refused:#}");
    assert!(env.find::<Secret>("alice-orders").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn expiry_takes_the_rights_of_an_open_connection_within_a_second() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "4s"})).await?;
    let expires = expires_at(&env.active("alice-orders").await?)?;
    let client = env.login("alice-orders").await?;
    let refused = loop {
        match env.read(&client).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(refused) => break refused,
        }
    };
    // Times in a status are cut to seconds.
    let late = Timestamp::now().duration_since(expires).as_secs_f64();
    assert!((0.0..2.0).contains(&late), "{late} s after its end: {refused}");
    env.ended("alice-orders", EndReason::Expired).await?;
    is_over(&env, &client).await
}

#[tokio::test]
async fn two_sessions_share_an_account_and_the_last_one_ends_it() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    for name in ["one", "two"] {
        env.session(name, json!({})).await?;
        env.active(name).await?;
    }
    let (one, two) = (env.login("one").await?, env.login("two").await?);
    env.delete_and_wait::<DatabaseSession>("one").await?;
    assert!(env.read(&two).await?.is_some(), "the other session is not disturbed");
    env.delete_and_wait::<DatabaseSession>("two").await?;
    is_over(&env, &one).await?;
    is_over(&env, &two).await
}

#[tokio::test]
async fn a_kept_account_is_enabled_again_by_the_next_session() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    for round in 0..2 {
        env.session("alice-orders", json!({})).await?;
        env.active("alice-orders").await?;
        let client = env.login("alice-orders").await?;
        assert!(env.read(&client).await?.is_some(), "round {round}");
        env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
        is_over(&env, &client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn best_effort_drop_drops_the_account() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.active("alice-orders").await?;
    assert_eq!(session.status.and_then(|status| status.mode), Some(CreateDbUserMode::BestEffortDrop));
    let client = env.login("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_eq!(env.account().await?, None);
    assert!(env.read(&client).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_session_needs_no_logical_database() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.session("alice-orders", json!({"databaseName": null})).await?;
    let session = env.active("alice-orders").await?;
    let connection = session.status.and_then(|status| status.connection).context("an address")?;
    assert_eq!(connection.database, None);
    assert!(!env.secret("alice-orders").await?.contains_key("database"));
    let client = env.login("alice-orders").await?;
    assert!(env.read(&client).await?.is_some());

    // Which names are allowed is not checked; that all of them are denied is.
    env.role("reader", json!({"allow": {"dbNames": ["other"]}})).await?;
    env.session("second", json!({"databaseName": null})).await?;
    env.active("second").await?;
    env.role("reader", json!({"deny": {"dbNames": ["*"]}})).await?;
    env.pending("alice-orders", "AccessDenied").await?;
    is_over(&env, &client).await
}

#[tokio::test]
async fn a_restarted_operator_goes_on_where_the_last_one_was() -> Result<()> {
    let mut env = MongoTestEnv::start().await?;
    env.session("stays", json!({})).await?;
    env.session("goes", json!({"ttl": "1h"})).await?;
    env.active("stays").await?;
    env.active("goes").await?;
    let client = env.login("stays").await?;
    let secret = env.secret("stays").await?;
    env.crash_operator().await;
    env.delete::<DatabaseSession>("goes").await?;
    env.start_operator().await?;
    env.gone::<DatabaseSession>("goes").await?;
    assert!(env.read(&client).await?.is_some(), "who is connected notices nothing");
    assert_eq!(env.secret("stays").await?, secret);

    env.crash_operator().await;
    env.delete::<DatabaseSession>("stays").await?;
    env.start_operator().await?;
    env.gone::<DatabaseSession>("stays").await?;
    is_over(&env, &client).await
}

#[tokio::test]
async fn an_account_whose_session_was_removed_by_force_is_ended() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.active("alice-orders").await?;
    assert_eq!(rolecall_tests::objects::phase(&session), SessionPhase::Active);
    let client = env.login("alice-orders").await?;
    env.patch::<DatabaseSession>("alice-orders", json!({"metadata": {"finalizers": null}})).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    env.account_until("disabled", |account| account.is_some_and(|account| account.is_disabled())).await?;
    is_over(&env, &client).await
}

fn expires_at(session: &DatabaseSession) -> Result<Timestamp> {
    Ok(session.status.as_ref().and_then(|status| status.expires_at.clone()).context("an end")?.0)
}
