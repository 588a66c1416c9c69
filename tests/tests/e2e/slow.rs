//! What objects tell while a server takes too long.

use anyhow::Result;
use rolecall_api::{DatabaseSession, SessionPhase, reasons};
use rolecall_tests::objects::{message_of, phase, reason_of};
use rolecall_tests::{Account, World};
use serde_json::json;

#[tokio::test]
async fn a_look_that_is_given_up_is_reported_on_the_object() -> Result<()> {
    let world = World::builder().flag("--reconcile-timeout=2s").start().await?;
    for user in ["bob", "carol"] {
        world.user(user, json!({})).await?;
    }
    world.session("ends", json!({})).await?;
    world.session("stays", json!({"user": "bob"})).await?;
    world.active("ends").await?;
    world.active("stays").await?;
    world.pg.pause().await;
    world.delete::<DatabaseSession>("ends").await?;
    let told = |wanted: SessionPhase| {
        move |session: &DatabaseSession| {
            phase(session) == wanted && reason_of(session) == reasons::RECONCILE_TIMED_OUT
        }
    };
    // It must not go on saying that all is well.
    let ends: DatabaseSession = world.until("ends", "Ending, given up", told(SessionPhase::Ending)).await?;
    assert!(message_of(&ends).contains("after 2 s"), "{}", message_of(&ends));
    assert!(ends.status.as_ref().is_some_and(|status| status.ending_since.is_some()));
    world.session("starts", json!({"user": "carol"})).await?;
    world.until("starts", "Pending, given up", told(SessionPhase::Pending)).await?;
    world.pg.unpause().await;
    world.gone::<DatabaseSession>("ends").await?;
    world.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    world.active("starts").await?;
    world.active("stays").await?;
    Ok(())
}
