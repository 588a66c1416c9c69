//! From a request to a decision.

use anyhow::{Context, Result, ensure};
use rolecall_api::{
    DatabaseSession, DatabaseSessionDecision, ProvisioningRole, SessionPhase, SessionRequest, Verdict,
    conditions,
};
use rolecall_tests::objects::{message_of, phase};
use serde_json::json;

use super::{Approver, ask, asks, assert_nothing_was_done, given, request, start};
use crate::deletion_namespace::delete_namespace;

#[tokio::test]
async fn a_session_says_what_it_asks_for_and_starts_when_enough_others_have_approved() -> Result<()> {
    let env = start(json!({"count": 2})).await?;
    let (bob, carol) = (Approver::new(&env, "bob", None).await?, Approver::new(&env, "carol", None).await?);
    ask(&env, "s", json!({"ttl": "1h", "startDeadline": "2s"})).await?;
    let wanted = request(&env, "s").await?;
    let session: DatabaseSession = env.get("s").await?;
    let status = session.status.context("a status")?;
    ensure!(!conditions::is_true(&status.conditions, conditions::STALLED), "{status:?}");
    ensure!(conditions::is_true(&status.conditions, conditions::RECONCILING), "{status:?}");
    ensure!(Some(&wanted.session.uid) == session.metadata.uid.as_ref());
    ensure!(wanted.requested_by == asks(&env).await?);
    ensure!(wanted.reason.as_deref() == Some("INC-1234"));
    ensure!(wanted.db_roles == ["reader"] && wanted.mode == "Keep", "{wanted:?}");
    ensure!(wanted.duration.is_some_and(|duration| duration.get().as_secs() == 3_600));
    ensure!(wanted.server.uri == env.pg.address() && wanted.server.database_name.as_deref() == Some("app"));
    ensure!(wanted.hash == computed(&wanted)?, "anybody can compute it");
    ensure!(env.event("s", "AwaitingApproval").await?.contains("2 of 2 approval(s)"));

    bob.approves(&wanted).await?;
    env.until("s", "approved by one", |session: &DatabaseSession| given(session) == Some(1)).await?;
    // Longer than its startDeadline, which begins when it may start.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_nothing_was_done(&env, "s").await?;
    ensure!(phase(&env.get("s").await?) == SessionPhase::Pending);

    carol.approves(&wanted).await?;
    let active = env.active("s").await?;
    env.login("s").await?;
    let status = active.status.context("a status")?;
    let by: Vec<&str> = status.approvals.iter().map(|decision| decision.by.as_str()).collect();
    ensure!(by == ["bob", "carol"], "{by:?}");
    ensure!(status.approvals.iter().all(|decision| decision.decision == Verdict::Approve));
    let (started, expires) =
        (status.started_at.context("a start")?.0, status.expires_at.context("an end")?.0);
    ensure!(expires.duration_since(started).as_secs() == 3_600, "the ttl begins at the start");
    ensure!(started > session.metadata.creation_timestamp.context("a time")?.0);
    ensure!(env.event("s", "Approved").await?.contains("bob, carol"));

    // The decisions go with the session.
    env.delete_and_wait::<DatabaseSession>("s").await?;
    env.eventually("the decisions are gone", async || {
        Ok(env.list::<DatabaseSessionDecision>().await?.is_empty())
    })
    .await
}

/// The hash as anybody computes it: what is asked for, keys sorted, no blanks, and a program for SHA-256.
fn computed(request: &SessionRequest) -> Result<String> {
    let mut request = serde_json::to_value(request)?;
    request.as_object_mut().context("an object")?.remove("hash");
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), request.to_string())?;
    let output = std::process::Command::new("sha256sum").arg(file.path()).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(format!("sha256:{}", text.split(' ').next().unwrap_or_default()))
}

#[tokio::test]
async fn one_denial_ends_it_whoever_has_approved() -> Result<()> {
    let env = start(json!({"count": 2})).await?;
    let (bob, carol) = (Approver::new(&env, "bob", None).await?, Approver::new(&env, "carol", None).await?);
    ask(&env, "s", json!({})).await?;
    let wanted = request(&env, "s").await?;
    bob.approves(&wanted).await?;
    carol.denies(&wanted).await?;
    let rejected = env.rejected("s", "ApprovalDenied").await?;
    ensure!(message_of(&rejected) == "carol denied it: as agreed", "{}", message_of(&rejected));
    assert_nothing_was_done(&env, "s").await
}

#[tokio::test]
async fn nobody_decided_in_time() -> Result<()> {
    let env = start(json!({"timeout": "3s"})).await?;
    ask(&env, "s", json!({})).await?;
    request(&env, "s").await?;
    let rejected = env.rejected("s", "ApprovalExpired").await?;
    let status = rejected.status.context("a status")?;
    ensure!(conditions::is_true(&status.conditions, conditions::STALLED), "it is final: {status:?}");
    assert_nothing_was_done(&env, "s").await
}

#[tokio::test]
async fn a_decision_counts_for_what_was_read_and_while_it_is_there() -> Result<()> {
    let env = start(json!({"count": 2})).await?;
    let (bob, carol) = (Approver::new(&env, "bob", None).await?, Approver::new(&env, "carol", None).await?);
    ask(&env, "s", json!({})).await?;
    let first = request(&env, "s").await?;
    bob.approves(&first).await?;
    env.until("s", "approved by one", |session: &DatabaseSession| given(session) == Some(1)).await?;

    // Policy gives more: that has not been approved.
    env.patch::<ProvisioningRole>("reader", json!({"spec": {"allow": {"dbRoles": ["reader", "writer"]}}}))
        .await?;
    let other = |session: &DatabaseSession| {
        let now = session.status.as_ref().and_then(|status| status.request.as_ref());
        now.is_some_and(|now| now.hash != first.hash) && given(session) == Some(0)
    };
    let session = env.until("s", "another request", other).await?;
    ensure!(message_of(&session).contains("1 decision(s) do not count"), "{}", message_of(&session));
    let second = request(&env, "s").await?;
    ensure!(second.db_roles == ["reader", "writer"]);
    carol.approves(&second).await?;
    env.until("s", "approved by one", |session: &DatabaseSession| given(session) == Some(1)).await?;
    let name = bob.approves(&first).await;
    ensure!(name.is_err(), "that one is there already: {name:?}");

    // What is taken back does not count, and nobody takes back the word of somebody else.
    let carols = format!("s-carol-{}", &second.hash[7..15]);
    let refused = bob.takes_back(&carols).await;
    ensure!(refused.is_err_and(|error| format!("{error:#}").contains("which is that of carol")));
    carol.takes_back(&carols).await?;
    env.until("s", "approved by nobody", |session: &DatabaseSession| given(session) == Some(0)).await?;
    bob.approves(&second).await?;
    env.until("s", "approved by one", |session: &DatabaseSession| given(session) == Some(1)).await?;
    assert_nothing_was_done(&env, "s").await?;
    carol.approves(&second).await?;
    env.active("s").await?;
    Ok(())
}

#[tokio::test]
async fn a_namespace_goes_with_requests_and_decisions_in_it() -> Result<()> {
    let env = start(json!({"count": 2})).await?;
    let bob = Approver::new(&env, "bob", None).await?;
    for name in ["s1", "s2"] {
        ask(&env, name, json!({})).await?;
        bob.approves(&request(&env, name).await?).await?;
    }
    delete_namespace(&env).await
}
