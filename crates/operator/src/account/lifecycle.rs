//! What becomes of one session: a pure function of the object, the policy's answer and the time.
//!
//! Nothing here knows whether the server answers. [`decide`] says what should happen; the reconciler tries, and
//! [`give_up`] says what a failed try means for the session.

use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::{Condition, DatabaseSession, EndReason, GoDuration, SessionPhase, conditions, reasons};
use rolecall_resolve::{Blocked, Grant};

pub use crate::model::session::{is_touched, may_have_access, phase, started_at};
pub use crate::model::{Blocker, plus};

/// How long a timed session waits for its start when it does not say.
const DEFAULT_START_DEADLINE: Duration = Duration::from_secs(60);

/// What should happen with a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is over; the object stays until [`delete_at`].
    Over,
    /// It is being deleted and nothing was ever done for it.
    Untouched,
    /// It is Active and stays so.
    Live(Life),
    /// It may start.
    Start(Life),
    /// Its access has to go.
    End(Ending),
    /// It cannot start now.
    Wait(Blocker),
    /// It will never start, and nothing was done for it.
    Reject(Blocker),
}

/// A session that has, or may have, access.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// What policy gives it.
    pub grant: Grant,
    /// How long it may live from its start; `None` for a standing session.
    pub ttl: Option<Duration>,
    /// When it will end, as far as that is known: from its start, or counted from now.
    pub expires_at: Option<Timestamp>,
}

/// How a session ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// What `status.endReason` will say; `None` for a session that never became Active.
    pub reason: Option<EndReason>,
    /// What becomes of the object once the database shows the access gone.
    pub next: Next,
}

/// What becomes of an object once its access is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// It is let go: somebody deleted it.
    Release,
    /// It is Ended and kept for a while.
    Ended,
    /// It waits until what is in the way is gone. Nothing is left of it on the server.
    Pending(Blocker),
    /// Its start did not come off, and is tried again.
    Again(Blocker),
    /// It never started and never will.
    Rejected(Blocker),
}

/// What the namespace holds for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminState {
    /// There is no DatabaseAdmin of that name.
    Missing,
    /// It is being deleted.
    Deleting,
    /// It is there.
    Present,
}

/// The time, by this machine's clock alone: that of the API server may be another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Now.
    pub now: Timestamp,
    /// When the session was first seen: its deadline counts from then.
    pub seen: Timestamp,
}

/// What should happen with a session, given the state of its DatabaseAdmin, what policy says, and the time.
pub fn decide(
    session: &DatabaseSession,
    admin: AdminState,
    grant: &Result<Grant, Blocked>,
    times: Times,
) -> Verdict {
    let phase = phase(session);
    let touched = is_touched(session);
    let deleted = session.metadata.deletion_timestamp.is_some();

    if matches!(phase, SessionPhase::Ended | SessionPhase::Rejected) && !(deleted && touched) {
        return if deleted { Verdict::Untouched } else { Verdict::Over };
    }
    if deleted {
        return if touched {
            Verdict::End(Ending { reason: Some(EndReason::Deleted), next: Next::Release })
        } else {
            Verdict::Untouched
        };
    }
    // A timed session that began to end never comes back.
    if phase == SessionPhase::Ending
        && let Some(reason) = session.status.as_ref().and_then(|status| status.end_reason)
    {
        return Verdict::End(Ending { reason: Some(reason), next: Next::Ended });
    }
    if admin != AdminState::Present {
        let message = match admin {
            AdminState::Missing => {
                format!("there is no DatabaseAdmin {:?} in this namespace", session.spec.database)
            }
            _ => format!("the DatabaseAdmin {:?} is being deleted", session.spec.database),
        };
        let blocker = Blocker::awaited(reasons::DATABASE_NOT_FOUND, message);
        return without_access(session, EndReason::DatabaseRemoved, blocker, times);
    }
    match grant {
        Err(blocked) => {
            let blocker = Blocker::from(blocked);
            if blocked.permanent && !touched {
                return Verdict::Reject(blocker);
            }
            let reason = match blocked.reason {
                reasons::USER_SUSPENDED => EndReason::UserSuspended,
                _ => EndReason::AccessRevoked,
            };
            without_access(session, reason, blocker, times)
        }
        Ok(grant) => with_access(session, grant, times),
    }
}

/// What a try that failed means: the session waits on, or its start deadline has passed and it is rejected.
pub fn give_up(session: &DatabaseSession, timed: bool, blocker: Blocker, times: Times) -> Verdict {
    if !timed || give_up_at(session, times.seen).is_none_or(|at| times.now < at) {
        return Verdict::Wait(blocker);
    }
    if is_touched(session) {
        return Verdict::End(Ending { reason: None, next: Next::Rejected(blocker) });
    }
    Verdict::Reject(blocker)
}

