//! Sessions from their start to their end.

use anyhow::Result;
use rolecall_api::{DatabaseSession, DatabaseUser, EndReason};
use rolecall_tests::TestEnv;
use serde_json::json;

#[tokio::test]
async fn a_session_gives_access_until_it_is_deleted_or_runs_out() -> Result<()> {
    crate::client().await?;
    let mut env = TestEnv::builder().without_operator().start().await?;
    // With everything that an operator writes: its Lease too.
    let flags = ["--leader-elect=true", "--leader-election-namespace=rolecall-system"];
    let operator = env.another_operator(&flags).await?;
    operator.ready().await?;
    env.operator = Some(operator);
    env.session("alice-orders", json!({"reason": "INC-1234"})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    assert_eq!(client.query_one("select note from orders", &[]).await?.get::<_, String>(0), "first");
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(client.query_one("select 1", &[]).await.is_err(), "the connection is ended");
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));

    env.session("timed", json!({"ttl": "2s"})).await?;
    env.active("timed").await?;
    env.ended("timed", EndReason::Expired).await?;
    env.event("timed", "Expired").await?;
    let reported =
        |user: &DatabaseUser| user.status.as_ref().is_some_and(|status| !status.accounts.is_empty());
    env.until("alice", "with an account", reported).await?;
    env.stop_operator().await
}
