//! What a session says of its approval, in its status, the audit log and events. Pure.

use jiff::Timestamp;
use rolecall_api::{
    DatabaseSession, DatabaseSessionStatus, ReceivedDecision, SessionPhase, Verdict, conditions, reasons,
};
use rolecall_ledger::Event as AuditEvent;

use super::approval::{Asked, Outcome};
use super::result::SessionResult;
use super::results::Event;
use crate::audit::AuditEntry;
use crate::events::Severity;
use crate::model::session::phase;

/// What a session asks other people for, as far as this result is about it: while an access ends, what was approved for it stays,
/// whatever policy would ask for by now.
pub(super) fn relevant<'a>(
    session: &DatabaseSession,
    result: &SessionResult,
    asked: Option<&'a Asked>,
) -> Option<&'a Asked> {
    let ends = matches!(
        result,
        SessionResult::Ending { .. } | SessionResult::Ended { .. } | SessionResult::Released { .. }
    );
    asked.filter(|_| !(ends && had_access(session)))
}

fn had_access(session: &DatabaseSession) -> bool {
    matches!(phase(session), SessionPhase::Active | SessionPhase::Ending)
}

/// The status with what is asked for, and by whom it was decided. What was approved stays readable from the start on.
pub(super) fn with_request(
    mut status: DatabaseSessionStatus,
    session: &DatabaseSession,
    result: &SessionResult,
    asked: Option<&Asked>,
) -> DatabaseSessionStatus {
    let before = session.status.clone().unwrap_or_default();
    match (asked, result) {
        (_, SessionResult::Released { .. }) => {}
        (Some(Asked { request, progress, decisions, .. }), _) => {
            status.request = Some(request.clone());
            status.approval = Some(progress.clone());
            status.approvals = decisions.clone();
        }
        // What was asked for and is needed no more was not approved.
        (None, SessionResult::Active(_)) if phase(session) != SessionPhase::Active => {
            (status.request, status.approval, status.approvals) = (None, None, Vec::new());
        }
        (None, SessionResult::Waiting(_) | SessionResult::Withdrawn { .. }) => {
            (status.request, status.approval, status.approvals) = (None, None, Vec::new());
        }
        (None, _) => {
            (status.request, status.approval, status.approvals) =
                (before.request, before.approval, before.approvals);
        }
    }
    status
}

/// What the audit log calls a step on the way to an approval.
pub(super) fn named<'a>(
    entry: AuditEntry<'a>,
    asked: Option<&'a Asked>,
    approved_by: &'a [String],
) -> AuditEntry<'a> {
    let event = match (entry.event, entry.reason) {
        (AuditEvent::Waiting, reasons::AWAITING_APPROVAL) => AuditEvent::Requested,
        (AuditEvent::Rejected, reasons::APPROVAL_DENIED) => AuditEvent::Denied,
        (AuditEvent::Rejected, reasons::APPROVAL_EXPIRED) => AuditEvent::ApprovalExpired,
        (event, _) => event,
    };
    // An access that is gone may ask anew at once.
    let asks_anew = event == AuditEvent::Withdrawn && entry.reason == reasons::AWAITING_APPROVAL;
    let decides = matches!(event, AuditEvent::Requested | AuditEvent::Denied | AuditEvent::ApprovalExpired);
    let asked = asked.filter(|_| decides || asks_anew);
    let denial =
        |asked: &'a Asked| asked.decisions.iter().find(|decision| decision.decision == Verdict::Deny);
    let by = asked.filter(|_| event == AuditEvent::Denied).and_then(denial);
    AuditEntry {
        event,
        approved_by,
        by: by.map_or("", |decision| &decision.by),
        request_hash: asked.map_or("", |asked| &asked.request.hash),
        ..entry
    }
}

