//! What objects report while a server takes too long.

use anyhow::Result;
use rolecall_api::{DatabaseSession, SessionPhase, reasons};
use rolecall_tests::objects::{message_of, phase, reason_of};
use rolecall_tests::{Account, TestEnv};
use serde_json::json;

#[tokio::test]
async fn a_reconcile_that_times_out_is_reported_on_the_object() -> Result<()> {
    let env = TestEnv::builder().flag("--reconcile-timeout=2s").start().await?;
    for user in ["bob", "carol"] {
        env.user(user, json!({})).await?;
    }
    env.session("ends", json!({})).await?;
    env.session("stays", json!({"user": "bob"})).await?;
    env.active("ends").await?;
    env.active("stays").await?;
    env.pg.pause().await;
    env.delete::<DatabaseSession>("ends").await?;
    let timed_out = |wanted: SessionPhase| {
        move |session: &DatabaseSession| {
            phase(session) == wanted && reason_of(session) == reasons::RECONCILE_TIMED_OUT
        }
    };
    // It must not keep saying that all is well.
    let ends: DatabaseSession =
        env.until("ends", "Ending, timed out", timed_out(SessionPhase::Ending)).await?;
    assert!(message_of(&ends).contains("after 2 s"), "{}", message_of(&ends));
    assert!(ends.status.as_ref().is_some_and(|status| status.ending_since.is_some()));
    env.session("starts", json!({"user": "carol"})).await?;
    env.until("starts", "Pending, timed out", timed_out(SessionPhase::Pending)).await?;
    env.pg.unpause().await;
    env.gone::<DatabaseSession>("ends").await?;
    env.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    env.active("starts").await?;
    env.active("stays").await?;
    Ok(())
}
