use std::collections::BTreeMap;

use rolecall_api::names::ACCOUNT_FINALIZER;
use rolecall_api::{DatabaseSessionSpec, DatabaseSessionStatus, GoDuration, Time};
use rolecall_policy::Mode;

use super::*;

const CREATED: i64 = 1_000;
/// Deadlines count from then.
const SEEN: i64 = CREATED + 1;

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
    // By another clock, which plays no part.
    session.metadata.creation_timestamp = Some(Time(at(CREATED - 62)));
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
    decide(session, AdminState::Present, grant, Times { now: at(now), seen: at(SEEN) })
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
    let Verdict::Wait(blocker) = verdict(&session(Some(60)), &grant(Some(10)), CREATED + 1) else { panic!() };
    assert_eq!(blocker.reason, reasons::TTL_TOO_LONG);
    let Verdict::Wait(blocker) = verdict(&session(Some(90_000)), &grant(Some(28_800)), CREATED + 1) else {
        panic!()
    };
    assert!(blocker.message.contains("maxSessionTtl of 8h that"), "{}", blocker.message);
    let Verdict::Live(life) = verdict(&active(Some(60), 2_000), &grant(Some(10)), 2_001) else { panic!() };
    assert_eq!(life.expires_at, Some(at(2_010)));
}

#[test]
fn lost_access_ends_a_timed_session_for_good_and_sends_a_standing_one_back() {
    let (reason, next) = ends(verdict(&active(Some(60), 2_000), &denied(), 2_001));
    assert_eq!((reason, next), (Some(EndReason::AccessRevoked), Next::Ended));
    let (reason, next) = ends(verdict(&active(None, 2_000), &denied(), 2_001));
    assert_eq!(reason, Some(EndReason::AccessRevoked));
    assert!(matches!(next, Next::Pending(blocker) if blocker.reason == reasons::ACCESS_DENIED));
}

#[test]
fn a_timed_session_that_began_to_end_never_comes_back() {
    let mut ending = in_phase(session(Some(600)), SessionPhase::Ending, 2_000);
    ending.status.as_mut().unwrap().end_reason = Some(EndReason::AccessRevoked);
    assert_eq!(ends(verdict(&ending, &grant(None), 2_001)), (Some(EndReason::AccessRevoked), Next::Ended));
}

#[test]
fn a_suspended_user_and_a_removed_database_are_told_as_such() {
    let suspended = Err(Blocked::new(reasons::USER_SUSPENDED, "suspended"));
    assert_eq!(ends(verdict(&active(Some(60), 2_000), &suspended, 2_001)).0, Some(EndReason::UserSuspended));
    let gone = decide(
        &active(Some(60), 2_000),
        AdminState::Deleting,
        &grant(None),
        Times { now: at(2_001), seen: at(SEEN) },
    );
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
    let Verdict::Reject(blocker) = verdict(&session(Some(60)), &grant(None), CREATED + 61) else { panic!() };
    assert_eq!(blocker.reason, reasons::START_DEADLINE_EXCEEDED);
}

#[test]
fn what_the_database_may_hold_is_closed_before_a_session_is_rejected_or_let_go() {
    let (reason, next) = ends(verdict(&touched(session(Some(60))), &denied(), CREATED + 61));
    assert_eq!(reason, None);
    assert!(matches!(next, Next::Rejected(_)));
    assert_eq!(ends(verdict(&deleted(touched(session(Some(60)))), &grant(None), CREATED)).1, Next::Release);
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
    assert_eq!(verdict(&ended, &grant(None), 3_001), Verdict::Over);
    assert_eq!(delete_at(&ended, at(3_001)), at(3_100));
}

#[test]
fn what_the_api_server_refuses_needs_a_person_and_what_it_cannot_do_now_does_not() {
    let answer = |code: u16| {
        let status =
            kube::core::Status { code, message: "exceeded quota".into(), ..kube::core::Status::default() };
        Blocker::of_api("writing the Secret", &kube::Error::Api(Box::new(status)))
    };
    for code in [400, 403, 404, 413, 422] {
        assert!(answer(code).stalled, "{code}");
    }
    for code in [408, 409, 425, 429, 500, 503, 504] {
        assert!(!answer(code).stalled, "{code}");
    }
    let message = answer(403).message;
    assert!(message.contains("writing the Secret") && message.contains("exceeded quota"), "{message}");
}

#[test]
fn a_session_that_lost_its_start_ends_all_the_same() {
    let mut session = active(Some(60), 0);
    session.status.get_or_insert_default().started_at = None;
    let Verdict::Live(life) = verdict(&session, &grant(None), SEEN + 59) else { panic!() };
    assert_eq!(life.expires_at, Some(at(SEEN + 60)));
    assert_eq!(ends(verdict(&session, &grant(None), SEEN + 60)).0, Some(EndReason::Expired));
}
