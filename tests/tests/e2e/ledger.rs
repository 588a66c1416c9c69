//! The audit log beside what really happened: over crashes, a takeover of the lead, and a disk that is full.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use rolecall_api::{DatabaseSession, SessionPhase};
use rolecall_ledger::{Access, Accesses, Lines, State, verify};
use rolecall_testbed::Identity;
use rolecall_tests::objects::{message_of, phase};
use rolecall_tests::process::kubectl_rolecall;
use rolecall_tests::{Account, TestEnv};
use rustix::process::Signal;
use serde_json::{Value, json};

const USERS: usize = 12;
const SESSIONS_OF_EACH: usize = 18;

/// What a file and those that it was before say.
fn lines(files: &[&Path]) -> Result<Lines> {
    let mut lines = Lines::default();
    for file in files {
        lines.add(&file.display().to_string(), &std::fs::read_to_string(file)?);
    }
    Ok(lines)
}

fn is_whole(lines: &Lines) -> Result<()> {
    let found = verify(lines, &Default::default()).map_err(anyhow::Error::msg)?;
    ensure!(found.ok, "{:#?}", found.faults);
    Ok(())
}

#[tokio::test]
async fn ledger_events_and_report_tell_of_each_access_once_over_crashes_and_takeovers() -> Result<()> {
    let env = crate::leader::env().await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("audit.jsonl");
    let target = format!("--audit-log={}", file.display());
    let lease = format!("--leader-election-namespace={}", env.namespace);
    let alone = [&*target, "--leader-elect=false"];
    for user in 0..USERS {
        env.user(&format!("user{user}"), json!({})).await?;
    }
    let names: Vec<String> = (0..USERS * SESSIONS_OF_EACH).map(|number| format!("s{number}")).collect();
    let spec = |number: usize| {
        let user = format!("user{}", number % USERS);
        match number % 3 {
            // They end by themselves, while operators come and go.
            0 => json!({"user": user, "ttl": "6s", "startDeadline": "10m"}),
            _ => json!({"user": user, "reason": format!("INC-{number}")}),
        }
    };
    // Operators die between two side effects, each at another one, while sessions start and end.
    let mut crashes = 0;
    let mut had_access = BTreeSet::new();
    let rounds: Vec<&[String]> = names.chunks(names.len().div_ceil(6)).collect();
    for (round, created) in rounds.iter().enumerate() {
        let point = match round {
            0 => "kill:9:audit.written".to_owned(),
            1 => "kill:21:api.written".to_owned(),
            2 => "kill:14:postgres.answered".to_owned(),
            3 => "kill:30:audit.written".to_owned(),
            _ => format!("kill:{}", 40 + 31 * round),
        };
        let mut operator = env.process_with(&alone, &[("ROLECALL_KILL_POINT", &point)]).await?;
        let first = round * rounds[0].len();
        for (number, name) in created.iter().enumerate() {
            env.session(name, spec(first + number)).await?;
        }
        if round > 0 {
            for name in rounds[round - 1].iter().skip(1).step_by(3) {
                if phase(&env.get(name).await?) == SessionPhase::Active {
                    had_access.insert(name.clone());
                }
                env.delete::<DatabaseSession>(name).await?;
            }
        }
        operator.ended().await?;
        crashes += 1;
    }
    // The lead goes from one that is killed to another.
    let elected = [&*target, "--leader-elect=true", &*lease];
    let mut first = env.process(&elected).await?;
    first.log().wait_for("rolecall_operator: ready").await?;
    let second = env.process(&elected).await?;
    second.log().wait_for("waiting for the lead").await?;
    // Until it has done some of its work.
    env.eventually("an access of the first leader", async || {
        Ok(env
            .list::<DatabaseSession>()
            .await?
            .iter()
            .filter(|session| phase(session) == SessionPhase::Active)
            .count()
            > 20)
    })
    .await?;
    first.signal(Signal::KILL)?;
    first.ended().await?;
    crashes += 1;
    let settled = async || {
        let sessions = env.list::<DatabaseSession>().await?;
        let settled = |session: &DatabaseSession| match session.spec.ttl {
            Some(_) => phase(session) == SessionPhase::Ended,
            None => phase(session) == SessionPhase::Active && session.metadata.deletion_timestamp.is_none(),
        };
        Ok(sessions.iter().all(settled))
    };
    env.eventually("all that is asked for is done", settled).await?;
    let left = env.list::<DatabaseSession>().await?;
    second.stop().await?;

    // The audit log is whole, over all operators.
    let lines = lines(&[&file])?;
    is_whole(&lines)?;
    let accesses = Accesses::of(&lines);
    assert_eq!(accesses.lost, 0);
    let mut by_session: BTreeMap<&str, Vec<&Access>> = BTreeMap::new();
    for access in accesses.accesses.iter().filter(|access| access.started_at.is_some()) {
        by_session.entry(&access.session).or_default().push(access);
    }
    // Each access once, whether its session is still there or not; none that nobody asked for.
    for session in &left {
        let name = session.metadata.name.as_deref().unwrap_or_default();
        let [access] = by_session.get(name).map(Vec::as_slice).unwrap_or_default() else {
            anyhow::bail!("{name} is there {} times", by_session.get(name).map_or(0, Vec::len));
        };
        let wanted = if phase(session) == SessionPhase::Active { State::Active } else { State::Ended };
        assert_eq!((access.state, Some(&access.uid)), (wanted, session.metadata.uid.as_ref()), "{access:?}");
        assert_eq!(access.user, session.spec.user);
    }
    for name in &had_access {
        assert!(by_session.contains_key(&**name), "{name} had access when it was deleted");
    }
    let there: BTreeSet<&str> = left.iter().filter_map(|session| session.metadata.name.as_deref()).collect();
    for (name, accesses) in &by_session {
        assert_eq!(accesses.len(), 1, "{accesses:?}");
        assert!(names.iter().any(|known| known == name), "{name} was never asked for");
        if !there.contains(name) {
            assert_eq!((accesses[0].state, &*accesses[0].reason), (State::Ended, "Deleted"), "{name}");
        }
    }
    println!(
        "{} accesses of {} sessions, {} deleted while they had access; {crashes} crashes, {} chains",
        by_session.len(),
        names.len(),
        had_access.len(),
        verify(&lines, &Default::default()).map_err(anyhow::Error::msg)?.chains.len()
    );

    // What events say of ends, the audit log says.
    let ended: BTreeSet<(&str, &str)> = accesses
        .accesses
        .iter()
        .filter(|access| access.state == State::Ended)
        .map(|access| (&*access.uid, &*access.reason))
        .collect();
    let events = env.api::<Event>().list(&ListParams::default()).await?.items;
    let of_ends = events
        .iter()
        .filter(|event| event.action.as_deref() == Some("End") && event.type_.as_deref() == Some("Normal"));
    let mut told = BTreeSet::new();
    for event in of_ends {
        let uid = event.regarding.as_ref().and_then(|about| about.uid.as_deref()).unwrap_or_default();
        let reason = event.reason.as_deref().unwrap_or_default();
        // A session that was deleted before it had access has an event, and needs no access.
        let asked = accesses.accesses.iter().any(|access| access.uid == uid);
        assert!(ended.contains(&(uid, reason)) || !asked, "{event:?}");
        told.insert(uid.to_owned());
    }
    let untold = ended.iter().filter(|(uid, _)| !told.contains(*uid)).count();
    // Events are not kept over a crash: those of what was under way are lost.
    assert!(untold <= crashes * USERS * 2, "{untold} ends have no event");

    // The report has the same, once each.
    let root = Identity::user("root", &["system:masters"]);
    let out = kubectl_rolecall(
        &root,
        &["report", "-n", &env.namespace, "-f", &file.display().to_string(), "-o", "json"],
    )
    .await?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let report: Value = serde_json::from_slice(&out.stdout)?;
    let items = report["accesses"].as_array().context("accesses")?;
    let mut of_report: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items.iter().filter(|item| !item["startedAt"].is_null()) {
        *of_report.entry(item["session"].as_str().unwrap_or_default()).or_default() += 1;
        assert!(item["disagreement"].is_null(), "{item:#}");
    }
    assert!(of_report.values().all(|times| *times == 1), "{of_report:?}");
    assert_eq!(of_report.keys().collect::<Vec<_>>(), by_session.keys().collect::<Vec<_>>());
    assert_eq!(report["sources"]["ledger"]["verification"]["ok"], true);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_keeps_accesses_from_starting_and_no_end_from_happening() -> Result<()> {
    let mut env = TestEnv::builder().without_operator().start().await?;
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    let target = format!("--audit-log={}", path("audit.jsonl").display());
    let operator = env.another_operator(&[&target]).await?;
    operator.ready().await?;
    env.operator = Some(operator);
    env.session("before", json!({})).await?;
    env.active("before").await?;

    // From now on there is no space left: the device answers so to every write.
    std::fs::rename(path("audit.jsonl"), path("old.jsonl"))?;
    std::os::unix::fs::symlink("/dev/full", path("audit.jsonl"))?;
    env.user("bob", json!({})).await?;
    env.session("refused", json!({"user": "bob"})).await?;
    let waiting = env.pending("refused", "AuditLogUnavailable").await?;
    assert!(message_of(&waiting).contains("No space left"), "{}", message_of(&waiting));
    assert!(env.account_of("bob").await?.is_none_or(|account| !account.login));
    env.delete_and_wait::<DatabaseSession>("before").await?;
    env.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    let metrics = env.operator.as_ref().context("an operator")?.get("/metrics").await?;
    let number = |name: &str| {
        metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap_or(0.0)
    };
    assert!(number("rolecall_audit_write_failures_total ") > 0.0, "{metrics}");
    assert!(number("rolecall_audit_waiting_lines ") > 0.0, "{metrics}");

    std::fs::remove_file(path("audit.jsonl"))?;
    env.active("refused").await?;
    let lines = lines(&[&path("old.jsonl"), &path("audit.jsonl")])?;
    is_whole(&lines)?;
    let accesses = Accesses::of(&lines).accesses;
    let states: BTreeMap<&str, State> =
        accesses.iter().map(|access| (&*access.session, access.state)).collect();
    assert_eq!(states.get("before"), Some(&State::Ended), "{accesses:?}");
    assert_eq!(states.get("refused"), Some(&State::Active), "{accesses:?}");
    Ok(())
}

#[tokio::test]
async fn an_end_that_was_cut_off_shows_beside_the_lease() -> Result<()> {
    let env = crate::leader::env().await?;
    let lease = format!("--leader-election-namespace={}", env.namespace);
    let operator = env.another_operator(&["--leader-elect=true", &lease]).await?;
    operator.ready().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let file = operator.audit().clone();
    // The Lease is renewed every few seconds, and at the end.
    operator.stop().await?;
    let name = file.path().display().to_string();
    let root = Identity::user("root", &["system:masters"]);
    let check =
        async || kubectl_rolecall(&root, &["audit", "verify", &name, "--lease", &env.namespace]).await;
    let whole = check().await?;
    assert_eq!(whole.status.code(), Some(0), "{}", String::from_utf8_lossy(&whole.stdout));
    let text = file.text();
    let (kept, _) = text.trim_end().rsplit_once('\n').context("several lines")?;
    std::fs::write(file.path(), format!("{kept}\n"))?;
    let cut = check().await?;
    let said = String::from_utf8_lossy(&cut.stdout).into_owned();
    assert_eq!(cut.status.code(), Some(2), "{said}");
    assert!(said.contains("missing at its end"), "{said}");
    Ok(())
}
