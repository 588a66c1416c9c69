//! What becomes of one session: a pure function of the object, the policy's answer and the time.
//!
//! Nothing here knows whether the server answers. [`decide`] says what should happen; the reconciler tries, and
//! [`give_up`] says what a failed try means for the session.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::names::ACCOUNT_FINALIZER;
use rolecall_api::{Condition, DatabaseSession, EndReason, SessionPhase, conditions, reasons};
use rolecall_engine::Class;
use rolecall_resolve::{Blocked, Grant};

/// How long a timed session waits for its start when it does not say.
const DEFAULT_START_DEADLINE: Duration = Duration::from_secs(60);

/// What should happen with a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is over; the object is deleted at that time.
    Over {
        /// When the object has been kept long enough.
        delete_at: Timestamp,
    },
    /// It is being deleted and nothing was ever done for it.
    Untouched,
    /// It is Active and stays so.
    Live(Life),
    /// It may start.
    Start(Life),
    /// Its access has to go.
    End(Ending),
    /// It cannot start now.
    Wait(Obstacle),
    /// It will never start, and nothing was done for it.
    Reject(Obstacle),
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
    Pending(Obstacle),
    /// Its start did not come off, and is tried again.
    Again(Obstacle),
    /// It never started and never will.
    Rejected(Obstacle),
}

/// What is in the way of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The reason of the Ready condition.
    pub reason: String,
    /// For people: what, on which object, and what to do.
    pub message: String,
    /// Only a person can help; else it may go away by itself.
    pub stalled: bool,
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

impl Obstacle {
    /// Something that only a person can move.
    pub fn stalled(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), stalled: true }
    }

    /// Something that may go away by itself.
    pub fn passing(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), stalled: false }
    }
}

impl From<&Blocked> for Obstacle {
    fn from(blocked: &Blocked) -> Self {
        Self::stalled(blocked.reason, blocked.message.clone())
    }
}

impl From<&rolecall_engine::Error> for Obstacle {
    fn from(error: &rolecall_engine::Error) -> Self {
        match error.class {
            Class::Unreachable | Class::Transient => Self::passing(error.reason.as_str(), error.to_string()),
            Class::Invalid | Class::Refused => Self::stalled(error.reason.as_str(), error.to_string()),
        }
    }
}

/// What should happen with a session, given the state of its DatabaseAdmin, what policy says, and the time.
pub fn decide(
    session: &DatabaseSession,
    admin: AdminState,
    grant: &Result<Grant, Blocked>,
    now: Timestamp,
) -> Verdict {
    let phase = phase(session);
    let touched = is_touched(session);
    let deleted = session.metadata.deletion_timestamp.is_some();

    if matches!(phase, SessionPhase::Ended | SessionPhase::Rejected) && !(deleted && touched) {
        return if deleted {
            Verdict::Untouched
        } else {
            Verdict::Over { delete_at: delete_at(session, now) }
        };
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
        let obstacle = Obstacle::stalled(reasons::DATABASE_NOT_FOUND, message);
        return without_access(session, EndReason::DatabaseRemoved, obstacle, now);
    }
    match grant {
        Err(blocked) => {
            let obstacle = Obstacle::from(blocked);
            if blocked.permanent && !touched {
                return Verdict::Reject(obstacle);
            }
            let reason = match blocked.reason {
                reasons::USER_SUSPENDED => EndReason::UserSuspended,
                _ => EndReason::AccessRevoked,
            };
            without_access(session, reason, obstacle, now)
        }
        Ok(grant) => with_access(session, grant, now),
    }
}

/// What a try that failed means: the session waits on, or its start deadline has passed and it is rejected.
pub fn give_up(session: &DatabaseSession, timed: bool, obstacle: Obstacle, now: Timestamp) -> Verdict {
    if !timed || give_up_at(session).is_none_or(|at| now < at) {
        return Verdict::Wait(obstacle);
    }
    if is_touched(session) {
        return Verdict::End(Ending { reason: None, next: Next::Rejected(obstacle) });
    }
    Verdict::Reject(obstacle)
}

