//! The status of a session, its audit line, its event, and when it is reconciled again: pure functions of its result.

use jiff::Timestamp;
use rolecall_api::{
    Condition, DatabaseSession, DatabaseSessionStatus, EndReason, SecretRef, SessionPhase, Time, conditions,
    reasons,
};
use rolecall_ledger::Event as AuditEvent;

use super::result::{Gone, SessionResult, Shown, end_reason};
use super::results::Event;
use crate::audit::{AuditEntry, Granted};
use crate::events::Severity;
use crate::model::session::{Times, phase, start_deadline};
use crate::model::{Blocker, Priority};
use crate::ports::Need;

/// The whole status that says so. Transition times stay where nothing changed.
pub(super) fn status(
    session: &DatabaseSession,
    result: &SessionResult,
    now: Timestamp,
) -> DatabaseSessionStatus {
    let before = session.status.clone().unwrap_or_default();
    let generation = session.metadata.generation;
    let condition = |type_: &str, status: bool, reason: &str, message: &str| {
        conditions::new(type_, status, reason, message, generation, Time(now))
    };
    let ready = |status: bool, blocker: &Blocker| {
        condition(conditions::READY, status, &blocker.reason, &blocker.message)
    };
    let progress =
        |blocker: &Blocker| crate::progress::condition(blocker, &before.conditions, generation, now);
    let mut list: Vec<Condition> = Vec::new();
    let mut status = DatabaseSessionStatus { observed_generation: generation, ..Default::default() };
    match result {
        SessionResult::Active(active) => {
            status.phase = Some(SessionPhase::Active);
            status.username = Some(active.username.clone());
            status.db_roles = active.db_roles.clone();
            status.mode = active.mode;
            status.reassign_to = active.reassign_to.clone();
            status.started_at = active.started_at.map(Time);
            status.expires_at = active.expires_at.map(Time);
            status.credentials_secret_ref = active.secret.clone().map(|name| SecretRef { name });
            status.binding = status.credentials_secret_ref.clone();
            status.certificate =
                active.certificate.clone().map(|pem| k8s_openapi::ByteString(pem.into_bytes()));
            status.connection = active.connection.clone();
            match &active.trouble {
                None => list.push(condition(conditions::READY, true, reasons::ACTIVE, "the user has access")),
                Some(trouble) => {
                    list.push(ready(false, trouble));
                    list.push(progress(trouble));
                }
            }
            status.permissions = active.permissions.clone();
            if active.complete {
                let message = "every object permission that policy gives was given";
                list.push(condition(conditions::PERMISSIONS_COMPLETE, true, reasons::SUCCEEDED, message));
            }
            if let Some(incomplete) = &active.incomplete {
                list.push(condition(
                    conditions::PERMISSIONS_COMPLETE,
                    false,
                    &incomplete.reason,
                    &incomplete.message,
                ));
            }
        }
        SessionResult::Waiting(blocker) | SessionResult::Withdrawn { blocker, .. } => {
            status.phase = Some(SessionPhase::Pending);
            list.push(ready(false, blocker));
            list.push(progress(blocker));
        }
        SessionResult::Ending { reason, blocker } => {
            // What the access was stays readable until it is gone.
            status = DatabaseSessionStatus {
                conditions: Vec::new(),
                observed_generation: generation,
                ..before.clone()
            };
            status.phase = Some(SessionPhase::Ending);
            let expired =
                before.expires_at.clone().filter(|at| *reason == Some(EndReason::Expired) && at.0 <= now);
            status.ending_since = before.ending_since.clone().or(expired).or(Some(Time(now)));
            // A standing session may come back, so that no end is recorded for it.
            if is_timed(session, &before) {
                status.end_reason = *reason;
            }
            list.push(ready(false, blocker));
            list.push(progress(blocker));
        }
        SessionResult::Ended { reason, gone } => {
            status = history(&before, generation, now);
            status.phase = Some(SessionPhase::Ended);
            status.end_reason = Some(*reason);
            let over = Blocker::stalled(end_reason(*reason), gone.message());
            list.push(ready(false, &over));
            list.push(progress(&over));
        }
        SessionResult::Rejected(blocker) => {
            status = history(&before, generation, now);
            status.phase = Some(SessionPhase::Rejected);
            let blocker = Blocker { stalled: true, awaited: false, ..blocker.clone() };
            list.push(ready(false, &blocker));
            list.push(progress(&blocker));
        }
        SessionResult::Released { .. } => return before,
    }
    status.conditions = conditions::merge_transition_times(&before.conditions, list);
    status
}

