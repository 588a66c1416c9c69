use std::collections::BTreeMap;

use rolecall_api::names::{ACCOUNT_FINALIZER, USERNAME_ANNOTATION};
use rolecall_api::{DatabaseSessionSpec, DatabaseSessionStatus, GoDuration, Time};
use rolecall_policy::Mode;

use super::super::approval::Asked;
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
    // By another clock, which does not matter.
    session.metadata.creation_timestamp = Some(Time(at(CREATED - 62)));
    session
}

fn touched(mut session: DatabaseSession) -> DatabaseSession {
    session.metadata.finalizers = Some(vec![ACCOUNT_FINALIZER.into()]);
    session.metadata.annotations = Some([(USERNAME_ANNOTATION.into(), "alice".into())].into());
    session
}

/// As admission makes it.
fn fresh(mut session: DatabaseSession) -> DatabaseSession {
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
        reassign_to: None,
        permissions: rolecall_policy::CanonicalPermissions::default(),
        entries: std::sync::Arc::default(),
        roles: Vec::new(),
        approvals: Vec::new(),
        session_quotas: Vec::new(),
    })
}

fn denied() -> Result<Grant, Blocked> {
    Err(Blocked::new(reasons::ACCESS_DENIED, "no"))
}

fn facts<'a>(session: &'a DatabaseSession, grant: &'a Result<Grant, Blocked>, now: i64) -> Facts<'a> {
    let timed = crate::model::session::is_timed(session, grant.as_ref().ok());
    let touched = crate::model::session::is_touched(session);
    let times = Times { now: at(now), seen: at(SEEN) };
    Facts { session, admin: AdminState::Present, grant, approval: &Approval::NotAsked, timed, touched, times }
}

fn decision(session: &DatabaseSession, grant: &Result<Grant, Blocked>, now: i64) -> Decision {
    decide(facts(session, grant, now), None)
}

/// After a setback; `begun`: the finalizer was written in this reconcile.
fn after(session: &DatabaseSession, begun: bool, now: i64, setback: Setback) -> Decision {
    let grant = grant(None);
    decide(Facts { touched: begun, ..facts(session, &grant, now) }, Some(&setback))
}

fn failed() -> Setback {
    Setback::Failed(Blocker::passing(reasons::DATABASE_UNREACHABLE, "it does not answer"))
}