/// What the audit log says after an access that is gone and asks anew at once. `withdrawn`: what it said of its end.
pub(super) fn asked_anew<'a>(withdrawn: &AuditEntry<'a>) -> Option<AuditEntry<'a>> {
    let asks = withdrawn.event == AuditEvent::Withdrawn && !withdrawn.request_hash.is_empty();
    asks.then_some(AuditEntry {
        event: AuditEvent::Requested,
        reason: withdrawn.reason,
        proven: false,
        granted: None,
        approved_by: &[],
        by: "",
        request_hash: withdrawn.request_hash,
    })
}

/// Has a request been approved, and its session not said so yet?
pub(super) fn is_newly_approved(session: &DatabaseSession, asked: Option<&Asked>) -> bool {
    asked.is_some_and(|asked| matches!(asked.outcome, Outcome::Approved(_)) && !was_approved(session, asked))
}

/// What the audit log says of an approval: a line for each of those who gave it.
pub(super) fn approvals<'a>(asked: &'a Asked, approved_by: &'a [String]) -> Vec<AuditEntry<'a>> {
    let line = |by: &'a String| AuditEntry {
        event: AuditEvent::Approved,
        reason: reasons::APPROVED,
        proven: false,
        granted: None,
        approved_by: &[],
        by,
        request_hash: &asked.request.hash,
    };
    approved_by.iter().map(line).collect()
}

/// The event that goes with it.
pub(super) fn approved_event(approved_by: &[String]) -> Event {
    Event {
        severity: Severity::Normal,
        reason: reasons::APPROVED.to_owned(),
        action: "Approve",
        note: format!("approved by {}; the session starts", approved_by.join(", ")),
    }
}

/// Does the status say that this very request was approved?
fn was_approved(session: &DatabaseSession, asked: &Asked) -> bool {
    let Some(status) = &session.status else { return false };
    let same = status.request.as_ref().is_some_and(|known| known.hash == asked.request.hash);
    let ready = conditions::find(&status.conditions, conditions::READY);
    same && ready.is_some_and(|ready| ready.reason != reasons::AWAITING_APPROVAL)
}

