use rolecall_api::{DatabaseSessionSpec, GoDuration};

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
        username: "alice".into(),
        db_roles: vec!["reader".into()],
        started_at: Some(at(100)),
        expires_at: Some(at(900)),
        secret: Some("alice-orders".into()),
        ..Active::default()
    }
}

/// The status after this, from the one before.
fn after(
    ttl: Option<u64>,
    before: DatabaseSessionStatus,
    outcome: Outcome,
    now: i64,
) -> DatabaseSessionStatus {
    status(&session(ttl, before), &outcome, at(now))
}

fn live(ttl: Option<u64>) -> DatabaseSessionStatus {
    after(ttl, DatabaseSessionStatus::default(), Outcome::Active(active()), 100)
}

/// Each condition: its type, whether it is True, its reason.
fn told(status: &DatabaseSessionStatus) -> Vec<(&str, bool, &str)> {
    let conditions = status.conditions.iter();
    conditions.map(|c| (c.type_.as_str(), c.status == "True", c.reason.as_str())).collect()
}

#[test]
fn an_access_is_told_with_what_is_wrong_although_it_is_there() {
    let well = live(Some(800));
    assert_eq!((well.phase, well.observed_generation), (Some(SessionPhase::Active), Some(7)));
    assert_eq!(told(&well), [(conditions::READY, true, reasons::ACTIVE)]);
    let trouble = Blocker::stalled(reasons::SECRET_CONFLICT, "it is in the way");
    let ill = Active { trouble: Some(trouble), ..active() };
    let ill = after(Some(800), well.clone(), Outcome::Active(ill), 200);
    let reason = reasons::SECRET_CONFLICT;
    assert_eq!(told(&ill), [(conditions::READY, false, reason), (conditions::STALLED, true, reason)]);
    assert_eq!(ill.credentials_secret_ref, well.credentials_secret_ref);
}

#[test]
fn a_condition_that_stays_keeps_the_time_when_it_came_about() {
    let again = after(Some(800), live(Some(800)), Outcome::Active(active()), 200);
    assert_eq!(again.conditions[0].last_transition_time.0, at(100));
    let trouble = Blocker::passing(reasons::NOT_VERIFIED, "not yet");
    let ill = Active { trouble: Some(trouble), ..active() };
    let ill = after(Some(800), again, Outcome::Active(ill), 300);
    assert_eq!(ill.conditions[0].last_transition_time.0, at(300));
}

#[test]
fn an_access_that_is_being_taken_away_stays_readable_and_a_standing_one_may_come_back() {
    for (ttl, recorded) in [(Some(800), Some(EndReason::Expired)), (None, None)] {
        let before =
            if ttl.is_some() { live(ttl) } else { DatabaseSessionStatus { expires_at: None, ..live(ttl) } };
        let blocker = Blocker::passing(reasons::DATABASE_UNREACHABLE, "it does not answer");
        let outcome = Outcome::Ending { reason: Some(EndReason::Expired), blocker };
        let ending = after(ttl, before.clone(), outcome, 900);
        assert_eq!((ending.phase, ending.end_reason), (Some(SessionPhase::Ending), recorded));
        assert_eq!((&ending.db_roles, &ending.username), (&before.db_roles, &before.username));
        let reason = reasons::DATABASE_UNREACHABLE;
        assert_eq!(
            told(&ending),
            [(conditions::READY, false, reason), (conditions::RECONCILING, true, reason)]
        );
    }
}

#[test]
fn what_was_stays_with_a_session_that_is_over_and_its_credentials_do_not() {
    let outcome = || Outcome::Ended { reason: EndReason::Expired, left: None };
    let ended = after(Some(800), live(Some(800)), outcome(), 900);
    assert_eq!((ended.phase, ended.end_reason), (Some(SessionPhase::Ended), Some(EndReason::Expired)));
    assert_eq!(
        (ended.started_at.clone(), ended.ended_at.clone()),
        (Some(Time(at(100))), Some(Time(at(900))))
    );
    assert_eq!((ended.db_roles.len(), ended.credentials_secret_ref.clone()), (1, None));
    let again = after(Some(800), ended, outcome(), 950);
    assert_eq!(again.ended_at, Some(Time(at(900))), "it ended once");
}

#[test]
fn a_session_that_waits_shows_nothing_of_an_earlier_access() {
    let blocker = Blocker::stalled(reasons::ACCESS_DENIED, "no");
    let waiting = after(None, live(None), Outcome::Withdrawn(blocker), 900);
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
    let rejected = after(Some(60), DatabaseSessionStatus::default(), Outcome::Rejected(blocker), 900);
    assert_eq!(rejected.phase, Some(SessionPhase::Rejected));
    let reason = reasons::ROLES_CHANGED;
    assert_eq!(told(&rejected), [(conditions::READY, false, reason), (conditions::STALLED, true, reason)]);
}

#[test]
fn only_another_phase_or_reason_is_news() {
    let live = session(Some(800), live(Some(800)));
    assert!(!is_news(&live, &Outcome::Active(active())));
    let trouble = Some(Blocker::passing(reasons::NOT_VERIFIED, "not yet"));
    assert!(is_news(&live, &Outcome::Active(Active { trouble, ..active() })));
    assert!(is_news(&live, &Outcome::Ended { reason: EndReason::Expired, left: None }));
}

#[test]
fn a_session_never_counts_as_waiting_and_as_failed_at_once() {
    let blockers = [
        Blocker::passing(reasons::DATABASE_UNREACHABLE, ""),
        Blocker::stalled(reasons::ACCESS_DENIED, ""),
        Blocker::awaited(reasons::USER_NOT_FOUND, ""),
    ];
    let outcomes = |blocker: &Blocker| {
        [
            Outcome::Waiting(blocker.clone()),
            Outcome::Withdrawn(blocker.clone()),
            Outcome::Rejected(blocker.clone()),
            Outcome::Ending { reason: None, blocker: blocker.clone() },
            Outcome::Active(Active { trouble: Some(blocker.clone()), ..active() }),
            Outcome::Ended { reason: EndReason::Expired, left: None },
        ]
    };
    for before in blockers.iter().flat_map(outcomes) {
        let before = after(None, DatabaseSessionStatus::default(), before, 100);
        for outcome in blockers.iter().flat_map(outcomes) {
            for now in [110, 500] {
                let status = after(None, before.clone(), outcome.clone(), now);
                let progress = [conditions::RECONCILING, conditions::STALLED];
                let shown =
                    progress.into_iter().filter(|type_| conditions::is_true(&status.conditions, type_));
                assert_eq!(shown.count(), 1, "{outcome:?}: {status:?}");
            }
        }
    }
}

#[test]
fn since_when_an_access_should_be_gone_stays_whatever_is_in_the_way() {
    let ending = |before, reason: &str, now| {
        let blocker = Blocker::passing(reason, "not now");
        after(Some(800), before, Outcome::Ending { reason: Some(EndReason::Expired), blocker }, now)
    };
    let first = ending(live(Some(800)), reasons::DATABASE_UNREACHABLE, 1_000);
    assert_eq!(first.ending_since, Some(Time(at(900))), "its time was over then");
    let second = ending(first, reasons::SERVER_REFUSED, 1_100);
    assert_eq!(second.ending_since, Some(Time(at(900))));
    let over = Outcome::Ended { reason: EndReason::Expired, left: None };
    assert_eq!(after(Some(800), second, over, 1_200).ending_since, None);
}
