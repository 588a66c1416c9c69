//! What becomes of a session that was approved, when policy gives something else.

use anyhow::{Context, Result, ensure};
use rolecall_api::{DatabaseSession, EndReason, ProvisioningRole};
use rolecall_ledger::Event;
use serde_json::json;

use super::audit::lines_of;
use super::{Approver, ENFORCED, ask, ask_for, request, start};
use rolecall_tests::TestEnv;

#[tokio::test]
async fn a_live_session_gets_nothing_that_was_not_approved() -> Result<()> {
    let env = start(json!({})).await?;
    let bob = Approver::new(&env, "bob", None).await?;
    ask(&env, "s", json!({"ttl": "1h"})).await?;
    bob.approves(&request(&env, "s").await?).await?;
    let active = env.active("s").await?;
    let expires = active.status.context("a status")?.expires_at;

    // Whoever asked makes it longer, and policy gives another database role.
    env.patch::<DatabaseSession>("s", json!({"spec": {"ttl": "5h"}})).await?;
    let wider = json!({"spec": {"allow": {"dbRoles": ["reader", "writer"]}}});
    let generation = env.patch::<ProvisioningRole>("reader", wider).await?.metadata.generation;
    let observed = |role: &ProvisioningRole| {
        role.status.as_ref().and_then(|status| status.observed_generation) == generation
    };
    env.until("reader", "observed", observed).await?;
    let seen = |session: &DatabaseSession| {
        session.status.as_ref().and_then(|status| status.observed_generation) == session.metadata.generation
    };
    let session = env.until("s", "observed", seen).await?;
    let status = session.status.context("a status")?;
    ensure!(status.expires_at == expires, "{:?}, and not {expires:?}", status.expires_at);
    ensure!(status.db_roles == ["reader"], "{:?}", status.db_roles);
    let account = env.account().await?.context("an account")?;
    ensure!(!format!("{account:?}").contains("writer"), "{account:?}");

    // What is taken away is taken at once.
    env.patch::<ProvisioningRole>("reader", json!({"spec": {"allow": {"dbRoles": []}}})).await?;
    let without =
        |session: &DatabaseSession| session.status.as_ref().is_some_and(|status| status.db_roles.is_empty());
    env.until("s", "without roles", without).await?;

    // Permissions on objects that nobody has approved: it ends.
    let permission = json!([{"match": {"*": ["*"]}, "permissions": ["SELECT"]}]);
    env.patch::<ProvisioningRole>("reader", json!({"spec": {"allow": {"dbPermissions": permission}}}))
        .await?;
    env.ended("s", EndReason::AccessRevoked).await?;
    Ok(())
}

#[tokio::test]
async fn a_session_that_started_without_asks_when_a_role_begins_to() -> Result<()> {
    let env = TestEnv::builder().flag(ENFORCED).start().await?;
    let bob = Approver::new(&env, "bob", None).await?;
    let file = env.operator.as_ref().context("an operator")?.audit().clone();
    ask(&env, "standing", json!({})).await?;
    env.active("standing").await?;
    ask_for(&env, json!({})).await?;
    let wanted = request(&env, "standing").await?;
    ensure!(env.account().await?.is_some_and(|account| account.is_disabled()));
    bob.approves(&wanted).await?;
    env.active("standing").await?;
    let lines = lines_of(&file.text(), "standing");
    let asked: Vec<_> = lines.iter().filter(|line| line.event == Event::Requested).collect();
    ensure!(asked.len() == 1 && asked[0].request_hash == wanted.hash, "{asked:?}");
    let place = |event| lines.iter().position(|line| line.event == event);
    ensure!(place(Event::Withdrawn) < place(Event::Requested), "{lines:?}");
    ensure!(place(Event::Requested) < place(Event::Approved), "{lines:?}");
    // What becomes of the account at the end was approved, too.
    env.patch::<ProvisioningRole>(
        "reader",
        json!({"spec": {"options": {"createDbUserMode": "BestEffortDrop"}}}),
    )
    .await?;
    let anew = request(&env, "standing").await?;
    ensure!(anew.mode == "BestEffortDrop" && anew.hash != wanted.hash, "{anew:?}");
    Ok(())
}
