use std::collections::BTreeMap;

use rolecall_api::{DatabaseSessionSpec, GoDuration};

use super::super::proof::samples;
use super::super::result::{Active, Gone, Shown};
use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A session with this status, timed or standing.
fn session(ttl: Option<u64>, status: DatabaseSessionStatus) -> DatabaseSession {
    let spec = DatabaseSessionSpec {
        user: "alice".into(),
        database: "orders".into(),
        ttl: ttl.map(GoDuration::from_secs),
        ..DatabaseSessionSpec::default()
    };
    let mut session = DatabaseSession::new("alice-orders", spec);
    session.metadata.generation = Some(7);
    session.status = Some(status);
    session
}

fn active() -> Active {
    Active {
        roles: Vec::new(),
        username: "alice".into(),
        db_roles: vec!["reader".into()],
        started_at: Some(at(100)),
        expires_at: Some(at(900)),
        secret: Some("alice-orders".into()),
        shown: Shown::Verified(samples::verified(100)),
        mode: None,
        reassign_to: None,
        renew_at: None,
        certificate: None,
        connection: None,
        permissions: BTreeMap::new(),
        complete: false,
        trouble: None,
        incomplete: None,
    }
}

fn gone() -> Gone {
    Gone::Proven(samples::ended())
}

/// The status after this, from the one before.
fn after(
    ttl: Option<u64>,
    before: DatabaseSessionStatus,
    result: SessionResult,
    now: i64,
) -> DatabaseSessionStatus {
    status(&session(ttl, before), &result, at(now))
}

fn live(ttl: Option<u64>) -> DatabaseSessionStatus {
    after(ttl, DatabaseSessionStatus::default(), SessionResult::Active(active()), 100)
}

/// Each condition: its type, whether it is True, its reason.
fn conditions_of(status: &DatabaseSessionStatus) -> Vec<(&str, bool, &str)> {
    let conditions = status.conditions.iter();
    conditions.map(|c| (c.type_.as_str(), c.status == "True", c.reason.as_str())).collect()
}

#[test]
fn an_access_is_reported_with_what_is_wrong_although_it_is_there() {
    let well = live(Some(800));
    assert_eq!((well.phase, well.observed_generation), (Some(SessionPhase::Active), Some(7)));
    assert_eq!(conditions_of(&well), [(conditions::READY, true, reasons::ACTIVE)]);
    let trouble = Blocker::stalled(reasons::SECRET_CONFLICT, "it is in the way");
    let ill = Active { trouble: Some(trouble), ..active() };
    let ill = after(Some(800), well.clone(), SessionResult::Active(ill), 200);
    let reason = reasons::SECRET_CONFLICT;
    assert_eq!(
        conditions_of(&ill),
        [(conditions::READY, false, reason), (conditions::STALLED, true, reason)]
    );
    assert_eq!(ill.credentials_secret_ref, well.credentials_secret_ref);
}

#[test]
fn a_condition_that_stays_keeps_the_time_when_it_came_about() {
    let again = after(Some(800), live(Some(800)), SessionResult::Active(active()), 200);
    assert_eq!(again.conditions[0].last_transition_time.0, at(100));
    let trouble = Blocker::passing(reasons::NOT_VERIFIED, "not yet");
    let ill = Active { trouble: Some(trouble), ..active() };
    let ill = after(Some(800), again, SessionResult::Active(ill), 300);
    assert_eq!(ill.conditions[0].last_transition_time.0, at(300));
}

#[test]
fn an_access_that_is_being_taken_away_stays_readable_and_a_standing_one_may_come_back() {
    for (ttl, recorded) in [(Some(800), Some(EndReason::Expired)), (None, None)] {
        let before =
            if ttl.is_some() { live(ttl) } else { DatabaseSessionStatus { expires_at: None, ..live(ttl) } };
        let blocker = Blocker::passing(reasons::DATABASE_UNREACHABLE, "it does not answer");
        let result = SessionResult::Ending { reason: Some(EndReason::Expired), blocker };
        let ending = after(ttl, before.clone(), result, 900);
        assert_eq!((ending.phase, ending.end_reason), (Some(SessionPhase::Ending), recorded));
        assert_eq!((&ending.db_roles, &ending.username), (&before.db_roles, &before.username));
        let reason = reasons::DATABASE_UNREACHABLE;
        assert_eq!(
            conditions_of(&ending),
            [(conditions::READY, false, reason), (conditions::RECONCILING, true, reason)]
        );
    }
}

#[test]
fn what_was_stays_with_a_session_that_is_over_and_its_credentials_do_not() {
    let result = || SessionResult::Ended { reason: EndReason::Expired, gone: gone() };
    let ended = after(Some(800), live(Some(800)), result(), 900);
    assert_eq!((ended.phase, ended.end_reason), (Some(SessionPhase::Ended), Some(EndReason::Expired)));
    assert_eq!(
        (ended.started_at.clone(), ended.ended_at.clone()),
        (Some(Time(at(100))), Some(Time(at(900))))
    );
    assert_eq!((ended.db_roles.len(), ended.credentials_secret_ref.clone()), (1, None));
    let again = after(Some(800), ended, result(), 950);
    assert_eq!(again.ended_at, Some(Time(at(900))), "it ended once");
}

