//! What cannot be relied on is not.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::PostParams;
use rolecall_api::{DatabaseSession, DatabaseSessionDecision};
use rolecall_tests::objects::message_of;
use serde_json::json;

use super::{Approver, ask, asks, given, request, start};
use rolecall_tests::TestEnv;

#[tokio::test]
async fn without_admission_policies_nothing_starts_that_needs_approval() -> Result<()> {
    let env = TestEnv::start().await?;
    super::ask_for(&env, json!({})).await?;
    ask(&env, "s", json!({})).await?;
    let session = env.pending("s", "ApprovalsNotEnforced").await?;
    ensure!(message_of(&session).contains("--admission-enforced"), "{}", message_of(&session));
    super::assert_nothing_was_done(&env, "s").await
}

#[tokio::test]
async fn whoever_asks_does_not_decide_whatever_they_say() -> Result<()> {
    let env = start(json!({})).await?;
    let bob = Approver::new(&env, "bob", None).await?;
    ask(&env, "s", json!({})).await?;
    let wanted = request(&env, "s").await?;
    // The tests themselves have every right in the cluster, and asked.
    let me = asks(&env).await?;
    let api: Api<DatabaseSessionDecision> = Api::namespaced(env.client.clone(), &env.namespace);
    let mut mine = bob.decision("mine", &wanted, "Approve")?;
    mine.spec.decided_by.clone_from(&me);
    let refused = api.create(&PostParams::default(), &mine).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("somebody else has to decide")));
    let forged = api.create(&PostParams::default(), &bob.decision("forged", &wanted, "Approve")?).await;
    ensure!(forged.is_err_and(|error| error.to_string().contains("and not bob")));
    // A lie gets past admission and no further.
    mine.spec.requested_by = "somebody else".to_owned();
    api.create(&PostParams::default(), &mine).await?;
    let void = |session: &DatabaseSession| message_of(session).contains("1 decision(s) do not count");
    let session = env.until("s", "with a void decision", void).await?;
    ensure!(given(&session) == Some(0));
    super::assert_nothing_was_done(&env, "s").await
}

#[tokio::test]
async fn a_role_names_the_groups_whose_members_decide() -> Result<()> {
    let env = start(json!({"who": {"groups": ["dba"]}})).await?;
    let bob = Approver::new(&env, "bob", None).await?;
    let carol = Approver::new(&env, "carol", Some("dba")).await?;
    ask(&env, "s", json!({})).await?;
    let wanted = request(&env, "s").await?;
    bob.approves(&wanted).await?;
    let void = |session: &DatabaseSession| message_of(session).contains("1 decision(s) do not count");
    env.until("s", "with a void decision", void).await?;
    let mut claims = bob.decision("claims", &wanted, "Approve")?;
    claims.spec.groups = vec!["dba".to_owned()];
    let refused = bob.api().create(&PostParams::default(), &claims).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("is not in every group")));
    let mut member = carol.decision("member", &wanted, "Approve")?;
    member.spec.groups = vec!["dba".to_owned()];
    carol.decides(&member).await?;
    env.active("s").await?;
    Ok(())
}
