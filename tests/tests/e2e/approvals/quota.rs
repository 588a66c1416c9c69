//! How many sessions a user may have.

use anyhow::{Result, ensure};
use rolecall_api::DatabaseSession;
use rolecall_tests::TestEnv;
use rolecall_tests::objects::message_of;
use serde_json::json;

#[tokio::test]
async fn one_session_too_many_is_rejected_and_starts_when_there_is_room() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"options": {"maxSessions": 2}})).await?;
    env.user("bob", json!({})).await?;
    env.session("first", json!({})).await?;
    env.active("first").await?;
    // It waits, and counts.
    env.session("second", json!({"databaseName": "none"})).await?;
    env.pending("second", "DatabaseNameNotFound").await?;
    env.session("third", json!({})).await?;
    let rejected = env.rejected("third", "QuotaExceeded").await?;
    let message = message_of(&rejected);
    ensure!(message.contains("maxSessions of the ProvisioningRole \"reader\""), "{message}");
    ensure!(message.contains("kubectl rolecall sessions --user alice"), "{message}");
    // Another user has room of its own, and so has alice when one is gone.
    env.session("bobs", json!({"user": "bob"})).await?;
    env.active("bobs").await?;
    env.delete_and_wait::<DatabaseSession>("second").await?;
    env.session("fourth", json!({})).await?;
    env.active("fourth").await?;
    env.active("first").await?;
    Ok(())
}