/// Is something else asked for than the status says?
pub(super) fn is_another_request(session: &DatabaseSession, asked: Option<&Asked>) -> bool {
    let known = session.status.as_ref().and_then(|status| status.request.as_ref());
    match (known, asked) {
        (Some(known), Some(asked)) => known.hash != asked.request.hash,
        // An access that ended for want of an approval asks for one now.
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

/// By whom a session was approved, each once. `asked`: what it asks for now, or asked for when it started in this reconcile.
pub(super) fn approved_by(session: &DatabaseSession, asked: Option<&Asked>) -> Vec<String> {
    let status = session.status.as_ref().filter(|_| had_access(session));
    let known = status.map(|status| status.approvals.as_slice()).unwrap_or_default();
    let decisions = asked.map_or(known, |asked| asked.decisions.as_slice());
    let approving = |decision: &&ReceivedDecision| decision.decision == Verdict::Approve;
    let mut names: Vec<String> =
        decisions.iter().filter(approving).map(|decision| decision.by.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// When a session that waits for its approval is given up.
pub(super) fn given_up_at(asked: Option<&Asked>) -> Option<Timestamp> {
    asked
        .filter(|asked| matches!(asked.outcome, Outcome::Waiting(_)))
        .map(|asked| asked.progress.expires_at.0)
}

#[cfg(test)]
mod tests {
    use rolecall_api::{ApprovalProgress, DatabaseSessionSpec, SessionRequest, Time};

    use super::super::proof::WasActive;
    use super::super::result::{Active, Shown};
    use super::*;
    use crate::model::Blocker;

    fn session(phase: SessionPhase, reason: &str, hash: &str) -> DatabaseSession {
        let mut session = DatabaseSession::new("s", DatabaseSessionSpec::default());
        let at = Time(Timestamp::UNIX_EPOCH);
        session.status = Some(DatabaseSessionStatus {
            phase: Some(phase),
            conditions: vec![conditions::new(conditions::READY, false, reason, "", None, at.clone())],
            request: Some(SessionRequest { hash: hash.into(), ..SessionRequest::default() }),
            approvals: vec![decision("carol"), decision("bob"), decision("bob")],
            ..DatabaseSessionStatus::default()
        });
        session
    }

    fn decision(by: &str) -> ReceivedDecision {
        ReceivedDecision {
            name: by.into(),
            by: by.into(),
            decision: Verdict::Approve,
            roles: Vec::new(),
            time: Time(Timestamp::UNIX_EPOCH),
            reason: None,
        }
    }

    fn asked(outcome: Outcome, hash: &str) -> Asked {
        let at = Time(Timestamp::UNIX_EPOCH);
        Asked {
            request: SessionRequest { hash: hash.into(), ..SessionRequest::default() },
            progress: ApprovalProgress { requested_at: at.clone(), expires_at: at, needs: Vec::new() },
            decisions: vec![decision("dan")],
            outcome,
        }
    }

    fn active() -> SessionResult {
        let live = session(SessionPhase::Active, reasons::ACTIVE, "a");
        SessionResult::Active(Active {
            shown: Shown::WasActive(WasActive::of(&live).unwrap()),
            username: String::new(),
            db_roles: Vec::new(),
            mode: None,
            reassign_to: None,
            started_at: None,
            expires_at: None,
            renew_at: None,
            secret: None,
            certificate: None,
            connection: None,
            permissions: Default::default(),
            complete: false,
            trouble: None,
            incomplete: None,
            roles: Vec::new(),
        })
    }

    fn request_of(
        session: &DatabaseSession,
        result: &SessionResult,
        asked: Option<&Asked>,
    ) -> Option<String> {
        let status = with_request(DatabaseSessionStatus::default(), session, result, asked);
        status.request.map(|request| request.hash)
    }

    #[test]
    fn what_was_approved_stays_and_what_was_only_asked_for_does_not() {
        let waiting = session(SessionPhase::Pending, reasons::AWAITING_APPROVAL, "a");
        let live = session(SessionPhase::Active, reasons::ACTIVE, "a");
        assert_eq!(request_of(&live, &active(), None).as_deref(), Some("a"));
        assert_eq!(request_of(&waiting, &active(), None), None, "the role stopped asking");
        let blocker = Blocker::passing("R", "");
        assert_eq!(request_of(&waiting, &SessionResult::Waiting(blocker.clone()), None), None);
        assert_eq!(request_of(&waiting, &SessionResult::Rejected(blocker), None).as_deref(), Some("a"));
        let approved = asked(Outcome::Approved(Timestamp::UNIX_EPOCH), "b");
        assert_eq!(request_of(&waiting, &active(), Some(&approved)).as_deref(), Some("b"));
    }

    #[test]
    fn an_approval_is_told_once() {
        let approved_now = asked(Outcome::Approved(Timestamp::UNIX_EPOCH), "a");
        let told = |session: &DatabaseSession| is_newly_approved(session, Some(&approved_now));
        assert!(told(&session(SessionPhase::Pending, reasons::AWAITING_APPROVAL, "a")));
        assert!(!told(&session(SessionPhase::Pending, reasons::DATABASE_UNREACHABLE, "a")));
        assert!(told(&session(SessionPhase::Pending, reasons::DATABASE_UNREACHABLE, "b")));
        let waits = asked(Outcome::Waiting(Blocker::passing("R", "")), "a");
        let first = session(SessionPhase::Pending, reasons::AWAITING_APPROVAL, "a");
        assert!(!is_newly_approved(&first, Some(&waits)));
    }

    #[test]
    fn the_audit_log_says_who_decided_about_which_request() {
        let approved = asked(Outcome::Approved(Timestamp::UNIX_EPOCH), "a");
        let by = ["bob".to_owned(), "carol".to_owned()];
        let lines = approvals(&approved, &by);
        let told: Vec<_> = lines.iter().map(|line| (line.event, line.by, line.request_hash)).collect();
        assert_eq!(told, [(AuditEvent::Approved, "bob", "a"), (AuditEvent::Approved, "carol", "a")]);

        let entry = |event, reason| AuditEntry {
            event,
            reason,
            proven: false,
            granted: None,
            approved_by: &[],
            by: "",
            request_hash: "",
        };
        let mut denied = asked(Outcome::Final(Blocker::stalled(reasons::APPROVAL_DENIED, "")), "b");
        denied.decisions.push(ReceivedDecision { decision: Verdict::Deny, ..decision("eve") });
        let rejected = entry(AuditEvent::Rejected, reasons::APPROVAL_DENIED);
        let line = named(rejected, Some(&denied), &by[..1]);
        assert_eq!((line.event, line.by, line.request_hash), (AuditEvent::Denied, "eve", "b"));
        assert_eq!(line.approved_by, ["bob"]);

        let waits = asked(Outcome::Waiting(Blocker::passing("R", "")), "c");
        let line = named(entry(AuditEvent::Waiting, reasons::AWAITING_APPROVAL), Some(&waits), &[]);
        assert_eq!((line.event, line.by, line.request_hash), (AuditEvent::Requested, "", "c"));
        let anew = named(entry(AuditEvent::Withdrawn, reasons::AWAITING_APPROVAL), Some(&waits), &[]);
        assert_eq!((anew.event, anew.request_hash), (AuditEvent::Withdrawn, "c"));
        let requested = asked_anew(&anew).map(|line| (line.event, line.request_hash));
        assert_eq!(requested, Some((AuditEvent::Requested, "c")));
        let gone = named(entry(AuditEvent::Withdrawn, reasons::ACCESS_DENIED), Some(&waits), &[]);
        assert!(asked_anew(&gone).is_none() && asked_anew(&line).is_none());
        let late = named(entry(AuditEvent::Rejected, reasons::APPROVAL_EXPIRED), Some(&waits), &[]);
        assert_eq!((late.event, late.request_hash), (AuditEvent::ApprovalExpired, "c"));
        let line = named(entry(AuditEvent::Active, reasons::ACTIVE), Some(&approved), &by);
        assert_eq!((line.event, line.by, line.request_hash), (AuditEvent::Active, "", ""));
        assert_eq!(line.approved_by, by);
    }

    #[test]
    fn an_access_that_ends_keeps_what_was_approved_for_it() {
        let now = asked(Outcome::Waiting(Blocker::passing("R", "")), "b");
        let ends = SessionResult::Ending { reason: None, blocker: Blocker::passing("R", "") };
        let ending = session(SessionPhase::Ending, reasons::ENDING, "a");
        assert_eq!(relevant(&ending, &ends, Some(&now)), None);
        let kept = relevant(&ending, &ends, Some(&now));
        assert_eq!(request_of(&ending, &ends, kept).as_deref(), Some("a"));
        assert_eq!(approved_by(&ending, kept), ["bob", "carol"]);
        let waits = SessionResult::Waiting(Blocker::passing("R", ""));
        assert_eq!(relevant(&ending, &waits, Some(&now)), Some(&now), "it asks anew");
        let pending = session(SessionPhase::Pending, reasons::STARTING, "a");
        assert_eq!(relevant(&pending, &ends, Some(&now)), Some(&now));
        assert!(approved_by(&pending, None).is_empty(), "it needs no approval any more");
    }

    #[test]
    fn whoever_approved_is_named_once() {
        let live = session(SessionPhase::Active, reasons::ACTIVE, "a");
        assert_eq!(approved_by(&live, None), ["bob", "carol"]);
        let approved = asked(Outcome::Approved(Timestamp::UNIX_EPOCH), "a");
        assert_eq!(approved_by(&live, Some(&approved)), ["dan"]);
    }
}
