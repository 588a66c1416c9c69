//! The status of a DatabaseAdmin, as a pure function of what was observed of its server.

use jiff::Timestamp;
use rolecall_api::{Condition, DatabaseAdmin, DatabaseAdminStatus, Time, conditions, reasons};
use rolecall_engine::{Finding, Preflight, Reason};

use super::observation::Observation;
use crate::model::Blocker;
use crate::progress;

/// The most findings that a message lists; the rest is counted.
const LISTED: usize = 10;

/// The whole status after an observation. Transition times stay where nothing changed.
pub(super) fn status(admin: &DatabaseAdmin, observed: &Observation, now: Timestamp) -> DatabaseAdminStatus {
    let before = admin.status.clone().unwrap_or_default();
    let generation = admin.metadata.generation;
    let condition = |type_: &str, status: bool, reason: &str, message: &str| {
        conditions::new(type_, status, reason, message, generation, Time(now))
    };
    let deleting = admin.metadata.deletion_timestamp.is_some();
    let mut list: Vec<Condition> = Vec::new();
    match &observed.state.blocker {
        Some(blocker) => {
            list.push(condition(conditions::READY, false, &blocker.reason, &blocker.message));
            list.push(progress::condition(blocker, &before.conditions, generation, now));
        }
        None if deleting => {
            let message = "the DatabaseAdmin is being deleted: its accounts are torn down";
            list.push(condition(conditions::READY, false, reasons::TEARING_DOWN, message));
            list.push(condition(conditions::RECONCILING, true, reasons::TEARING_DOWN, message));
        }
        None if admin.spec.suspend => {
            let message = "spec.suspend is true: nothing on this server is touched";
            list.push(condition(conditions::READY, true, reasons::DATABASE_SUSPENDED, message));
        }
        None => {
            list.push(condition(conditions::READY, true, reasons::SUCCEEDED, "the server can be worked on"))
        }
    }
    match (observed.reachable, &observed.state.blocker) {
        (Some(true), _) => {
            list.push(condition(
                conditions::REACHABLE,
                true,
                reasons::SUCCEEDED,
                "the admin user can log in",
            ));
        }
        (Some(false), Some(blocker)) => {
            list.push(condition(conditions::REACHABLE, false, &blocker.reason, &blocker.message));
        }
        // Not asked: what was known stays.
        _ => list.extend(conditions::find(&before.conditions, conditions::REACHABLE).cloned()),
    }
    match &observed.preflight {
        Some(preflight) => list.push(capable(preflight, &condition)),
        None => match &observed.state.blocker {
            Some(blocker) if blocker.reason == reasons::MISSING_ADMIN_USER => {
                list.push(condition(conditions::CAPABLE, false, &blocker.reason, &blocker.message));
            }
            _ => list.extend(conditions::find(&before.conditions, conditions::CAPABLE).cloned()),
        },
    }
    if !observed.crowded.is_empty() {
        list.push(condition(
            conditions::ACCESS_LISTS_CROWDED,
            true,
            reasons::ACCESS_LIST_NEARLY_FULL,
            &crowded(&observed.crowded),
        ));
    }
    match &observed.named {
        Some(named) if named.is_empty() => {}
        Some(named) => {
            let message = listed(named.iter().map(|orphan| orphan.message.as_str()));
            list.push(condition(conditions::ORPHANED_ACCOUNTS, true, reasons::ORPHANED, &message));
        }
        None => list.extend(conditions::find(&before.conditions, conditions::ORPHANED_ACCOUNTS).cloned()),
    }
    let preflight = observed.preflight.as_ref();
    DatabaseAdminStatus {
        observed_generation: generation,
        conditions: conditions::merge_transition_times(&before.conditions, list),
        version: preflight.map(|preflight| preflight.version.clone()).or(before.version),
        server_history: preflight
            .map(|preflight| preflight.history.branch.clone())
            .filter(|branch| !branch.is_empty())
            .or(before.server_history),
        server_identity: preflight.map(|preflight| preflight.identity.clone()).or(before.server_identity),
        endpoint: observed.endpoint.clone().or(before.endpoint),
        accounts: observed.counts.or(before.accounts),
        objects: observed.objects,
    }
}

/// The status where accounts have found that the server does not answer, and its own reconcile has not ended.
pub(super) fn silent(admin: &DatabaseAdmin, blocker: &Blocker, now: Timestamp) -> DatabaseAdminStatus {
    let before = admin.status.clone().unwrap_or_default();
    let generation = admin.metadata.generation;
    let unreached =
        |type_: &str| conditions::new(type_, false, &blocker.reason, &blocker.message, generation, Time(now));
    let replaced = [conditions::READY, conditions::RECONCILING, conditions::STALLED, conditions::REACHABLE];
    let kept = before.conditions.iter().filter(|condition| !replaced.contains(&condition.type_.as_str()));
    let list = [
        unreached(conditions::READY),
        progress::condition(blocker, &before.conditions, generation, now),
        unreached(conditions::REACHABLE),
    ];
    let list = list.into_iter().chain(kept.cloned()).collect();
    let conditions = conditions::merge_transition_times(&before.conditions, list);
    DatabaseAdminStatus { observed_generation: generation, conditions, ..before }
}

fn crowded(objects: &[String]) -> String {
    let mut message = format!(
        "these objects have so many grants to single users that PostgreSQL will soon refuse any more (SQLSTATE 54000); grant to roles instead, and revoke from users: {}",
        objects.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ")
    );
    if objects.len() > LISTED {
        message.push_str(&format!(" and {} more", objects.len() - LISTED));
    }
    message
}

fn capable(preflight: &Preflight, condition: &impl Fn(&str, bool, &str, &str) -> Condition) -> Condition {
    let Some(first) = preflight.findings.first() else {
        let message = "the admin user has every right that live and waiting sessions need";
        return condition(conditions::CAPABLE, true, reasons::SUCCEEDED, message);
    };
    let lacking: Vec<&Finding> =
        preflight.findings.iter().filter(|finding| finding.reason != Reason::PublicConnect).collect();
    let listed_first: Vec<&Finding> =
        if lacking.is_empty() { preflight.findings.iter().collect() } else { lacking.clone() };
    let message = listed(listed_first.iter().map(|finding| finding.message.as_str()));
    let reason = lacking.first().map_or(first.reason, |finding| finding.reason);
    condition(conditions::CAPABLE, lacking.is_empty(), reason.as_str(), &message)
}

/// One line for each of the first, and a count of the others.
fn listed<'a>(messages: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = messages.len().saturating_sub(LISTED);
    let mut message = messages.take(LISTED).collect::<Vec<_>>().join("\n");
    if more > 0 {
        message.push_str(&format!("\nand {more} more"));
    }
    message
}
