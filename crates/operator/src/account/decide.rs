//! What should happen to one session: a pure function of the object, the policy's answer, the time, and what kept it
//! from starting in this reconcile.
//!
//! Nothing here knows whether the server answers. A step that failed is an input of the next decision: see [`Setback`].

use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::{DatabaseSession, EndReason, GoDuration, SessionPhase, reasons};
use rolecall_resolve::{Blocked, Grant};

use super::approval::{Approval, Outcome};
use crate::model::session::{
    Times, first_try_counts, give_up_at, has_finalizer, is_late, is_over, last_blocker, phase, started_at,
};
use crate::model::{Blocker, plus, whole_second};

/// What should happen to a session.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    /// It is over; the object stays until [`crate::model::session::delete_at`].
    Over,
    /// It is being deleted and nothing was ever done for it: its finalizer, which admission put on it, is taken off.
    Release,
    /// It is being deleted and has no finalizer, or somebody changed it: nothing is done now.
    Untouched,
    /// It is Active and stays so.
    Live(Access),
    /// It may start.
    Start(Access),
    /// Its access has to go.
    End(End),
    /// It cannot start now.
    Wait(Blocker),
    /// It will never start, and nothing was done for it.
    Reject(Blocker),
}

/// The access that a session has, or may get.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Access {
    /// What policy gives it.
    pub grant: Grant,
    /// How long it may live from its start; `None` for a standing session.
    pub ttl: Option<Duration>,
    /// When it will end, where that is known: from its start, or counted from now.
    pub expires_at: Option<Timestamp>,
}

/// How a session ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    /// What `status.endReason` will say; `None` for a session that never became Active.
    pub reason: Option<EndReason>,
    /// What becomes of the object once the database shows the access gone.
    pub then: AfterEnd,
}

/// What becomes of an object once its access is gone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AfterEnd {
    /// It is released: somebody deleted it.
    Release,
    /// It is Ended and kept for a while.
    Ended,
    /// It waits until the blocker is gone. Nothing is left of it on the server.
    Pending(Blocker),
    /// Its start failed, and is retried.
    Retry(Blocker),
    /// It never started and never will.
    Rejected(Blocker),
}

/// The DatabaseAdmin that a session names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdminState {
    /// There is none of that name.
    Missing,
    /// It is being deleted.
    Deleting,
    /// It is there.
    Present,
}

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// The object as it was read at the beginning of the reconcile.
    pub session: &'a DatabaseSession,
    /// Its DatabaseAdmin.
    pub admin: AdminState,
    /// What policy says.
    pub grant: &'a Result<Grant, Blocked>,
    /// Whether it has the approval that it needs.
    pub approval: &'a Approval,
    /// It ends by itself at some time.
    pub timed: bool,
    /// Something of it may exist in the database: by what is recorded, or because this reconcile has begun its start.
    pub touched: bool,
    /// The time now, and since when the session is known.
    pub times: Times,
}

/// What kept a session from starting in this reconcile.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Setback {
    /// A step failed.
    Failed(Blocker),
    /// Its start deadline passed meanwhile.
    TooLate,
    /// Its permission set is not ready yet. `report`: it has waited so long that its status says so.
    SetNotReady {
        /// Write the status.
        report: bool,
    },
    /// Another session got the account, with other roles. What was done for this one is undone by the next reconcile.
    RolesTaken(Blocker),
    /// Somebody deleted the object, or (`retry`) changed it: the next reconcile decides on what it is now.
    ObjectChanged {
        /// It is still there.
        retry: bool,
    },
}

/// What a session waits for whose permission set is not ready yet.
pub(super) fn set_not_ready() -> Blocker {
    Blocker::passing(reasons::STARTING, "the object permissions are being prepared")
}

/// What should happen to a session. `setback`: what kept it from starting before, in this reconcile.
pub(super) fn decide(facts: Facts<'_>, setback: Option<&Setback>) -> Decision {
    let decision = decide_first(facts);
    match (&decision, setback) {
        (Decision::Start(_), Some(setback)) => after_setback(facts, setback),
        _ => decision,
    }
}

fn decide_first(facts: Facts<'_>) -> Decision {
    let Facts { session, touched, .. } = facts;
    let deleted = session.metadata.deletion_timestamp.is_some();

    if is_over(session) && !(deleted && touched) {
        return if deleted { never_begun(session) } else { Decision::Over };
    }
    if deleted {
        return if touched {
            Decision::End(End { reason: Some(EndReason::Deleted), then: AfterEnd::Release })
        } else {
            never_begun(session)
        };
    }
    // A timed session that began to end never comes back.
    if phase(session) == SessionPhase::Ending
        && let Some(reason) = session.status.as_ref().and_then(|status| status.end_reason)
    {
        return Decision::End(End { reason: Some(reason), then: AfterEnd::Ended });
    }
    if facts.admin != AdminState::Present {
        let message = match facts.admin {
            AdminState::Missing => {
                format!("there is no DatabaseAdmin {:?} in this namespace", session.spec.database)
            }
            _ => format!("the DatabaseAdmin {:?} is being deleted", session.spec.database),
        };
        let blocker = Blocker::awaited(reasons::DATABASE_NOT_FOUND, message);
        return without_access(facts, EndReason::DatabaseRemoved, blocker);
    }
    match facts.grant {
        Err(blocked) => {
            let blocker = Blocker::from(blocked);
            if blocked.permanent && !touched {
                return Decision::Reject(blocker);
            }
            let reason = match blocked.reason {
                reasons::USER_SUSPENDED => EndReason::UserSuspended,
                reasons::UNINSTALLED => EndReason::Uninstalled,
                _ => EndReason::AccessRevoked,
            };
            without_access(facts, reason, blocker)
        }
        Ok(grant) => with_access(facts, grant),
    }
}