/// When a timed session that has not started is given up.
pub fn give_up_at(session: &DatabaseSession) -> Option<Timestamp> {
    let created = session.metadata.creation_timestamp.as_ref()?.0;
    let deadline = session.spec.start_deadline.as_ref().map_or(DEFAULT_START_DEADLINE, |d| d.get());
    // A creation time is cut to seconds: without the one that it may lack, a deadline of a second could be over before
    // anybody had looked. A deadline of nothing stays one: there the first try counts.
    let lacking = if deadline.is_zero() { Duration::ZERO } else { Duration::from_secs(1) };
    plus(created, deadline + lacking)
}

/// Is the session over at some time by itself?
pub fn is_timed(session: &DatabaseSession, grant: Option<&Grant>) -> bool {
    session.spec.ttl.is_some() || grant.is_some_and(|grant| grant.max_session_ttl.is_some())
}

/// May the database hold something of this session?
pub fn is_touched(session: &DatabaseSession) -> bool {
    session.finalizers().iter().any(|finalizer| finalizer == ACCOUNT_FINALIZER)
}

/// May it have access? Also where somebody took the finalizer off.
pub fn may_have_access(session: &DatabaseSession) -> bool {
    is_touched(session) || matches!(phase(session), SessionPhase::Active | SessionPhase::Ending)
}

/// The phase that the status tells; a fresh object is Pending.
pub fn phase(session: &DatabaseSession) -> SessionPhase {
    session.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

/// `at + duration`; `None` beyond the end of time, which is as good as never.
pub fn plus(at: Timestamp, duration: Duration) -> Option<Timestamp> {
    at.checked_add(jiff::SignedDuration::try_from(duration).ok()?).ok()
}

fn with_access(session: &DatabaseSession, grant: &Grant, now: Timestamp) -> Verdict {
    let asked = session.spec.ttl.as_ref().map(|ttl| ttl.get());
    let ttl = match (asked, grant.max_session_ttl) {
        (Some(asked), Some(max)) => Some(asked.min(max)),
        (asked, max) => asked.or(max),
    };
    if phase(session) == SessionPhase::Active {
        let started =
            session.status.as_ref().and_then(|status| status.started_at.as_ref()).map_or(now, |at| at.0);
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
            "spec.ttl is longer than the maxSessionTtl of {}s that the user's roles allow; ask for less",
            max.as_secs()
        );
        return give_up(session, true, Obstacle::stalled(reasons::TTL_TOO_LONG, message), now);
    }
    // With a deadline of 0s the first try counts; any other deadline that has passed is over, tried or not.
    let has_deadline = session.spec.start_deadline.as_ref().is_none_or(|deadline| !deadline.get().is_zero());
    if ttl.is_some() && has_deadline && give_up_at(session).is_some_and(|at| at <= now) {
        return give_up(session, true, last_obstacle(session), now);
    }
    Verdict::Start(Life { grant: grant.clone(), ttl, expires_at: ttl.and_then(|ttl| plus(now, ttl)) })
}

fn without_access(
    session: &DatabaseSession,
    reason: EndReason,
    obstacle: Obstacle,
    now: Timestamp,
) -> Verdict {
    // Policy does not say any more whether a role limited the session: its own status does.
    let limited = session.status.as_ref().is_some_and(|status| status.expires_at.is_some());
    let timed = session.spec.ttl.is_some() || limited;
    let was_active = matches!(phase(session), SessionPhase::Active | SessionPhase::Ending);
    match (was_active, timed) {
        (true, true) => Verdict::End(Ending { reason: Some(reason), next: Next::Ended }),
        (true, false) => Verdict::End(Ending { reason: Some(reason), next: Next::Pending(obstacle) }),
        (false, _) if is_touched(session) => match give_up(session, timed, obstacle, now) {
            Verdict::Wait(obstacle) => Verdict::End(Ending { reason: None, next: Next::Pending(obstacle) }),
            verdict => verdict,
        },
        (false, _) => give_up(session, timed, obstacle, now),
    }
}

fn last_obstacle(session: &DatabaseSession) -> Obstacle {
    let ready =
        session.status.as_ref().and_then(|status| conditions::find(&status.conditions, conditions::READY));
    match ready {
        Some(Condition { reason, message, .. }) if reason != reasons::PENDING => {
            Obstacle::stalled(reason, message)
        }
        _ => Obstacle::stalled(
            reasons::START_DEADLINE_EXCEEDED,
            "the session was not looked at before its startDeadline; create it again",
        ),
    }
}

