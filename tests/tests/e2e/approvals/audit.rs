//! What the audit log and the report say of who decided.

use anyhow::{Context, Result, ensure};
use rolecall_api::DatabaseSession;
use rolecall_ledger::{Entry, Event};
use rolecall_testbed::Identity;
use rolecall_tests::process::kubectl_rolecall;
use serde_json::{Value, json};

use super::{Approver, ask, request, start};

/// The lines about a session.
pub(super) fn lines_of(text: &str, session: &str) -> Vec<Entry> {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
    lines.filter(|entry| entry.session == session).collect()
}

#[tokio::test]
async fn the_log_and_the_report_name_everybody_who_decided() -> Result<()> {
    let mut env = start(json!({"count": 2})).await?;
    let (bob, carol) = (Approver::new(&env, "bob", None).await?, Approver::new(&env, "carol", None).await?);
    let file = env.operator.as_ref().context("an operator")?.audit().clone();
    ask(&env, "s", json!({"ttl": "1h"})).await?;
    let wanted = request(&env, "s").await?;
    bob.approves(&wanted).await?;
    carol.approves(&wanted).await?;
    env.active("s").await?;
    env.delete_and_wait::<DatabaseSession>("s").await?;
    ask(&env, "no", json!({})).await?;
    let refused = request(&env, "no").await?;
    carol.denies(&refused).await?;
    env.rejected("no", "ApprovalDenied").await?;
    env.stop_operator().await?;

    let lines = lines_of(&file.text(), "s");
    let events: Vec<Event> = lines.iter().map(|line| line.event).collect();
    let order = [Event::Requested, Event::Approved, Event::Approved, Event::Granting, Event::Active];
    ensure!(events.starts_with(&order) && events.last() == Some(&Event::Ended), "{events:?}");
    let by: Vec<&str> =
        lines.iter().filter(|line| line.event == Event::Approved).map(|line| line.by.as_str()).collect();
    ensure!(by == ["bob", "carol"], "{by:?}");
    for line in &lines {
        let (both, hash) = match line.event {
            Event::Requested | Event::Approved => (false, wanted.hash.as_str()),
            _ => (true, ""),
        };
        ensure!(line.request_hash == hash, "{line:?}");
        ensure!(!both || line.approved_by == ["bob", "carol"], "{line:?}");
    }
    let denied = lines_of(&file.text(), "no").pop().context("a line")?;
    ensure!(denied.event == Event::Denied && denied.by == "carol", "{denied:?}");
    ensure!(denied.request_hash == refused.hash);

    let root = Identity::user("root", &["system:masters"]);
    let path = file.path().display().to_string();
    let verified = kubectl_rolecall(&root, &["audit", "verify", &path]).await?;
    ensure!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    // The session is gone, and what was decided about it: the report has it from the log.
    let report =
        kubectl_rolecall(&root, &["report", "-n", &env.namespace, "-f", &path, "-o", "json"]).await?;
    ensure!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let report: Value = serde_json::from_slice(&report.stdout)?;
    let accesses = report["accesses"].as_array().context("accesses")?;
    let access = accesses.iter().find(|access| access["session"] == "s").context("the access")?;
    ensure!(access["approvedBy"] == json!(["bob", "carol"]) && access["state"] == "ended", "{access:#}");
    ensure!(access["requestedBy"] == wanted.requested_by.as_str() && access["why"] == "INC-1234");
    Ok(())
}
