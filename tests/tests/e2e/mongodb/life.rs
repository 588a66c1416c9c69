//! The life of a session.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{CreateDbUserMode, DatabaseSession, EndReason, SessionPhase};
use rolecall_tests::MongoWorld;
use rolecall_tests::mongo::{self, AUTHENTICATION_FAILED, UNAUTHORIZED};
use serde_json::json;

use super::is_over;

#[tokio::test]
async fn a_session_gives_exactly_its_roles_and_takes_them_away() -> Result<()> {
    let world = MongoWorld::start().await?;
    assert_eq!(world.account().await?, None, "nobody has an account before a session");
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    let session = world.active("alice-orders").await?;
    let status = session.status.context("a status")?;
    let reader = world.role_name("reader");
    assert_eq!((status.username.as_deref(), status.db_roles), (Some(&*world.alice), vec![reader.clone()]));
    let account = world.account().await?.context("an account")?;
    assert!(account.is_enabled_with(&[&reader]), "{account:?}");

    let secret = world.secret("alice-orders").await?;
    let client = mongo::login_with(&secret).await?;
    assert!(world.read(&client).await?.is_some());
    let refused = world.write(&client).await.err().context("a reader does not write")?;
    assert_eq!(mongo::code(&refused), Some(UNAUTHORIZED));

    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_over(&world, &client).await?;
    let refused = mongo::login_with(&secret).await.err().context("nobody logs in any more")?;
    assert_eq!(mongo::login_code(&refused), Some(AUTHENTICATION_FAILED), "{refused:#}");
    assert!(world.find::<Secret>("alice-orders").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn expiry_takes_the_rights_of_an_open_connection_within_a_second() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.session("alice-orders", json!({"ttl": "4s"})).await?;
    let expires = expires_at(&world.active("alice-orders").await?)?;
    let client = world.login("alice-orders").await?;
    let refused = loop {
        match world.read(&client).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(refused) => break refused,
        }
    };
    // Times in a status are cut to seconds.
    let late = Timestamp::now().duration_since(expires).as_secs_f64();
    assert!((0.0..2.0).contains(&late), "{late} s after its end: {refused}");
    world.ended("alice-orders", EndReason::Expired).await?;
    is_over(&world, &client).await
}

#[tokio::test]
async fn two_sessions_share_an_account_and_the_last_one_ends_it() -> Result<()> {
    let world = MongoWorld::start().await?;
    for name in ["one", "two"] {
        world.session(name, json!({})).await?;
        world.active(name).await?;
    }
    let (one, two) = (world.login("one").await?, world.login("two").await?);
    world.delete_and_wait::<DatabaseSession>("one").await?;
    assert!(world.read(&two).await?.is_some(), "the other session is not disturbed");
    world.delete_and_wait::<DatabaseSession>("two").await?;
    is_over(&world, &one).await?;
    is_over(&world, &two).await
}

#[tokio::test]
async fn a_kept_account_is_enabled_again_by_the_next_session() -> Result<()> {
    let world = MongoWorld::start().await?;
    for round in 0..2 {
        world.session("alice-orders", json!({})).await?;
        world.active("alice-orders").await?;
        let client = world.login("alice-orders").await?;
        assert!(world.read(&client).await?.is_some(), "round {round}");
        world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
        is_over(&world, &client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn best_effort_drop_drops_the_account() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    world.session("alice-orders", json!({})).await?;
    let session = world.active("alice-orders").await?;
    assert_eq!(session.status.and_then(|status| status.mode), Some(CreateDbUserMode::BestEffortDrop));
    let client = world.login("alice-orders").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_eq!(world.account().await?, None);
    assert!(world.read(&client).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_session_needs_no_logical_database() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.session("alice-orders", json!({"databaseName": null})).await?;
    let session = world.active("alice-orders").await?;
    let connection = session.status.and_then(|status| status.connection).context("an address")?;
    assert_eq!(connection.database, None);
    assert!(!world.secret("alice-orders").await?.contains_key("database"));
    let client = world.login("alice-orders").await?;
    assert!(world.read(&client).await?.is_some());

    // Which names are allowed is not looked at; that all of them are denied is.
    world.role("reader", json!({"allow": {"dbNames": ["other"]}})).await?;
    world.session("second", json!({"databaseName": null})).await?;
    world.active("second").await?;
    world.role("reader", json!({"deny": {"dbNames": ["*"]}})).await?;
    world.pending("alice-orders", "AccessDenied").await?;
    is_over(&world, &client).await
}

#[tokio::test]
async fn a_restarted_operator_goes_on_where_the_last_one_was() -> Result<()> {
    let mut world = MongoWorld::start().await?;
    world.session("stays", json!({})).await?;
    world.session("goes", json!({"ttl": "1h"})).await?;
    world.active("stays").await?;
    world.active("goes").await?;
    let client = world.login("stays").await?;
    let secret = world.secret("stays").await?;
    world.crash_operator().await;
    world.delete::<DatabaseSession>("goes").await?;
    world.start_operator().await?;
    world.gone::<DatabaseSession>("goes").await?;
    assert!(world.read(&client).await?.is_some(), "who is connected notices nothing");
    assert_eq!(world.secret("stays").await?, secret);

    world.crash_operator().await;
    world.delete::<DatabaseSession>("stays").await?;
    world.start_operator().await?;
    world.gone::<DatabaseSession>("stays").await?;
    is_over(&world, &client).await
}

#[tokio::test]
async fn an_account_whose_session_was_removed_by_force_is_ended() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.session("alice-orders", json!({})).await?;
    let session = world.active("alice-orders").await?;
    assert_eq!(rolecall_tests::objects::phase(&session), SessionPhase::Active);
    let client = world.login("alice-orders").await?;
    world.patch::<DatabaseSession>("alice-orders", json!({"metadata": {"finalizers": null}})).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    world.account_until("disabled", |account| account.is_some_and(|account| account.is_disabled())).await?;
    is_over(&world, &client).await
}

fn expires_at(session: &DatabaseSession) -> Result<Timestamp> {
    Ok(session.status.as_ref().and_then(|status| status.expires_at.clone()).context("an end")?.0)
}
