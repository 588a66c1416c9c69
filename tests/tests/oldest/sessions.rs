//! Sessions from their start to their end.

use anyhow::Result;
use rolecall_api::{DatabaseSession, DatabaseUser, EndReason};
use rolecall_tests::World;
use serde_json::json;

#[tokio::test]
async fn a_session_gives_access_until_it_is_deleted_or_runs_out() -> Result<()> {
    crate::client().await?;
    let mut world = World::builder().without_operator().start().await?;
    // With everything that an operator writes: its Lease too.
    let flags = ["--leader-elect=true", "--leader-election-namespace=rolecall-system"];
    let operator = world.another_operator(&flags).await?;
    operator.ready().await?;
    world.operator = Some(operator);
    world.session("alice-orders", json!({"reason": "INC-1234"})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    assert_eq!(client.query_one("select note from orders", &[]).await?.get::<_, String>(0), "first");
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(client.query_one("select 1", &[]).await.is_err(), "the connection is ended");
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));

    world.session("timed", json!({"ttl": "2s"})).await?;
    world.active("timed").await?;
    world.ended("timed", EndReason::Expired).await?;
    world.event("timed", "Expired").await?;
    let user: DatabaseUser = world.get("alice").await?;
    assert!(user.status.is_some_and(|status| !status.accounts.is_empty()));
    world.stop_operator().await
}