/// Does this status say something to people that the one before did not?
pub(super) fn is_news(session: &DatabaseSession, result: &SessionResult) -> bool {
    let before = session.status.as_ref();
    let ready = before.and_then(|status| conditions::find(&status.conditions, conditions::READY));
    let new_reason = match result {
        SessionResult::Active(active) => {
            active.trouble.as_ref().map_or(reasons::ACTIVE, |trouble| trouble.reason.as_str())
        }
        SessionResult::Waiting(blocker)
        | SessionResult::Withdrawn { blocker, .. }
        | SessionResult::Ending { blocker, .. }
        | SessionResult::Rejected(blocker) => blocker.reason.as_str(),
        SessionResult::Ended { reason, .. } => end_reason(*reason),
        SessionResult::Released { .. } => return true,
    };
    phase(session) != result.phase() || ready.is_none_or(|ready| ready.reason != new_reason)
}

fn history(before: &DatabaseSessionStatus, generation: Option<i64>, now: Timestamp) -> DatabaseSessionStatus {
    DatabaseSessionStatus {
        observed_generation: generation,
        username: before.username.clone(),
        db_roles: before.db_roles.clone(),
        mode: before.mode,
        reassign_to: before.reassign_to.clone(),
        started_at: before.started_at.clone(),
        expires_at: before.expires_at.clone(),
        ended_at: Some(before.ended_at.clone().unwrap_or(Time(now))),
        ..Default::default()
    }
}

fn is_timed(session: &DatabaseSession, before: &DatabaseSessionStatus) -> bool {
    session.spec.ttl.is_some() || before.expires_at.is_some()
}

/// When a session is reconciled again by itself.
pub(super) fn requeue(
    session: &DatabaseSession,
    timed: bool,
    result: &SessionResult,
    times: Times,
) -> Option<(Timestamp, Priority)> {
    match result {
        SessionResult::Active(active) => {
            let expiry = active.expires_at.map(|at| (at, Priority::Urgent));
            let renewal = active.renew_at.map(|at| (at, Priority::Normal));
            [expiry, renewal].into_iter().flatten().min()
        }
        SessionResult::Waiting(blocker) | SessionResult::Withdrawn { blocker, .. } => {
            let before =
                session.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            let stalled_at = crate::progress::stalled_at(blocker, before, times.now);
            let at = [start_deadline(session, timed, times), stalled_at].into_iter().flatten().min();
            at.map(|at| (at, Priority::Normal))
        }
        _ => None,
    }
}

/// Does a live access go on with other database roles, or until another time, than the status says?
pub(super) fn changes_access(session: &DatabaseSession, result: &SessionResult) -> bool {
    let SessionResult::Active(active) = result else { return false };
    let Some(before) = session.status.as_ref().filter(|status| status.phase == Some(SessionPhase::Active))
    else {
        return false;
    };
    before.db_roles != active.db_roles || before.expires_at.as_ref().map(|at| at.0) != active.expires_at
}