fn delete_at(session: &DatabaseSession, now: Timestamp) -> Timestamp {
    let ended = session.status.as_ref().and_then(|status| status.ended_at.as_ref()).map_or(now, |at| at.0);
    plus(ended, session.spec.retain_after_end.get()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rolecall_api::{DatabaseSessionSpec, DatabaseSessionStatus, GoDuration, Time};
    use rolecall_policy::Mode;

    use super::*;

    const CREATED: i64 = 1_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn session(ttl: Option<u64>) -> DatabaseSession {
        let mut session = DatabaseSession::new(
            "alice-orders",
            DatabaseSessionSpec {
                user: "alice".into(),
                database: "orders".into(),
                ttl: ttl.map(GoDuration::from_secs),
                retain_after_end: GoDuration::from_secs(100),
                ..DatabaseSessionSpec::default()
            },
        );
        session.metadata.creation_timestamp = Some(Time(at(CREATED)));
        session
    }

    fn touched(mut session: DatabaseSession) -> DatabaseSession {
        session.metadata.finalizers = Some(vec![ACCOUNT_FINALIZER.into()]);
        session
    }

    fn deleted(mut session: DatabaseSession) -> DatabaseSession {
        session.metadata.deletion_timestamp = Some(Time(at(CREATED)));
        session
    }

    fn in_phase(session: DatabaseSession, phase: SessionPhase, started: i64) -> DatabaseSession {
        let mut session = touched(session);
        session.status = Some(DatabaseSessionStatus {
            phase: Some(phase),
            started_at: Some(Time(at(started))),
            ..DatabaseSessionStatus::default()
        });
        session
    }

    fn active(ttl: Option<u64>, started: i64) -> DatabaseSession {
        in_phase(session(ttl), SessionPhase::Active, started)
    }

    fn grant(max: Option<u64>) -> Result<Grant, Blocked> {
        Ok(Grant {
            mode: Mode::Keep,
            db_roles: BTreeMap::new(),
            max_session_ttl: max.map(Duration::from_secs),
            permissions: rolecall_policy::CanonicalPermissions::default(),
            entries: std::sync::Arc::default(),
        })
    }

    fn denied() -> Result<Grant, Blocked> {
        Err(Blocked::new(reasons::ACCESS_DENIED, "no"))
    }

    fn verdict(session: &DatabaseSession, grant: &Result<Grant, Blocked>, now: i64) -> Verdict {
        decide(session, AdminState::Present, grant, at(now))
    }

    fn ends(verdict: Verdict) -> (Option<EndReason>, Next) {
        match verdict {
            Verdict::End(Ending { reason, next }) => (reason, next),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_that_policy_allows_starts_and_its_ttl_runs_from_its_start() {
        let Verdict::Start(life) = verdict(&session(Some(60)), &grant(None), CREATED + 1) else { panic!() };
        assert_eq!(life.expires_at, Some(at(CREATED + 61)));
        let Verdict::Live(life) = verdict(&active(Some(60), 2_000), &grant(None), 2_010) else { panic!() };
        assert_eq!(life.expires_at, Some(at(2_060)));
    }

    #[test]
    fn a_session_ends_at_the_second_it_expires_and_not_before() {
        assert!(matches!(verdict(&active(Some(60), 2_000), &grant(None), 2_059), Verdict::Live(_)));
        let (reason, next) = ends(verdict(&active(Some(60), 2_000), &grant(None), 2_060));
        assert_eq!((reason, next), (Some(EndReason::Expired), Next::Ended));
    }

    #[test]
    fn a_limit_that_appears_later_counts_from_the_start() {
        let standing = active(None, 2_000);
        assert!(matches!(verdict(&standing, &grant(None), 9_000), Verdict::Live(_)));
        assert_eq!(ends(verdict(&standing, &grant(Some(100)), 9_000)).0, Some(EndReason::Expired));
    }

    #[test]
    fn a_ttl_above_the_limit_keeps_a_session_from_starting_and_is_cut_on_a_live_one() {
        let Verdict::Wait(obstacle) = verdict(&session(Some(60)), &grant(Some(10)), CREATED + 1) else {
            panic!()
        };
        assert_eq!(obstacle.reason, reasons::TTL_TOO_LONG);
        let Verdict::Live(life) = verdict(&active(Some(60), 2_000), &grant(Some(10)), 2_001) else {
            panic!()
        };
        assert_eq!(life.expires_at, Some(at(2_010)));
    }

    #[test]
    fn lost_access_ends_a_timed_session_for_good_and_sends_a_standing_one_back() {
        let (reason, next) = ends(verdict(&active(Some(60), 2_000), &denied(), 2_001));
        assert_eq!((reason, next), (Some(EndReason::AccessRevoked), Next::Ended));
        let (reason, next) = ends(verdict(&active(None, 2_000), &denied(), 2_001));
        assert_eq!(reason, Some(EndReason::AccessRevoked));
        assert!(matches!(next, Next::Pending(obstacle) if obstacle.reason == reasons::ACCESS_DENIED));
    }

    #[test]
    fn a_timed_session_that_began_to_end_never_comes_back() {
        let mut ending = in_phase(session(Some(600)), SessionPhase::Ending, 2_000);
        ending.status.as_mut().unwrap().end_reason = Some(EndReason::AccessRevoked);
        assert_eq!(
            ends(verdict(&ending, &grant(None), 2_001)),
            (Some(EndReason::AccessRevoked), Next::Ended)
        );
    }

    #[test]
    fn a_suspended_user_and_a_removed_database_are_told_as_such() {
        let suspended = Err(Blocked::new(reasons::USER_SUSPENDED, "suspended"));
        assert_eq!(
            ends(verdict(&active(Some(60), 2_000), &suspended, 2_001)).0,
            Some(EndReason::UserSuspended)
        );
        let gone = decide(&active(Some(60), 2_000), AdminState::Deleting, &grant(None), at(2_001));
        assert_eq!(ends(gone).0, Some(EndReason::DatabaseRemoved));
    }

    #[test]
    fn a_timed_session_waits_until_its_start_deadline_and_a_standing_one_for_ever() {
        assert!(matches!(verdict(&session(Some(60)), &denied(), CREATED + 60), Verdict::Wait(_)));
        assert!(matches!(verdict(&session(Some(60)), &denied(), CREATED + 61), Verdict::Reject(_)));
        assert!(matches!(verdict(&session(None), &denied(), CREATED + 9_999), Verdict::Wait(_)));
    }

    #[test]
    fn with_a_deadline_of_zero_the_first_try_counts() {
        let mut session = session(Some(60));
        session.spec.start_deadline = Some(GoDuration::from_secs(0));
        assert!(matches!(verdict(&session, &grant(None), CREATED + 30), Verdict::Start(_)));
        assert!(matches!(verdict(&session, &denied(), CREATED + 1), Verdict::Reject(_)));
    }

    #[test]
    fn a_session_that_nobody_looked_at_in_time_is_rejected() {
        let Verdict::Reject(obstacle) = verdict(&session(Some(60)), &grant(None), CREATED + 61) else {
            panic!()
        };
        assert_eq!(obstacle.reason, reasons::START_DEADLINE_EXCEEDED);
    }

    #[test]
    fn what_the_database_may_hold_is_closed_before_a_session_is_rejected_or_let_go() {
        let (reason, next) = ends(verdict(&touched(session(Some(60))), &denied(), CREATED + 61));
        assert_eq!(reason, None);
        assert!(matches!(next, Next::Rejected(_)));
        assert_eq!(
            ends(verdict(&deleted(touched(session(Some(60)))), &grant(None), CREATED)).1,
            Next::Release
        );
        assert_eq!(verdict(&deleted(session(Some(60))), &grant(None), CREATED), Verdict::Untouched);
    }

    #[test]
    fn what_can_never_start_is_rejected_at_once() {
        let impossible = Err(Blocked::permanent(reasons::INVALID_USERNAME, "too long"));
        assert!(matches!(verdict(&session(None), &impossible, CREATED), Verdict::Reject(_)));
    }

    #[test]
    fn an_ended_session_stays_as_long_as_it_says() {
        let mut ended = in_phase(session(Some(60)), SessionPhase::Ended, 2_000);
        ended.status.as_mut().unwrap().ended_at = Some(Time(at(3_000)));
        assert_eq!(verdict(&ended, &grant(None), 3_001), Verdict::Over { delete_at: at(3_100) });
    }
}
