//! What the object of a session says about it: its phase, its marks, its deadlines.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::names::{ACCOUNT_FINALIZER, USERNAME_ANNOTATION};
use rolecall_api::{Condition, DatabaseSession, SessionPhase, conditions, reasons};
use rolecall_resolve::Grant;

use super::{Blocker, plus};

/// How long a timed session waits for its start when it does not say.
const DEFAULT_START_DEADLINE: Duration = Duration::from_secs(60);

/// The time, by this machine's clock alone: that of the API server may be another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Now.
    pub now: Timestamp,
    /// When the session was first seen: its deadline counts from then.
    pub seen: Timestamp,
}

/// The phase in the status; a fresh object is Pending.
pub fn phase(session: &DatabaseSession) -> SessionPhase {
    session.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

/// Is it over, by its status?
pub fn is_over(session: &DatabaseSession) -> bool {
    matches!(phase(session), SessionPhase::Ended | SessionPhase::Rejected)
}

/// Does the object stay until the operator lets it go?
pub fn has_finalizer(session: &DatabaseSession) -> bool {
    session.finalizers().iter().any(|finalizer| finalizer == ACCOUNT_FINALIZER)
}

/// May something of this session exist in the database? The finalizer alone says nothing: admission puts it on every
/// session. From the start on there is a name, too.
pub fn is_touched(session: &DatabaseSession) -> bool {
    has_finalizer(session) && (session.annotations().contains_key(BEGUN) || names_account(session))
}

/// Does the object itself say, for whoever comes after this process, that something of it may exist, and under which name?
pub fn is_recorded(session: &DatabaseSession) -> bool {
    has_finalizer(session) && names_account(session)
}

fn names_account(session: &DatabaseSession) -> bool {
    let status = session.status.as_ref();
    status.is_some_and(|status| status.username.is_some())
        || session.annotations().contains_key(USERNAME_ANNOTATION)
}

/// Cached objects alone have it, which is why it is no name that an annotation can have: what the object does not say of
/// its start. Empty: that is not known yet.
const BEGUN: &str = "begun as";

/// Says on a cached object that its start has begun under this name; `None`: that it may have.
pub fn set_begun(session: &mut DatabaseSession, name: Option<&str>) {
    session.annotations_mut().insert(BEGUN.to_owned(), name.unwrap_or_default().to_owned());
}

/// The object as the API server has it.
pub fn without_begun(session: &DatabaseSession) -> DatabaseSession {
    let mut session = session.clone();
    if let Some(annotations) = &mut session.metadata.annotations {
        annotations.remove(BEGUN);
    }
    session
}

/// Is it not known yet whether its start has begun?
pub fn is_unclear(session: &DatabaseSession) -> bool {
    session.annotations().get(BEGUN).is_some_and(String::is_empty)
}

/// May it have access? Also where somebody took the finalizer off.
pub fn may_have_access(session: &DatabaseSession) -> bool {
    is_touched(session) || matches!(phase(session), SessionPhase::Active | SessionPhase::Ending)
}

/// When it became Active.
pub fn started_at(session: &DatabaseSession) -> Option<Timestamp> {
    Some(session.status.as_ref()?.started_at.as_ref()?.0)
}

/// The database user name under which a session was started, or is being. It outlives the DatabaseUser, so that an access
/// can be ended whatever became of that.
pub fn recorded_username(session: &DatabaseSession) -> Option<&str> {
    let annotation = |name: &str| session.annotations().get(name).map(String::as_str);
    session
        .status
        .as_ref()
        .and_then(|status| status.username.as_deref())
        .or_else(|| annotation(USERNAME_ANNOTATION))
        .or_else(|| annotation(BEGUN).filter(|name| !name.is_empty()))
}

/// Does the session end by itself at some time?
pub fn is_timed(session: &DatabaseSession, grant: Option<&Grant>) -> bool {
    session.spec.ttl.is_some() || grant.is_some_and(|grant| grant.max_session_ttl.is_some())
}

/// When a timed session that has not started is given up. With a deadline of 0s the first attempt decides.
pub fn give_up_at(session: &DatabaseSession, seen: Timestamp) -> Option<Timestamp> {
    let deadline = session.spec.start_deadline.as_ref().map_or(DEFAULT_START_DEADLINE, |d| d.get());
    plus(seen, deadline)
}

/// Is its start deadline 0s, so that the first attempt decides, however long it takes?
pub fn first_try_counts(session: &DatabaseSession) -> bool {
    session.spec.start_deadline.as_ref().is_some_and(|deadline| deadline.get().is_zero())
}

/// Has the time passed by which the session should have started? With a deadline of 0s the first attempt decides,
/// however long it takes; any other deadline has passed whether or not a start was attempted.
pub fn is_late(session: &DatabaseSession, timed: bool, times: Times) -> bool {
    timed && !first_try_counts(session) && give_up_at(session, times.seen).is_some_and(|at| at <= times.now)
}

/// When a session that waits is reconciled again, at the latest.
pub fn start_deadline(session: &DatabaseSession, timed: bool, times: Times) -> Option<Timestamp> {
    give_up_at(session, times.seen).filter(|at| timed && *at > times.now)
}

/// When the object of a session that is over has been kept long enough.
pub fn delete_at(session: &DatabaseSession, now: Timestamp) -> Timestamp {
    let ended = session.status.as_ref().and_then(|status| status.ended_at.as_ref()).map_or(now, |at| at.0);
    plus(ended, session.spec.retain_after_end.get()).unwrap_or(Timestamp::MAX)
}

/// What was in the way of a session last, according to its status.
pub fn last_blocker(session: &DatabaseSession) -> Blocker {
    let ready =
        session.status.as_ref().and_then(|status| conditions::find(&status.conditions, conditions::READY));
    match ready {
        Some(Condition { reason, message, .. })
            if !matches!(
                reason.as_str(),
                reasons::PENDING | reasons::ENDING | reasons::AWAITING_APPROVAL
            ) =>
        {
            Blocker::stalled(reason, message)
        }
        _ => Blocker::stalled(
            reasons::START_DEADLINE_EXCEEDED,
            "the session had not started by its startDeadline: the operator had not reconciled it, or its server had not answered; create it again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use rolecall_api::{DatabaseSessionSpec, DatabaseSessionStatus, GoDuration, Time};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn session(deadline: Option<u64>) -> DatabaseSession {
        let spec = DatabaseSessionSpec {
            start_deadline: deadline.map(GoDuration::from_secs),
            retain_after_end: GoDuration::from_secs(100),
            ..DatabaseSessionSpec::default()
        };
        DatabaseSession::new("alice-orders", spec)
    }

    #[test]
    fn an_ended_session_stays_as_long_as_it_says() {
        let mut ended = session(None);
        let status = DatabaseSessionStatus { ended_at: Some(Time(at(3_000))), ..Default::default() };
        ended.status = Some(status);
        assert_eq!(delete_at(&ended, at(3_001)), at(3_100));
    }

    #[test]
    fn a_start_deadline_counts_from_when_the_session_was_seen_and_0s_is_never_late() {
        let times = |now| Times { now: at(now), seen: at(1_000) };
        assert!(!is_late(&session(None), true, times(1_059)) && is_late(&session(None), true, times(1_060)));
        assert!(!is_late(&session(Some(0)), true, times(9_999)));
        assert!(!is_late(&session(None), false, times(9_999)), "only timed sessions have a deadline");
        assert_eq!(start_deadline(&session(Some(5)), true, times(1_001)), Some(at(1_005)));
        assert_eq!(start_deadline(&session(Some(5)), true, times(1_005)), None);
    }

    #[test]
    fn the_last_blocker_is_what_the_status_says_unless_that_only_says_that_it_waits() {
        let with = |reason: &str| {
            let mut session = session(None);
            let ready = conditions::new(conditions::READY, false, reason, "why", None, Time(at(1)));
            session.status =
                Some(DatabaseSessionStatus { conditions: vec![ready], ..DatabaseSessionStatus::default() });
            last_blocker(&session).reason
        };
        assert_eq!(with(reasons::ACCESS_DENIED), reasons::ACCESS_DENIED);
        assert_eq!(with(reasons::PENDING), reasons::START_DEADLINE_EXCEEDED);
    }
}