/// What the audit log says of it, and whether it may be told without. `changed`: see [`changes_access`].
pub(super) fn audit_entry<'a>(
    session: &DatabaseSession,
    result: &'a SessionResult,
    changed: bool,
) -> (AuditEntry<'a>, Need) {
    let (event, reason) = match result {
        SessionResult::Active(_) if changed => (AuditEvent::Changed, reasons::ACTIVE),
        SessionResult::Active(_) => (AuditEvent::Active, reasons::ACTIVE),
        SessionResult::Waiting(blocker) => (AuditEvent::Waiting, blocker.reason.as_str()),
        SessionResult::Ending { blocker, .. } => (AuditEvent::Ending, blocker.reason.as_str()),
        SessionResult::Ended { gone: Gone::Abandoned(_), .. }
        | SessionResult::Withdrawn { gone: Gone::Abandoned(_), .. }
        | SessionResult::Released { gone: Gone::Abandoned(_) } => (AuditEvent::Abandoned, reasons::ABANDONED),
        SessionResult::Ended { gone: Gone::Retained(_), .. }
        | SessionResult::Withdrawn { gone: Gone::Retained(_), .. }
        | SessionResult::Released { gone: Gone::Retained(_) } => {
            (AuditEvent::Retained, reasons::DATABASE_REMOVED)
        }
        SessionResult::Withdrawn { blocker, .. } => (AuditEvent::Withdrawn, blocker.reason.as_str()),
        SessionResult::Ended { reason, .. } => (AuditEvent::Ended, end_reason(*reason)),
        SessionResult::Rejected(blocker) => (AuditEvent::Rejected, blocker.reason.as_str()),
        SessionResult::Released { .. } => (AuditEvent::Ended, reasons::DELETED),
    };
    let granted = match result {
        SessionResult::Active(active) => Some(Granted {
            username: &active.username,
            roles: &active.roles,
            db_roles: &active.db_roles,
            permissions: Some(&active.permissions),
            expires_at: active.expires_at,
        }),
        _ => None,
    };
    let proven = match result {
        SessionResult::Active(active) => matches!(active.shown, Shown::Verified(_)),
        SessionResult::Ended { gone, .. }
        | SessionResult::Withdrawn { gone, .. }
        | SessionResult::Released { gone } => gone.is_certain(),
        _ => false,
    };
    let begins = matches!(result, SessionResult::Active(_)) && phase(session) != SessionPhase::Active;
    let need = if begins { Need::Before } else { Need::Kept };
    (AuditEntry { event, reason, proven, granted, approved_by: &[], by: "", request_hash: "" }, need)
}

/// The event that goes with news.
pub(super) fn event(result: &SessionResult) -> Option<Event> {
    let warning = |blocker: &Blocker, action| Event {
        severity: Severity::Warning,
        reason: blocker.reason.clone(),
        action,
        note: blocker.message.clone(),
    };
    let ended = |reason: &str, note| Event {
        severity: Severity::Normal,
        reason: reason.to_owned(),
        action: "End",
        note,
    };
    match result {
        // The status says it all: phase, since when, until when.
        SessionResult::Active(active) => active.trouble.as_ref().map(|trouble| warning(trouble, "Keep")),
        // Nothing is wrong: somebody has to look at it.
        SessionResult::Waiting(blocker) if blocker.reason == reasons::AWAITING_APPROVAL => {
            Some(Event { severity: Severity::Normal, ..warning(blocker, "Start") })
        }
        SessionResult::Waiting(blocker)
        | SessionResult::Withdrawn { blocker, .. }
        | SessionResult::Rejected(blocker) => Some(warning(blocker, "Start")),
        SessionResult::Ending { blocker, .. } => Some(warning(blocker, "End")),
        // That was announced where it was decided.
        SessionResult::Ended { gone, .. } | SessionResult::Released { gone } if !gone.is_certain() => None,
        SessionResult::Ended { reason, gone } => Some(ended(end_reason(*reason), gone.message().to_owned())),
        SessionResult::Released { gone } => {
            Some(ended(reasons::DELETED, format!("the session was deleted; {}", gone.message())))
        }
    }
}

#[cfg(test)]
mod tests;
