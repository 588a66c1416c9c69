//! The password of a live account, whatever somebody does to the account, and whenever an operator crashes.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::DatabaseSession;
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use rolecall_tests::{Account, Credentials, TestEnv};
use serde_json::json;

use crate::checks::{nothing_secret_is_shown, trigger_reconcile};

async fn env() -> Result<TestEnv> {
    TestEnv::builder().credentials(Credentials::Password).flag("--resync-interval=1s").start().await
}

#[tokio::test]
async fn an_account_that_somebody_stripped_is_enabled_again_with_its_password() -> Result<()> {
    let env = env().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let secret = env.secret("alice-orders").await?;
    for by_hand in [
        format!("alter role \"{ALICE}\" nologin password null"),
        format!("drop role \"{ALICE}\""),
        format!("comment on role \"{ALICE}\" is 'HR'; alter role \"{ALICE}\" password null"),
    ] {
        env.pg.sql("postgres", &by_hand).await?;
        let works = async || Ok(env.login_with(&secret).await.is_ok());
        env.eventually(&format!("the password works again after {by_hand}"), works).await?;
    }
    assert_eq!(env.secret("alice-orders").await?, secret, "the Secret need not be read again");
    assert!(env.event("alice-orders", "PasswordRestored").await?.contains("stored again"));
    nothing_secret_is_shown(&env).await
}

#[tokio::test]
async fn a_secret_that_missed_a_change_of_the_password_before_a_crash_gets_another_one() -> Result<()> {
    let mut env = TestEnv::builder().credentials(Credentials::Password).start().await?;
    for name in ["one", "two"] {
        env.session(name, json!({})).await?;
        env.active(name).await?;
    }
    let before: Secret = env.get("two").await?;
    let known = env.secret("one").await?;
    env.delete_and_wait::<DatabaseSession>("one").await?;
    env.crash_operator().await;
    // As if it had not been written.
    let back = json!({
        "metadata": {"annotations": before.metadata.annotations},
        "data": before.data,
    });
    env.patch::<Secret>("two", back).await?;
    assert_eq!(env.secret("two").await?["password"], known["password"]);

    env.start_operator().await?;
    let works = async || Ok(env.login("two").await.is_ok());
    env.eventually("the password of the Secret works", works).await?;
    assert_ne!(env.secret("two").await?["password"], known["password"]);
    assert!(env.login_with(&known).await.is_err(), "who left knows that one");
    Ok(())
}

#[tokio::test]
async fn a_password_that_an_earlier_operator_handed_out_stays_and_is_numbered() -> Result<()> {
    let mut env = TestEnv::builder().credentials(Credentials::Password).start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let secret = env.secret("alice-orders").await?;
    env.crash_operator().await;
    // An operator that does not number passwords leaves neither number.
    let annotation = json!({"metadata": {"annotations": {"rolecall.dev/password-generation": null}}});
    env.patch::<Secret>("alice-orders", annotation).await?;
    let comment = env.account().await?.and_then(|account| account.comment).context("a record")?;
    let mut record: serde_json::Value = serde_json::from_str(&comment)?;
    let number = record.as_object_mut().and_then(|record| record.remove("passwordGeneration"));
    assert!(number.is_some(), "{comment}");
    env.pg.sql("postgres", &format!("comment on role \"{ALICE}\" is '{record}'")).await?;

    env.start_operator().await?;
    let numbered = |secret: &Secret| {
        secret.metadata.annotations.iter().flatten().any(|(key, _)| key.ends_with("generation"))
    };
    env.until::<Secret>("alice-orders", "numbered", numbered).await?;
    assert_eq!(env.secret("alice-orders").await?, secret);
    env.login_with(&secret).await.map(drop)
}

#[tokio::test]
async fn an_account_that_was_dropped_and_that_somebody_made_again_is_dropped_again() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let comment = env.account().await?.and_then(|account| account.comment).context("a record")?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_none());
    for login in ["login", "nologin"] {
        let again = format!(
            "create role \"{ALICE}\" {login}; comment on role \"{ALICE}\" is '{comment}';
             grant \"{ALICE}\" to \"{ADMIN_USER}\" with admin option;
             grant \"teleport-auto-user\" to \"{ALICE}\""
        );
        env.pg.sql("postgres", &again).await?;
        trigger_reconcile(&env).await?;
        env.account_until("dropped", |account: Option<&Account>| account.is_none()).await?;
    }
    assert!(env.event("alice", "AccessReturned").await?.contains("dropped"));
    Ok(())
}