fn ends(decision: Decision) -> (Option<EndReason>, AfterEnd) {
    match decision {
        Decision::End(End { reason, then }) => (reason, then),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_that_policy_allows_starts_and_its_ttl_runs_from_its_start() {
    let Decision::Start(access) = decision(&session(Some(60)), &grant(None), CREATED + 1) else { panic!() };
    assert_eq!(access.expires_at, Some(at(CREATED + 61)));
    let Decision::Live(access) = decision(&active(Some(60), 2_000), &grant(None), 2_010) else { panic!() };
    assert_eq!(access.expires_at, Some(at(2_060)));
}

#[test]
fn a_session_ends_at_the_second_it_expires_and_not_before() {
    assert!(matches!(decision(&active(Some(60), 2_000), &grant(None), 2_059), Decision::Live(_)));
    let (reason, then) = ends(decision(&active(Some(60), 2_000), &grant(None), 2_060));
    assert_eq!((reason, then), (Some(EndReason::Expired), AfterEnd::Ended));
}

#[test]
fn a_session_ends_at_the_second_that_its_status_can_say() {
    let mut session = active(Some(60), 2_000);
    session.spec.ttl = Some(GoDuration::from(Duration::from_millis(60_700)));
    let Decision::Live(access) = decision(&session, &grant(None), 2_010) else { panic!() };
    assert_eq!(access.expires_at, Some(at(2_060)), "otherwise each reconcile would write its status again");
}

#[test]
fn a_limit_that_appears_later_counts_from_the_start() {
    let standing = active(None, 2_000);
    assert!(matches!(decision(&standing, &grant(None), 9_000), Decision::Live(_)));
    assert_eq!(ends(decision(&standing, &grant(Some(100)), 9_000)).0, Some(EndReason::Expired));
}

#[test]
fn a_ttl_above_the_limit_keeps_a_session_from_starting_and_is_cut_on_a_live_one() {
    let Decision::Wait(blocker) = decision(&session(Some(60)), &grant(Some(10)), CREATED + 1) else {
        panic!()
    };
    assert_eq!(blocker.reason, reasons::TTL_TOO_LONG);
    let Decision::Wait(blocker) = decision(&session(Some(90_000)), &grant(Some(28_800)), CREATED + 1) else {
        panic!()
    };
    assert!(blocker.message.contains("maxSessionTtl of 8h that"), "{}", blocker.message);
    let Decision::Live(access) = decision(&active(Some(60), 2_000), &grant(Some(10)), 2_001) else {
        panic!()
    };
    assert_eq!(access.expires_at, Some(at(2_010)));
}

#[test]
fn lost_access_ends_a_timed_session_for_good_and_sends_a_standing_one_back() {
    let (reason, then) = ends(decision(&active(Some(60), 2_000), &denied(), 2_001));
    assert_eq!((reason, then), (Some(EndReason::AccessRevoked), AfterEnd::Ended));
    let (reason, then) = ends(decision(&active(None, 2_000), &denied(), 2_001));
    assert_eq!(reason, Some(EndReason::AccessRevoked));
    assert!(matches!(then, AfterEnd::Pending(blocker) if blocker.reason == reasons::ACCESS_DENIED));
}

#[test]
fn a_timed_session_that_began_to_end_never_comes_back() {
    let mut ending = in_phase(session(Some(600)), SessionPhase::Ending, 2_000);
    ending.status.as_mut().unwrap().end_reason = Some(EndReason::AccessRevoked);
    assert_eq!(
        ends(decision(&ending, &grant(None), 2_001)),
        (Some(EndReason::AccessRevoked), AfterEnd::Ended)
    );
}

#[test]
fn a_suspended_user_and_a_removed_database_are_the_end_reasons() {
    let suspended = Err(Blocked::new(reasons::USER_SUSPENDED, "suspended"));
    assert_eq!(ends(decision(&active(Some(60), 2_000), &suspended, 2_001)).0, Some(EndReason::UserSuspended));
    let (session, grant) = (active(Some(60), 2_000), grant(None));
    let gone = decide(Facts { admin: AdminState::Deleting, ..facts(&session, &grant, 2_001) }, None);
    assert_eq!(ends(gone).0, Some(EndReason::DatabaseRemoved));
}

#[test]
fn a_timed_session_waits_until_its_start_deadline_and_a_standing_one_for_ever() {
    assert!(matches!(decision(&session(Some(60)), &denied(), CREATED + 60), Decision::Wait(_)));
    assert!(matches!(decision(&session(Some(60)), &denied(), CREATED + 61), Decision::Reject(_)));
    assert!(matches!(decision(&session(None), &denied(), CREATED + 9_999), Decision::Wait(_)));
}

#[test]
fn with_a_deadline_of_zero_the_first_attempt_decides() {
    let mut session = session(Some(60));
    session.spec.start_deadline = Some(GoDuration::from_secs(0));
    assert!(matches!(decision(&session, &grant(None), CREATED + 30), Decision::Start(_)));
    assert!(matches!(decision(&session, &denied(), CREATED + 1), Decision::Reject(_)));
}

#[test]
fn a_session_that_was_not_reconciled_in_time_is_rejected() {
    let Decision::Reject(blocker) = decision(&session(Some(60)), &grant(None), CREATED + 61) else {
        panic!()
    };
    assert_eq!(blocker.reason, reasons::START_DEADLINE_EXCEEDED);
}

#[test]
fn what_may_exist_in_the_database_is_ended_before_a_session_is_rejected_or_released() {
    let (reason, then) = ends(decision(&touched(session(Some(60))), &denied(), CREATED + 61));
    assert_eq!(reason, None);
    assert!(matches!(then, AfterEnd::Rejected(_)));
    assert_eq!(
        ends(decision(&deleted(touched(session(Some(60)))), &grant(None), CREATED)).1,
        AfterEnd::Release
    );
    assert_eq!(decision(&deleted(session(Some(60))), &grant(None), CREATED), Decision::Untouched);
}

#[test]
fn what_can_never_start_is_rejected_at_once() {
    let impossible = Err(Blocked::permanent(reasons::INVALID_USERNAME, "too long"));
    assert!(matches!(decision(&session(None), &impossible, CREATED), Decision::Reject(_)));
}

#[test]
fn a_session_that_lost_its_start_ends_nevertheless() {
    let mut session = active(Some(60), 0);
    session.status.get_or_insert_default().started_at = None;
    let Decision::Live(access) = decision(&session, &grant(None), SEEN + 59) else { panic!() };
    assert_eq!(access.expires_at, Some(at(SEEN + 60)));
    assert_eq!(ends(decision(&session, &grant(None), SEEN + 60)).0, Some(EndReason::Expired));
}

#[test]
fn a_start_that_failed_waits_and_what_was_begun_is_undone_first() {
    let untouched = after(&session(Some(60)), false, SEEN, failed());
    assert!(matches!(untouched, Decision::Wait(blocker) if blocker.reason == reasons::DATABASE_UNREACHABLE));
    let (reason, then) = ends(after(&session(Some(60)), true, SEEN, failed()));
    assert!(reason.is_none() && matches!(then, AfterEnd::Retry(_)), "{then:?}");
}

#[test]
fn with_a_deadline_of_zero_an_attempt_that_failed_was_the_last() {
    let mut session = session(Some(60));
    session.spec.start_deadline = Some(GoDuration::from_secs(0));
    assert!(matches!(after(&session, false, SEEN, failed()), Decision::Reject(_)));
    let (_, then) = ends(after(&session, true, SEEN, failed()));
    assert!(matches!(then, AfterEnd::Rejected(_)), "{then:?}");
}

#[test]
fn a_start_that_comes_too_late_is_undone_and_rejected_with_what_was_in_the_way() {
    let late = after(&session(Some(60)), false, SEEN + 60, Setback::TooLate);
    assert!(matches!(late, Decision::Reject(blocker) if blocker.reason == reasons::START_DEADLINE_EXCEEDED));
    let (reason, then) = ends(after(&session(Some(60)), true, SEEN + 60, Setback::TooLate));
    assert!(reason.is_none() && matches!(then, AfterEnd::Rejected(_)), "{then:?}");
}

#[test]
fn a_start_that_waits_for_its_permission_set_or_for_others_is_not_undone() {
    let waits = after(&session(Some(60)), true, SEEN, Setback::SetNotReady { report: false });
    assert_eq!(waits, Decision::Wait(set_not_ready()));
    let taken = Blocker::passing(reasons::ROLES_CHANGED, "others have other roles");
    let waits = after(&session(Some(60)), true, SEEN, Setback::RolesTaken(taken.clone()));
    assert_eq!(waits, Decision::Wait(taken));
    let changed = after(&session(Some(60)), false, SEEN, Setback::ObjectChanged { retry: true });
    assert_eq!(changed, Decision::Untouched);
}

#[test]
fn only_a_start_can_be_set_back() {
    let grant = grant(None);
    let live = active(Some(60), 2_000);
    assert!(matches!(decide(facts(&live, &grant, 2_010), Some(&failed())), Decision::Live(_)));
}

#[test]
fn a_permission_set_must_be_ready_by_the_start_deadline_unless_the_first_try_counts() {
    let times = Times { now: at(SEEN), seen: at(SEEN) };
    assert_eq!(set_deadline(&session(Some(60)), true, times), Some(at(SEEN + 60)));
    assert_eq!(set_deadline(&session(None), false, times), None);
    let mut first = session(Some(60));
    first.spec.start_deadline = Some(GoDuration::from_secs(0));
    assert_eq!(set_deadline(&first, true, times), None);
}

fn asked(outcome: Outcome) -> Approval {
    let at = Time(at(CREATED));
    Approval::Asked(Box::new(Asked {
        request: rolecall_api::SessionRequest::default(),
        progress: rolecall_api::ApprovalProgress {
            requested_at: at.clone(),
            expires_at: at,
            needs: Vec::new(),
        },
        decisions: Vec::new(),
        outcome,
    }))
}

fn with_approval(session: &DatabaseSession, outcome: Outcome, now: i64) -> Decision {
    let (grant, approval) = (grant(None), asked(outcome));
    decide(Facts { approval: &approval, ..facts(session, &grant, now) }, None)
}

fn awaits() -> Outcome {
    Outcome::Waiting(Blocker::passing(reasons::AWAITING_APPROVAL, "others have to approve it"))
}

#[test]
fn a_session_waits_for_people_longer_than_its_start_deadline() {
    for ttl in [Some(60), None] {
        let waits = with_approval(&session(ttl), awaits(), SEEN + 9_999);
        assert!(matches!(waits, Decision::Wait(blocker) if blocker.reason == reasons::AWAITING_APPROVAL));
    }
    let starts = with_approval(&session(Some(60)), Outcome::Approved(at(SEEN)), SEEN + 1);
    assert!(matches!(starts, Decision::Start(_)), "{starts:?}");
}

#[test]
fn what_was_denied_never_starts_and_what_may_be_there_of_it_goes_first() {
    let denied = || Outcome::Final(Blocker::stalled(reasons::APPROVAL_DENIED, "no"));
    assert!(matches!(with_approval(&session(None), denied(), SEEN), Decision::Reject(_)));
    let (reason, then) = ends(with_approval(&touched(session(Some(60))), denied(), SEEN));
    assert!(reason.is_none() && matches!(then, AfterEnd::Rejected(_)), "{then:?}");
    let (reason, then) = ends(with_approval(&touched(session(Some(60))), awaits(), SEEN));
    assert!(reason.is_none() && matches!(then, AfterEnd::Pending(_)), "{then:?}");
    let ending = in_phase(session(None), SessionPhase::Ending, 2_000);
    assert_eq!(ends(with_approval(&ending, awaits(), SEEN)).0, Some(EndReason::AccessRevoked));
}

#[test]
fn whoever_asks_for_too_long_is_told_so_before_anybody_is_asked() {
    let (grant, approval) = (grant(Some(10)), asked(awaits()));
    let session = session(Some(60));
    let waits = decide(Facts { approval: &approval, ..facts(&session, &grant, SEEN) }, None);
    assert!(matches!(waits, Decision::Wait(blocker) if blocker.reason == reasons::TTL_TOO_LONG));
}

#[test]
fn the_finalizer_of_admission_says_nothing_of_a_start_and_is_taken_off() {
    let session = fresh(session(Some(600)));
    assert!(matches!(decision(&session, &grant(None), SEEN), Decision::Start(_)));
    assert!(matches!(decision(&session, &denied(), SEEN), Decision::Wait(_)), "there is nothing to end");
    assert_eq!(decision(&deleted(session.clone()), &denied(), SEEN), Decision::Release);
    let mut rejected = session;
    let status = DatabaseSessionStatus { phase: Some(SessionPhase::Rejected), ..Default::default() };
    rejected.status = Some(status);
    assert_eq!(decision(&deleted(rejected), &grant(None), SEEN), Decision::Release);
}
