//! The password of a live account, whatever somebody does to the account, and whenever an operator crashes.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::DatabaseSession;
use rolecall_tests::world::{ADMIN_USER, ALICE};
use rolecall_tests::{Account, Credentials, World};
use serde_json::json;

use crate::checks::{look_again, nothing_secret_is_shown};

async fn world() -> Result<World> {
    World::builder().credentials(Credentials::Password).flag("--resync-interval=1s").start().await
}

#[tokio::test]
async fn an_account_that_somebody_stripped_is_enabled_again_with_its_password() -> Result<()> {
    let world = world().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let secret = world.secret("alice-orders").await?;
    for by_hand in [
        format!("alter role \"{ALICE}\" nologin password null"),
        format!("drop role \"{ALICE}\""),
        format!("comment on role \"{ALICE}\" is 'HR'; alter role \"{ALICE}\" password null"),
    ] {
        world.pg.sql("postgres", &by_hand).await?;
        let works = async || Ok(world.login_with(&secret).await.is_ok());
        world.eventually(&format!("the password works again after {by_hand}"), works).await?;
    }
    assert_eq!(world.secret("alice-orders").await?, secret, "the Secret need not be read again");
    assert!(world.event("alice-orders", "PasswordRestored").await?.contains("stored again"));
    nothing_secret_is_shown(&world).await
}

#[tokio::test]
async fn a_secret_that_missed_a_change_of_the_password_before_a_crash_gets_another_one() -> Result<()> {
    let mut world = World::builder().credentials(Credentials::Password).start().await?;
    for name in ["one", "two"] {
        world.session(name, json!({})).await?;
        world.active(name).await?;
    }
    let before: Secret = world.get("two").await?;
    let known = world.secret("one").await?;
    world.delete_and_wait::<DatabaseSession>("one").await?;
    world.crash_operator().await;
    // As if it had not been written.
    let back = json!({
        "metadata": {"annotations": before.metadata.annotations},
        "data": before.data,
    });
    world.patch::<Secret>("two", back).await?;
    assert_eq!(world.secret("two").await?["password"], known["password"]);

    world.start_operator().await?;
    let works = async || Ok(world.login("two").await.is_ok());
    world.eventually("the password of the Secret works", works).await?;
    assert_ne!(world.secret("two").await?["password"], known["password"]);
    assert!(world.login_with(&known).await.is_err(), "who left knows that one");
    Ok(())
}

#[tokio::test]
async fn a_password_that_an_earlier_operator_handed_out_stays_and_is_numbered() -> Result<()> {
    let mut world = World::builder().credentials(Credentials::Password).start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let secret = world.secret("alice-orders").await?;
    world.crash_operator().await;
    // An operator that does not number passwords leaves neither number.
    let annotation = json!({"metadata": {"annotations": {"rolecall.dev/password-generation": null}}});
    world.patch::<Secret>("alice-orders", annotation).await?;
    let comment = world.account().await?.and_then(|account| account.comment).context("a record")?;
    let mut record: serde_json::Value = serde_json::from_str(&comment)?;
    let number = record.as_object_mut().and_then(|record| record.remove("passwordGeneration"));
    assert!(number.is_some(), "{comment}");
    world.pg.sql("postgres", &format!("comment on role \"{ALICE}\" is '{record}'")).await?;

    world.start_operator().await?;
    let numbered = |secret: &Secret| {
        secret.metadata.annotations.iter().flatten().any(|(key, _)| key.ends_with("generation"))
    };
    world.until::<Secret>("alice-orders", "numbered", numbered).await?;
    assert_eq!(world.secret("alice-orders").await?, secret);
    world.login_with(&secret).await.map(drop)
}

#[tokio::test]
async fn an_account_that_was_dropped_and_that_somebody_made_again_is_dropped_again() -> Result<()> {
    let world = World::start().await?;
    world.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let comment = world.account().await?.and_then(|account| account.comment).context("a record")?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_none());
    for login in ["login", "nologin"] {
        let again = format!(
            "create role \"{ALICE}\" {login}; comment on role \"{ALICE}\" is '{comment}';
             grant \"{ALICE}\" to \"{ADMIN_USER}\" with admin option;
             grant \"teleport-auto-user\" to \"{ALICE}\""
        );
        world.pg.sql("postgres", &again).await?;
        look_again(&world).await?;
        world.account_until("dropped", |account: Option<&Account>| account.is_none()).await?;
    }
    assert!(world.event("alice", "AccessReturned").await?.contains("dropped"));
    Ok(())
}