/// When a timed session that has not started is given up. With a deadline of nothing the first try counts.
pub fn give_up_at(session: &DatabaseSession, seen: Timestamp) -> Option<Timestamp> {
    let deadline = session.spec.start_deadline.as_ref().map_or(DEFAULT_START_DEADLINE, |d| d.get());
    plus(seen, deadline)
}

/// Has the time passed by which the session should have started? With a deadline of 0s the first try counts, however
/// long it takes; any other deadline that has passed is over, tried or not.
pub fn is_late(session: &DatabaseSession, timed: bool, times: Times) -> bool {
    let has_deadline = session.spec.start_deadline.as_ref().is_none_or(|deadline| !deadline.get().is_zero());
    timed && has_deadline && give_up_at(session, times.seen).is_some_and(|at| at <= times.now)
}

/// Is the session over at some time by itself?
pub fn is_timed(session: &DatabaseSession, grant: Option<&Grant>) -> bool {
    session.spec.ttl.is_some() || grant.is_some_and(|grant| grant.max_session_ttl.is_some())
}

fn with_access(session: &DatabaseSession, grant: &Grant, times: Times) -> Verdict {
    let now = times.now;
    let asked = session.spec.ttl.as_ref().map(|ttl| ttl.get());
    let ttl = match (asked, grant.max_session_ttl) {
        (Some(asked), Some(max)) => Some(asked.min(max)),
        (asked, max) => asked.or(max),
    };
    if phase(session) == SessionPhase::Active {
        // Where somebody took away what tells that, it is at the latest when it was first seen: it must end some time.
        let started = started_at(session).unwrap_or(times.seen);
        let expires_at = ttl.and_then(|ttl| plus(started, ttl));
        if expires_at.is_some_and(|at| at <= now) {
            return Verdict::End(Ending { reason: Some(EndReason::Expired), next: Next::Ended });
        }
        return Verdict::Live(Life { grant: grant.clone(), ttl, expires_at });
    }
    if let (Some(asked), Some(max)) = (asked, grant.max_session_ttl)
        && asked > max
    {
        let message = format!(
            "spec.ttl is longer than the maxSessionTtl of {} that the user's roles allow; ask for less",
            GoDuration::from(max)
        );
        return give_up(session, true, Blocker::stalled(reasons::TTL_TOO_LONG, message), times);
    }
    if is_late(session, ttl.is_some(), times) {
        return give_up(session, true, last_blocker(session), times);
    }
    Verdict::Start(Life { grant: grant.clone(), ttl, expires_at: ttl.and_then(|ttl| plus(now, ttl)) })
}

fn without_access(session: &DatabaseSession, reason: EndReason, blocker: Blocker, times: Times) -> Verdict {
    // Policy does not say any more whether a role limited the session: its own status does.
    let limited = session.status.as_ref().is_some_and(|status| status.expires_at.is_some());
    let timed = session.spec.ttl.is_some() || limited;
    let was_active = matches!(phase(session), SessionPhase::Active | SessionPhase::Ending);
    match (was_active, timed) {
        (true, true) => Verdict::End(Ending { reason: Some(reason), next: Next::Ended }),
        (true, false) => Verdict::End(Ending { reason: Some(reason), next: Next::Pending(blocker) }),
        (false, _) if is_touched(session) => match give_up(session, timed, blocker, times) {
            Verdict::Wait(blocker) => Verdict::End(Ending { reason: None, next: Next::Pending(blocker) }),
            verdict => verdict,
        },
        (false, _) => give_up(session, timed, blocker, times),
    }
}

/// What was in the way of a session last, as far as that was told.
pub fn last_blocker(session: &DatabaseSession) -> Blocker {
    let ready =
        session.status.as_ref().and_then(|status| conditions::find(&status.conditions, conditions::READY));
    match ready {
        Some(Condition { reason, message, .. })
            if !matches!(reason.as_str(), reasons::PENDING | reasons::ENDING) =>
        {
            Blocker::stalled(reason, message)
        }
        _ => Blocker::stalled(
            reasons::START_DEADLINE_EXCEEDED,
            "the session had not started by its startDeadline: the operator had not looked at it, or its server had not answered; create it again",
        ),
    }
}

/// When the object of a session that is over has been kept long enough.
pub fn delete_at(session: &DatabaseSession, now: Timestamp) -> Timestamp {
    let ended = session.status.as_ref().and_then(|status| status.ended_at.as_ref()).map_or(now, |at| at.0);
    plus(ended, session.spec.retain_after_end.get()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