/// One that is being deleted, and of which nothing exists.
fn never_begun(session: &DatabaseSession) -> Decision {
    if has_finalizer(session) { Decision::Release } else { Decision::Untouched }
}

/// A start that failed: it waits, is rejected, or has to be ended first.
fn after_setback(facts: Facts<'_>, setback: &Setback) -> Decision {
    let blocker = match setback {
        Setback::Failed(blocker) => blocker.clone(),
        Setback::TooLate => last_blocker(facts.session),
        Setback::SetNotReady { .. } => return Decision::Wait(set_not_ready()),
        Setback::RolesTaken(blocker) => return Decision::Wait(blocker.clone()),
        Setback::ObjectChanged { .. } => return Decision::Untouched,
    };
    match give_up(facts, facts.timed, blocker) {
        // Something may have been done for it in this very reconcile.
        Decision::Wait(blocker) if facts.touched => {
            Decision::End(End { reason: None, then: AfterEnd::Retry(blocker) })
        }
        decision => decision,
    }
}

/// The decision for a session that cannot start now: it keeps waiting, or its start deadline has passed and it is
/// rejected.
pub(super) fn give_up(facts: Facts<'_>, timed: bool, blocker: Blocker) -> Decision {
    let Facts { session, times, .. } = facts;
    if !timed || give_up_at(session, times.seen).is_none_or(|at| times.now < at) {
        return Decision::Wait(blocker);
    }
    if facts.touched {
        return Decision::End(End { reason: None, then: AfterEnd::Rejected(blocker) });
    }
    Decision::Reject(blocker)
}

/// By when the permission set of a session that starts has to be ready; `None`: it may take any time.
pub(super) fn set_deadline(session: &DatabaseSession, timed: bool, times: Times) -> Option<Timestamp> {
    // Where the first attempt decides, waiting for the set is part of it.
    give_up_at(session, times.seen).filter(|_| timed && !first_try_counts(session))
}

fn with_access(facts: Facts<'_>, grant: &Grant) -> Decision {
    let Facts { session, times, .. } = facts;
    let asked = session.spec.ttl.as_ref().map(|ttl| ttl.get());
    let ttl = match (asked, grant.max_session_ttl) {
        (Some(asked), Some(max)) => Some(asked.min(max)),
        (asked, max) => asked.or(max),
    };
    if phase(session) == SessionPhase::Active {
        // Where somebody removed that from the status, the time when it was first seen counts: it must end some time.
        let started = started_at(session).unwrap_or(times.seen);
        let expires_at = ttl.and_then(|ttl| plus(started, ttl)).map(whole_second);
        if expires_at.is_some_and(|at| at <= times.now) {
            return Decision::End(End { reason: Some(EndReason::Expired), then: AfterEnd::Ended });
        }
        return Decision::Live(Access { grant: grant.clone(), ttl, expires_at });
    }
    if let (Some(asked), Some(max)) = (asked, grant.max_session_ttl)
        && asked > max
    {
        let message = format!(
            "spec.ttl is longer than the maxSessionTtl of {} that the user's roles allow; ask for less",
            GoDuration::from(max)
        );
        return give_up(facts, true, Blocker::stalled(reasons::TTL_TOO_LONG, message));
    }
    if let Some(asked) = facts.approval.asked() {
        match &asked.outcome {
            Outcome::Approved(_) => {}
            Outcome::Waiting(blocker) => return without_approval(facts, blocker, false),
            Outcome::Final(blocker) => return without_approval(facts, blocker, true),
        }
    }
    if is_late(session, ttl.is_some(), times) {
        return give_up(facts, true, last_blocker(session));
    }
    Decision::Start(Access {
        grant: grant.clone(),
        ttl,
        expires_at: ttl.and_then(|ttl| plus(times.now, ttl)),
    })
}

/// Other people have not approved it yet, or (`is_final`) will not. What may be there of it has to go first.
fn without_approval(facts: Facts<'_>, blocker: &Blocker, is_final: bool) -> Decision {
    let blocker = blocker.clone();
    let then =
        if is_final { AfterEnd::Rejected(blocker.clone()) } else { AfterEnd::Pending(blocker.clone()) };
    match (facts.touched, is_final) {
        (true, _) => {
            let had_access = phase(facts.session) == SessionPhase::Ending;
            Decision::End(End { reason: had_access.then_some(EndReason::AccessRevoked), then })
        }
        (false, true) => Decision::Reject(blocker),
        (false, false) => Decision::Wait(blocker),
    }
}

fn without_access(facts: Facts<'_>, reason: EndReason, blocker: Blocker) -> Decision {
    let session = facts.session;
    // Policy does not say any more whether a role limited the session: its own status does.
    let limited = session.status.as_ref().is_some_and(|status| status.expires_at.is_some());
    let timed = session.spec.ttl.is_some() || limited;
    let was_active = matches!(phase(session), SessionPhase::Active | SessionPhase::Ending);
    match (was_active, timed) {
        (true, true) => Decision::End(End { reason: Some(reason), then: AfterEnd::Ended }),
        (true, false) => Decision::End(End { reason: Some(reason), then: AfterEnd::Pending(blocker) }),
        (false, _) if facts.touched => match give_up(facts, timed, blocker) {
            Decision::Wait(blocker) => Decision::End(End { reason: None, then: AfterEnd::Pending(blocker) }),
            decision => decision,
        },
        (false, _) => give_up(facts, timed, blocker),
    }
}

#[cfg(test)]
mod tests;
