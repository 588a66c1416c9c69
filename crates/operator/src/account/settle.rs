//! Writing down what became of a session: status, events, finalizer, and in the end the object itself.

use std::sync::Arc;

use jiff::Timestamp;
use rolecall_api::names::{ACCOUNT_FINALIZER, USERNAME_ANNOTATION};
use rolecall_api::{DatabaseSession, SessionPhase, reasons};
use serde_json::json;

use super::handing::next_look;
use super::lifecycle::{Times, delete_at, is_touched, phase, plus};
use super::report::{self, Left, Outcome, end_reason, is_news, status};
use crate::Shared;
use crate::api_writer::Severity;
use crate::model::{Priority, ReconcileError};

/// Writes what became of a session, and tells when it has to be looked at again. `timed`: it is over at some time by
/// itself.
pub(super) async fn settle(
    shared: &Shared,
    session: &Arc<DatabaseSession>,
    timed: bool,
    outcome: impl Into<Option<&Outcome>>,
    times: Times,
) -> Result<Option<(Timestamp, Priority)>, ReconcileError> {
    let now = times.now;
    let Some(outcome) = outcome.into() else {
        return match phase(session) {
            SessionPhase::Ended | SessionPhase::Rejected => keep_or_delete(shared, session, now).await,
            _ => Ok(None),
        };
    };
    let news = is_news(session, outcome);
    if news {
        // Before anything is written: who ends in between finds it to be news again.
        shared.audit.session(session, outcome);
    }
    if matches!(outcome, Outcome::Released { .. }) {
        shared.api.remove_finalizer(shared, &**session, ACCOUNT_FINALIZER, json!({})).await?;
        tell(shared, session, outcome);
        return Ok(None);
    }
    let after = status(session, outcome, now);
    if session.status.as_ref() != Some(&after) {
        if is_touched(session) {
            shared.api.apply_status(shared, &**session, &after).await?;
        } else {
            // Its account may have become known meanwhile, and what a look at that one wrote must stay.
            shared.api.apply_status_unless_changed(shared, &**session, &after).await?;
        }
    }
    if news {
        tell(shared, session, outcome);
    }
    let over = matches!(outcome, Outcome::Ended { .. } | Outcome::Rejected(_));
    if over || matches!(outcome, Outcome::Withdrawn(_)) {
        // The one in the cache is newer by the status that was just written.
        let key = crate::model::ObjectKey::of(&**session);
        let newest = shared.cache().session(&key).unwrap_or_else(|| Arc::clone(session));
        if is_touched(&newest) {
            // Of an access that may come back nothing is recorded: the name may be another one by then.
            let annotations = if over { json!({}) } else { json!({ USERNAME_ANNOTATION: null }) };
            shared.api.remove_finalizer(shared, &*newest, ACCOUNT_FINALIZER, annotations).await?;
        }
    }
    if over {
        let delete_at = plus(now, session.spec.retain_after_end.get()).unwrap_or(Timestamp::MAX);
        if delete_at <= now {
            shared.api.delete(&**session).await?;
            return Ok(None);
        }
        return Ok(Some((delete_at, Priority::Normal)));
    }
    Ok(next_look(shared, session, timed, outcome, times))
}

/// A session that is over stays for a while, so that people and clients can read how it ended.
pub(super) async fn keep_or_delete(
    shared: &Shared,
    session: &Arc<DatabaseSession>,
    now: Timestamp,
) -> Result<Option<(Timestamp, Priority)>, ReconcileError> {
    if session.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    if is_touched(session) {
        shared.api.remove_finalizer(shared, &**session, ACCOUNT_FINALIZER, json!({})).await?;
    }
    let delete_at = delete_at(session, now);
    if delete_at > now {
        return Ok(Some((delete_at, Priority::Normal)));
    }
    shared.api.delete(&**session).await?;
    Ok(None)
}

/// An event. Nothing waits for it.
fn tell(shared: &Shared, session: &Arc<DatabaseSession>, outcome: &Outcome) {
    shared.metrics.session(outcome);
    let (severity, reason, action, note) = match outcome {
        // The status says it all: phase, since when, until when.
        Outcome::Active(report::Active { trouble: None, .. }) => return,
        Outcome::Active(report::Active { trouble: Some(blocker), .. }) => {
            (Severity::Warning, blocker.reason.clone(), "Keep", blocker.message.clone())
        }
        Outcome::Waiting(blocker) | Outcome::Withdrawn(blocker) | Outcome::Rejected(blocker) => {
            (Severity::Warning, blocker.reason.clone(), "Start", blocker.message.clone())
        }
        Outcome::Ending { blocker, .. } => {
            (Severity::Warning, blocker.reason.clone(), "End", blocker.message.clone())
        }
        // Told where it was decided.
        Outcome::Ended { left: Some(_), .. } | Outcome::Released { left: Some(_) } => return,
        Outcome::Ended { reason, left: None } => {
            (Severity::Normal, end_reason(*reason).to_owned(), "End", Left::told(None).to_owned())
        }
        Outcome::Released { left: None } => (
            Severity::Normal,
            reasons::DELETED.to_owned(),
            "End",
            format!("the session was deleted; {}", Left::told(None)),
        ),
    };
    shared.api.event(&**session, severity, &reason, action, &note);
}
