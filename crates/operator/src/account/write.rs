//! Writing what became of the sessions and of their account: audit log, status, events, finalizers, and in the end the
//! deletion of objects that are over.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::DatabaseSession;
use rolecall_api::names::{ACCOUNT_FINALIZER, USERNAME_ANNOTATION};
use rolecall_ledger::Event as AuditEvent;
use serde_json::json;

use super::approval::Asked;
use super::approval_status;
use super::conclusion::Conclusion;
use super::dereference::Snapshot;
use super::result::SessionResult;
use super::results::{self, Endpoint, Event};
use super::session::Session;
use super::status;
use crate::Shared;
use crate::drain::Mode;
use crate::model::session::{Times, delete_at, has_finalizer, is_over, is_touched, recorded_username};
use crate::model::{
    AccountKey, Action, DatabaseKey, ObjectKey, Priority, ReconcileError, ReconcileKey, WALK, plus, until,
};
use crate::ports::Need;
use crate::sets;

/// Writes what became of the sessions and of the account. `reported`: something was written meanwhile.
pub(super) async fn record(
    shared: &Shared,
    key: &AccountKey,
    snapshot: &mut Snapshot,
    conclusion: &Conclusion,
    reported: bool,
) -> Result<Action, ReconcileError> {
    tracing::trace!(target: WALK, %key, "results are written");
    if snapshot.sessions.iter().any(Session::is_ending) {
        // The accesses that end next do not wait for what is written about this one.
        shared.queue.leave_group(&ReconcileKey::Account(key.clone()));
    }
    let server = snapshot.server.as_ref().and_then(|state| state.server.clone());
    let distrust = snapshot.distrust();
    let endpoint = server.as_ref().map(|server| Endpoint {
        username: &key.username,
        host: &server.binding.host,
        port: server.binding.port,
        server_ca: server.binding.server_ca.as_deref(),
        made_from: server.credentials(),
        distrust,
    });
    let mut results: Vec<Option<SessionResult>> =
        snapshot.sessions.iter().map(|session| results::result(session, conclusion, endpoint)).collect();
    let report = results::account_report(key, &snapshot.sessions, conclusion);
    let retry = results::wants_retry(&snapshot.sessions, conclusion);
    let mut action = Action { retry, at: conclusion.again };
    let (mut failed, mut left) = (None, BTreeSet::new());
    for (session, result) in snapshot.sessions.iter_mut().zip(&mut results) {
        if reported {
            follow(shared, session, result);
        }
        if result.as_ref().is_some_and(SessionResult::is_over) {
            left.extend(session.object.spec.database_name.clone());
        }
        for event in results::announcements(key, session, conclusion) {
            announce(shared, &session.object, &event);
        }
        let (timed, asked) = (session.timed, session.asked());
        match write(shared, &session.object, timed, result.as_ref(), asked, session.times).await {
            Ok(at) => action.at_earliest(at),
            // The results of the others are written nevertheless.
            Err(error) => {
                tracing::debug!(account = %key, %error, "the result of a session could not be written");
                failed.get_or_insert(error);
            }
        }
    }
    for database in left {
        sets::release(shared, &DatabaseKey { admin: key.admin.clone(), database: database.into() });
    }
    if report.is_some_and(|report| shared.report(key, report)) {
        shared.recount(&key.admin);
    }
    let Some(failed) = failed else { return Ok(action) };
    // All of it is retried; what is due meanwhile does not wait for that.
    if let Some((at, priority)) = action.at {
        shared.queue.add_at(ReconcileKey::Account(key.clone()), priority, until(at, shared.now()));
    }
    Err(failed)
}

/// Lets sessions go that are being deleted and were never begun, whatever their server does, and leaves the others.
///
/// # Errors
///
/// What the API server refused first; the rest is done nevertheless.
pub(super) async fn release_never_begun(
    shared: &Shared,
    snapshot: &mut Snapshot,
) -> Result<(), ReconcileError> {
    let sessions = std::mem::take(&mut snapshot.sessions);
    let (released, others) = sessions.into_iter().partition(Session::is_never_begun);
    snapshot.sessions = others;
    let released: Vec<Session> = released;
    let mut done = Ok(());
    for session in released {
        let result = results::result(&session, &Conclusion::default(), None);
        let (timed, asked) = (session.timed, session.asked());
        let written = write(shared, &session.object, timed, result.as_ref(), asked, session.times).await;
        done = done.and(written.map(drop));
    }
    done
}

/// What was reported meanwhile counts: the session is what it is by now, and one that is over stays so.
fn follow(shared: &Shared, session: &mut Session, result: &mut Option<SessionResult>) {
    let known = shared.cache().session(&ObjectKey::of(&*session.object));
    let same = known.filter(|known| known.metadata.uid == session.object.metadata.uid);
    let Some(known) = same else { return };
    if is_over(&known) && !matches!(result, Some(SessionResult::Released { .. })) {
        *result = None;
    }
    session.object = Arc::clone(&known);
}

