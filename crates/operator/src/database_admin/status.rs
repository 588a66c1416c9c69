//! The status of a DatabaseAdmin, as a pure function of what was seen of its server.

use std::sync::Arc;

use jiff::Timestamp;
use rolecall_api::{
    AccountCounts, Condition, DatabaseAdmin, DatabaseAdminStatus, Endpoint, ObjectCounts, Time, conditions,
    reasons,
};
use rolecall_engine::{Class, Finding, Preflight, Reason};

use super::orphans::Orphan;
use crate::account::reports::AccountReport;
use crate::api_writer::Severity;
use crate::model::{AccountKey, Blocker};
use crate::servers::{Server, ServerState};
use crate::{Shared, progress};

/// The most findings that a message lists; the rest is counted.
const LISTED: usize = 10;

/// What one look at a server came to.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What accounts are told.
    pub(super) state: ServerState,
    /// Did the server let the admin user in? `None`: it was not asked.
    pub(super) reachable: Option<bool>,
    /// What the server is and lacks.
    pub(super) preflight: Option<Preflight>,
    /// Its accounts.
    pub(super) counts: Option<AccountCounts>,
    /// The objects in the databases that were read.
    pub(super) objects: Option<ObjectCounts>,
    /// Objects whose access list is nearly full.
    pub(super) crowded: Vec<String>,
    /// Accounts of it that have access without any session.
    pub(super) orphans: Vec<AccountKey>,
    /// Accounts that have access without any session and are not ended by themselves; `None`: nobody looked.
    pub(super) named: Option<Vec<Orphan>>,
    /// What DatabaseUsers are told of accounts without sessions.
    pub(super) reports: Vec<(AccountKey, AccountReport)>,
    /// Live accounts that are not as they were left: somebody else changed them.
    pub(super) drifted: Vec<AccountKey>,
    /// The address and admin user that are in use now.
    pub(super) endpoint: Option<Endpoint>,
}

impl Seen {
    /// What the DatabaseAdmin says now does not lead to a server. Accesses can still be ended on the one that was used
    /// last, where that one answers.
    pub(super) async fn fall_back(&mut self, last: Option<&Server>) {
        if let Some(last) = last {
            let answer = last.engine.inventory().await;
            self.state.unreachable = answer.is_err_and(|error| error.class == Class::Unreachable);
        }
    }

    /// Is something in the way that may go away?
    pub(super) fn is_failing(&self) -> bool {
        self.state.blocker.as_ref().is_some_and(|blocker| blocker.reason != reasons::UNSUPPORTED)
    }
}

/// The whole status that tells what was seen. Transition times stay where nothing changed.
pub(super) fn status(admin: &DatabaseAdmin, seen: &Seen, now: Timestamp) -> DatabaseAdminStatus {
    let before = admin.status.clone().unwrap_or_default();
    let generation = admin.metadata.generation;
    let condition = |type_: &str, status: bool, reason: &str, message: &str| {
        conditions::new(type_, status, reason, message, generation, Time(now))
    };
    let deleting = admin.metadata.deletion_timestamp.is_some();
    let mut list: Vec<Condition> = Vec::new();
    match &seen.state.blocker {
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
    match (seen.reachable, &seen.state.blocker) {
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
    match &seen.preflight {
        Some(preflight) => list.push(capable(preflight, &condition)),
        None => match &seen.state.blocker {
            Some(blocker) if blocker.reason == reasons::MISSING_ADMIN_USER => {
                list.push(condition(conditions::CAPABLE, false, &blocker.reason, &blocker.message));
            }
            _ => list.extend(conditions::find(&before.conditions, conditions::CAPABLE).cloned()),
        },
    }
    if !seen.crowded.is_empty() {
        list.push(condition(
            conditions::ACCESS_LISTS_CROWDED,
            true,
            reasons::ACCESS_LIST_NEARLY_FULL,
            &crowded(&seen.crowded),
        ));
    }
    match &seen.named {
        Some(named) if named.is_empty() => {}
        Some(named) => {
            let message = listed(named.iter().map(|orphan| orphan.message.as_str()));
            list.push(condition(conditions::ORPHANED_ACCOUNTS, true, reasons::ORPHANED, &message));
        }
        None => list.extend(conditions::find(&before.conditions, conditions::ORPHANED_ACCOUNTS).cloned()),
    }
    let preflight = seen.preflight.as_ref();
    DatabaseAdminStatus {
        observed_generation: generation,
        conditions: conditions::merge_transition_times(&before.conditions, list),
        version: preflight.map(|preflight| preflight.version.clone()).or(before.version),
        server_history: preflight
            .map(|preflight| preflight.history.branch.clone())
            .filter(|branch| !branch.is_empty())
            .or(before.server_history),
        server_identity: preflight.map(|preflight| preflight.identity.clone()).or(before.server_identity),
        endpoint: seen.endpoint.clone().or(before.endpoint),
        accounts: seen.counts.or(before.accounts),
        objects: seen.objects,
    }
}

/// The status where accounts have found that the server does not answer, and its own look has not come to its end.
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
    let told: Vec<&Finding> =
        if lacking.is_empty() { preflight.findings.iter().collect() } else { lacking.clone() };
    let message = listed(told.iter().map(|finding| finding.message.as_str()));
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

/// An event for each condition that turned bad.
pub(super) fn tell(shared: &Shared, admin: &Arc<DatabaseAdmin>, after: &DatabaseAdminStatus) {
    let before = admin.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    for type_ in [conditions::READY, conditions::CAPABLE] {
        let Some(new) = conditions::find(&after.conditions, type_).cloned() else { continue };
        let known = conditions::find(before, type_)
            .is_some_and(|old| old.reason == new.reason && old.status == new.status);
        let benign = new.status == conditions::TRUE && new.reason != reasons::PUBLIC_CONNECT;
        if known || benign || new.reason == reasons::TEARING_DOWN {
            continue;
        }
        shared.api.event(&**admin, Severity::Warning, &new.reason, "Preflight", &new.message);
    }
}