#[test]
fn a_session_that_waits_shows_nothing_of_an_earlier_access() {
    let blocker = Blocker::stalled(reasons::ACCESS_DENIED, "no");
    let waiting = after(None, live(None), SessionResult::Withdrawn { blocker, gone: gone() }, 900);
    let bare = DatabaseSessionStatus {
        phase: Some(SessionPhase::Pending),
        observed_generation: Some(7),
        conditions: waiting.conditions.clone(),
        ..DatabaseSessionStatus::default()
    };
    assert_eq!(waiting, bare);
}

#[test]
fn a_rejected_session_waits_for_a_person() {
    let blocker = Blocker::passing(reasons::ROLES_CHANGED, "others hold other roles");
    let rejected = after(Some(60), DatabaseSessionStatus::default(), SessionResult::Rejected(blocker), 900);
    assert_eq!(rejected.phase, Some(SessionPhase::Rejected));
    let reason = reasons::ROLES_CHANGED;
    assert_eq!(
        conditions_of(&rejected),
        [(conditions::READY, false, reason), (conditions::STALLED, true, reason)]
    );
}

#[test]
fn only_another_phase_or_reason_is_news() {
    let live = session(Some(800), live(Some(800)));
    assert!(!is_news(&live, &SessionResult::Active(active())));
    let trouble = Some(Blocker::passing(reasons::NOT_VERIFIED, "not yet"));
    assert!(is_news(&live, &SessionResult::Active(Active { trouble, ..active() })));
    assert!(is_news(&live, &SessionResult::Ended { reason: EndReason::Expired, gone: gone() }));
}

#[test]
fn a_session_never_counts_as_waiting_and_as_failed_at_once() {
    let blockers = [
        Blocker::passing(reasons::DATABASE_UNREACHABLE, ""),
        Blocker::stalled(reasons::ACCESS_DENIED, ""),
        Blocker::awaited(reasons::USER_NOT_FOUND, ""),
    ];
    let results = |blocker: &Blocker| {
        [
            SessionResult::Waiting(blocker.clone()),
            SessionResult::Withdrawn { blocker: blocker.clone(), gone: gone() },
            SessionResult::Rejected(blocker.clone()),
            SessionResult::Ending { reason: None, blocker: blocker.clone() },
            SessionResult::Active(Active { trouble: Some(blocker.clone()), ..active() }),
            SessionResult::Ended { reason: EndReason::Expired, gone: gone() },
        ]
    };
    for before in blockers.iter().flat_map(results) {
        let before = after(None, DatabaseSessionStatus::default(), before, 100);
        for result in blockers.iter().flat_map(results) {
            for now in [110, 500] {
                let status = after(None, before.clone(), result.clone(), now);
                let progress = [conditions::RECONCILING, conditions::STALLED];
                let shown =
                    progress.into_iter().filter(|type_| conditions::is_true(&status.conditions, type_));
                assert_eq!(shown.count(), 1, "{result:?}: {status:?}");
            }
        }
    }
}

#[test]
fn since_when_an_access_should_be_gone_stays_whatever_is_in_the_way() {
    let ending = |before, reason: &str, now| {
        let blocker = Blocker::passing(reason, "not now");
        after(Some(800), before, SessionResult::Ending { reason: Some(EndReason::Expired), blocker }, now)
    };
    let first = ending(live(Some(800)), reasons::DATABASE_UNREACHABLE, 1_000);
    assert_eq!(first.ending_since, Some(Time(at(900))), "its time was over then");
    let second = ending(first, reasons::SERVER_REFUSED, 1_100);
    assert_eq!(second.ending_since, Some(Time(at(900))));
    let over = SessionResult::Ended { reason: EndReason::Expired, gone: gone() };
    assert_eq!(after(Some(800), second, over, 1_200).ending_since, None);
}

#[test]
fn an_end_that_is_not_proven_does_not_say_so_and_is_announced_where_it_was_decided() {
    let proven = SessionResult::Ended { reason: EndReason::Expired, gone: gone() };
    let event_of_proven = event(&proven).unwrap();
    assert_eq!(event_of_proven.note, "the database shows the access gone");
    for gone in [Gone::Abandoned(samples::abandoned()), Gone::Retained(samples::retained())] {
        let result = SessionResult::Ended { reason: EndReason::Abandoned, gone };
        assert_eq!(event(&result), None);
        let status = after(Some(800), live(Some(800)), result, 900);
        assert!(!status.conditions[0].message.contains("shows the access gone"), "{status:?}");
    }
}

#[test]
fn a_session_is_reconciled_when_it_expires_or_its_credentials_have_to_be_renewed() {
    let session = session(Some(800), live(Some(800)));
    let times = Times { now: at(100), seen: at(100) };
    let next = |active: Active| requeue(&session, true, &SessionResult::Active(active), times);
    assert_eq!(next(active()), Some((at(900), Priority::Urgent)));
    assert_eq!(next(Active { renew_at: Some(at(500)), ..active() }), Some((at(500), Priority::Normal)));
    assert_eq!(next(Active { expires_at: None, ..active() }), None);
    let waits = SessionResult::Waiting(Blocker::passing(reasons::DATABASE_UNREACHABLE, ""));
    assert_eq!(requeue(&session, true, &waits, times), Some((at(160), Priority::Normal)), "its deadline");
    assert_eq!(requeue(&session, false, &waits, times), None);
}