/// Writes what became of a session, and returns when its account has to be reconciled again. `timed`: it ends by itself
/// at some time. `asked`: what it asks other people for.
pub(super) async fn write(
    shared: &Shared,
    session: &Arc<DatabaseSession>,
    timed: bool,
    result: Option<&SessionResult>,
    asked: Option<&Asked>,
    times: Times,
) -> Result<Option<(Timestamp, Priority)>, ReconcileError> {
    let now = times.now;
    let Some(result) = result else {
        return if is_over(session) { keep_or_delete(shared, session, now).await } else { Ok(None) };
    };
    let asked = approval_status::relevant(session, result, asked);
    let other = approval_status::is_another_request(session, asked);
    let news = status::is_news(session, result) || other;
    let approved_by = approval_status::approved_by(session, asked);
    let starts = matches!(result, SessionResult::Active(_) | SessionResult::Waiting(_));
    let approved = asked.filter(|_| starts && approval_status::is_newly_approved(session, asked));
    // An operator before this one may have ended between its line in the audit log, that the access is there, and the
    // status that says the same: the status alone does not show this, and the log must not end with that line.
    let may_be_logged_active =
        is_touched(session) && matches!(result, SessionResult::Withdrawn { .. } | SessionResult::Rejected(_));
    let changed = status::changes_access(session, result);
    if news || approved.is_some() || may_be_logged_active || changed {
        // Before anything is written: after a crash in between, the next process reports it again.
        let uid = session.metadata.uid.as_deref().unwrap_or_default();
        // Where access is about to be given, that was said before.
        if let Some(asked) = approved.filter(|_| shared.audit.last_event(uid) != Some(AuditEvent::Granting)) {
            for entry in approval_status::approvals(asked, &approved_by) {
                if let Err(error) = shared.audit.session(session, &entry, Need::Kept).await {
                    tracing::debug!(%error, "a line is kept until it can be written");
                }
            }
        }
        let (entry, need) = status::audit_entry(session, result, changed);
        let entry = approval_status::named(entry, asked, &approved_by);
        if let Err(error) = shared.audit.session(session, &entry, need).await
            && need == Need::Before
        {
            return Err(error.into());
        }
        if let Some(entry) = approval_status::asked_anew(&entry)
            && let Err(error) = shared.audit.session(session, &entry, Need::Kept).await
        {
            tracing::debug!(%error, "a line is kept until it can be written");
        }
    }
    if matches!(result, SessionResult::Released { .. }) {
        shared.api.remove_finalizer(shared, &**session, ACCOUNT_FINALIZER, json!({})).await?;
        publish(shared, session, result);
        return Ok(None);
    }
    let after = status::status(session, result, now);
    let after = approval_status::with_request(after, session, result, asked);
    // An access that may be there for longer: its Secret can get lost, and the object not.
    let stays = matches!(result, SessionResult::Waiting(_) | SessionResult::Ending { .. });
    let unnamed = after.username.is_none() && !session.annotations().contains_key(USERNAME_ANNOTATION);
    if let Some(name) = recorded_username(session).filter(|_| stays && unnamed && has_finalizer(session)) {
        let newest =
            shared.cache().session(&ObjectKey::of(&**session)).unwrap_or_else(|| Arc::clone(session));
        let annotations = json!({ USERNAME_ANNOTATION: name });
        shared.api.add_finalizer(shared, &*newest, ACCOUNT_FINALIZER, annotations).await?;
    }
    if session.status.as_ref() != Some(&after) {
        if is_touched(session) {
            shared.api.apply_status(shared, &**session, &after).await?;
        } else {
            // Its account may have become known meanwhile, and what a reconcile of that one wrote must stay.
            shared.api.apply_status_unless_changed(shared, &**session, &after).await?;
        }
    }
    if approved.is_some() {
        announce(shared, session, &approval_status::approved_event(&approved_by));
    }
    if news {
        publish(shared, session, result);
    }
    let over = matches!(result, SessionResult::Ended { .. } | SessionResult::Rejected(_));
    // Whoever is about to be uninstalled lets go of what it has not begun.
    let let_go = shared.drain.mode() != Mode::Normal
        && matches!(result, SessionResult::Waiting(_))
        && !is_touched(session);
    if let_go || over || matches!(result, SessionResult::Withdrawn { .. }) {
        // The one in the cache is newer by the status that was just written.
        let newest =
            shared.cache().session(&ObjectKey::of(&**session)).unwrap_or_else(|| Arc::clone(session));
        if has_finalizer(&newest) {
            shared.change(|cache| cache.forget_begun(&newest));
            // For an access that may come back no name is recorded: it may be another one by then.
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
    let given_up = approval_status::given_up_at(asked).map(|at| (at, Priority::Normal));
    Ok(status::requeue(session, timed, result, times).into_iter().chain(given_up).min())
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
    if has_finalizer(session) {
        shared.api.remove_finalizer(shared, &**session, ACCOUNT_FINALIZER, json!({})).await?;
    }
    let delete_at = delete_at(session, now);
    if delete_at > now {
        return Ok(Some((delete_at, Priority::Normal)));
    }
    shared.api.delete(&**session).await?;
    Ok(None)
}

/// Publishes an event about a session. Nothing waits for it.
pub(super) fn announce(shared: &Shared, session: &Arc<DatabaseSession>, event: &Event) {
    shared.api.event(&**session, event.severity, &event.reason, event.action, &event.note);
}

fn publish(shared: &Shared, session: &Arc<DatabaseSession>, result: &SessionResult) {
    shared.metrics.session(result.phase());
    if let Some(event) = status::event(result) {
        announce(shared, session, &event);
    }
}
