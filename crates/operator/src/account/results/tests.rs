use std::sync::Arc;

use rolecall_api::CreateDbUserMode;

use super::super::conclusion::AccountState;
use super::super::proof::samples;
use super::super::session::samples::{ending, live, now, starting};
use super::*;

fn endpoint<'a>() -> Endpoint<'a> {
    Endpoint { username: "alice", host: "db", port: 5432, server_ca: None, made_from: 1, distrust: None }
}

fn key() -> AccountKey {
    let admin = crate::model::ObjectKey { namespace: "shop".into(), name: "orders".into() };
    AccountKey { admin, username: "alice".into() }
}

fn result_of(session: &Session, conclusion: &Conclusion) -> Option<SessionResult> {
    result(session, conclusion, Some(endpoint()))
}

fn verified() -> Conclusion {
    let verified = samples::verified(now().as_second() + 5);
    Conclusion {
        live: Live::Kept { verified: Some(verified), trouble: None },
        starts: Starts::Started(verified),
        ends: Ends::Gone { proof: verified.others_ended(), kept_because: None, reassigned: None },
        roles: vec!["reader".to_owned()],
        ..Conclusion::default()
    }
}

fn active(result: Option<SessionResult>) -> Active {
    match result {
        Some(SessionResult::Active(active)) => active,
        result => panic!("{result:?}"),
    }
}

#[test]
fn a_session_is_started_from_when_the_server_showed_its_access() {
    let started = active(result_of(&starting("a", &["reader"]), &verified()));
    assert_eq!(started.started_at.map(|at| at.as_second()), Some(now().as_second() + 5));
    assert_eq!(started.expires_at.map(|at| at.as_second()), Some(now().as_second() + 605));
    assert_eq!(started.db_roles, ["reader"]);
    assert!(matches!(started.shown, Shown::Verified(_)));
}

#[test]
fn an_access_ends_at_the_second_that_its_status_says_unless_it_is_short() {
    let started = Timestamp::from_millisecond(1_700_000_000_900).unwrap();
    let expiry =
        |milliseconds| expiry(started, Duration::from_millis(milliseconds)).unwrap().as_millisecond();
    assert_eq!(expiry(60_000), 1_700_000_060_000, "started in that second, as its status says");
    assert_eq!(expiry(60_700), 1_700_000_060_000);
    assert_eq!(expiry(1_000), 1_700_000_001_900, "most of it would be lost");
}

#[test]
fn nothing_is_said_of_a_start_that_was_not_tried() {
    assert_eq!(result_of(&starting("a", &[]), &Conclusion::default()), None);
    let mut aside = starting("a", &[]);
    aside.set_aside = true;
    assert_eq!(result_of(&aside, &verified()), None);
    let waits = Blocker::passing(reasons::PENDING, "");
    let conclusion = Conclusion { starts: Starts::Wait(waits.clone()), ..Conclusion::default() };
    assert_eq!(result_of(&starting("a", &[]), &conclusion), Some(SessionResult::Waiting(waits)));
}

#[test]
fn a_live_session_stays_active_where_the_server_cannot_be_asked() {
    let unasked = Conclusion { live: Live::Kept { verified: None, trouble: None }, ..Conclusion::default() };
    let kept = active(result_of(&live("a", &[]), &unasked));
    assert!(matches!(kept.shown, Shown::WasActive(_)));
    assert_eq!(kept.started_at, Some(now()));
    assert_eq!(result_of(&live("a", &[]), &Conclusion::default()), None, "nothing new is known");
}

#[test]
fn what_is_wrong_with_a_live_session_comes_in_the_order_of_weight() {
    let distrust = Blocker::stalled(reasons::CLIENT_CA_NOT_TRUSTED, "");
    let with = |trouble: Option<&str>, renewal: Option<&str>, made_from| {
        let mut session = live("a", &[]);
        session.renewal_failed = renewal.map(|reason| Blocker::passing(reason, ""));
        session.issued = Some(Issued { made_from: Some(made_from), ..Issued::default() });
        let trouble = trouble.map(|reason| Blocker::passing(reason, ""));
        let conclusion = Conclusion { live: Live::Kept { verified: None, trouble }, ..Conclusion::default() };
        let endpoint = Endpoint { distrust: Some(&distrust), ..endpoint() };
        active(result(&session, &conclusion, Some(endpoint))).trouble.map(|trouble| trouble.reason)
    };
    assert_eq!(with(Some("A"), Some("B"), 1).as_deref(), Some("A"));
    assert_eq!(with(None, Some("B"), 1).as_deref(), Some("B"));
    assert_eq!(with(None, None, 1).as_deref(), Some(reasons::CLIENT_CA_NOT_TRUSTED));
    assert_eq!(with(None, None, 2), None, "its certificate is of another CA");
}

#[test]
fn an_end_is_reported_as_it_is_known() {
    let result = |ends| result_of(&ending("a"), &Conclusion { ends, ..Conclusion::default() });
    assert_eq!(result(Ends::Unknown), None);
    let blocker = Blocker::passing(reasons::DATABASE_UNREACHABLE, "");
    let blocked = result(Ends::Blocked(blocker.clone()));
    assert!(matches!(blocked, Some(SessionResult::Ending { reason: Some(EndReason::AccessRevoked), .. })));
    let proven = result(Ends::Gone { proof: samples::ended(), kept_because: None, reassigned: None });
    assert!(
        matches!(
            proven,
            Some(SessionResult::Ended { reason: EndReason::AccessRevoked, gone: Gone::Proven(_) })
        ),
        "{proven:?}"
    );
    let abandoned = result(Ends::Abandoned { proof: samples::abandoned(), blocker });
    assert!(
        matches!(
            abandoned,
            Some(SessionResult::Ended { reason: EndReason::Abandoned, gone: Gone::Abandoned(_) })
        ),
        "{abandoned:?}"
    );
}

#[test]
fn a_session_is_not_ended_before_its_secret_is_gone() {
    let mut session = ending("a");
    session.revocation_failed = Some(Blocker::passing(reasons::API_REFUSED, ""));
    let ends = Ends::Gone { proof: samples::ended(), kept_because: None, reassigned: None };
    let conclusion = Conclusion { ends, ..Conclusion::default() };
    let result = result_of(&session, &conclusion);
    assert!(
        matches!(&result, Some(SessionResult::Ending { blocker, .. }) if blocker.reason == reasons::API_REFUSED),
        "{result:?}"
    );
    assert!(wants_retry(&[session], &conclusion));
}

#[test]
fn what_becomes_of_the_object_follows_from_how_it_ends() {
    let gone = Gone::Proven(samples::ended());
    let blocker = || Blocker::passing("R", "");
    let after = |reason, then| after_end(&End { reason, then }, gone);
    assert_eq!(after(Some(EndReason::Deleted), AfterEnd::Release), SessionResult::Released { gone });
    let withdrawn = SessionResult::Withdrawn { blocker: blocker(), gone };
    assert_eq!(after(None, AfterEnd::Pending(blocker())), withdrawn);
    assert_eq!(after(None, AfterEnd::Retry(blocker())), SessionResult::Waiting(blocker()));
    assert_eq!(after(None, AfterEnd::Rejected(blocker())), SessionResult::Rejected(blocker()));
}

#[test]
fn a_start_that_is_being_undone_goes_on_waiting_and_one_that_lost_access_is_ending() {
    let (waits, unreachable) = (Blocker::passing("W", ""), Blocker::passing("U", ""));
    let said = |reason, then| not_ended(&End { reason, then }, &unreachable);
    assert_eq!(said(None, AfterEnd::Retry(waits.clone())), SessionResult::Waiting(waits.clone()));
    let reason = Some(EndReason::AccessRevoked);
    let ending = SessionResult::Ending { reason, blocker: unreachable.clone() };
    assert_eq!(said(reason, AfterEnd::Pending(waits.clone())), ending);
    let rejected = SessionResult::Ending { reason: None, blocker: unreachable.clone() };
    assert_eq!(said(None, AfterEnd::Rejected(waits)), rejected, "what may be there is closed first");
}

#[test]
fn what_a_person_has_to_know_is_announced_once_for_each_session_that_it_concerns() {
    let reasons_of = |session: &Session, conclusion: &Conclusion| {
        let events = announcements(&key(), session, conclusion);
        events.into_iter().map(|event| event.reason).collect::<Vec<_>>()
    };
    let kept = Conclusion {
        ends: Ends::Gone {
            proof: samples::ended(),
            kept_because: Some("it owns a table".to_owned()),
            reassigned: None,
        },
        lost_password: Some("it was stored again"),
        ..verified()
    };
    assert_eq!(reasons_of(&live("a", &[]), &kept), [reasons::PASSWORD_RESTORED]);
    let changed = Conclusion { changed: Some("it got CONNECTION LIMIT 3".to_owned()), ..verified() };
    assert_eq!(reasons_of(&live("a", &[]), &changed), [reasons::ACCOUNT_CHANGED]);
    assert_eq!(reasons_of(&starting("a", &[]), &changed), [] as [&str; 0]);
    assert_eq!(reasons_of(&ending("b"), &kept), [reasons::ACCOUNT_KEPT]);
    assert!(reasons_of(&ending("b"), &verified()).is_empty());
    let retained = Conclusion { ends: Ends::Retained(samples::retained()), ..Conclusion::default() };
    assert_eq!(reasons_of(&ending("b"), &retained), [reasons::DATABASE_REMOVED]);
    assert!(reasons_of(&live("a", &[]), &retained).is_empty());
}

#[test]
fn the_account_is_reported_with_the_sessions_that_have_it() {
    let sessions = [live("a", &["reader"]), starting("b", &["reader"]), ending("c")];
    let mut conclusion = verified();
    assert_eq!(account_report(&key(), &sessions, &conclusion), None, "nothing new");
    conclusion.report_enabled();
    let report = account_report(&key(), &sessions, &conclusion).unwrap().account;
    assert_eq!((report.phase, report.sessions), (AccountPhase::Enabled, 2));
    assert_eq!((report.db_roles, report.mode), (vec!["reader".to_owned()], Some(CreateDbUserMode::Keep)));
    let phase = AccountPhase::Disabled;
    conclusion.account = Some(AccountState { phase, roles: Vec::new(), message: None });
    assert_eq!(account_report(&key(), &sessions, &conclusion).unwrap().account.sessions, 0);
}

#[test]
fn credentials_of_an_operator_before_this_one_stay_in_the_status() {
    let mut session = live("a", &[]);
    let mut object = (*session.object).clone();
    let secret = rolecall_api::SecretRef { name: "a".to_owned() };
    object.status.as_mut().unwrap().credentials_secret_ref = Some(secret);
    session.object = Arc::new(object);
    assert_eq!(active(result_of(&session, &verified())).secret.as_deref(), Some("a"));
    session.issued = Some(Issued::default());
    assert_eq!(active(result_of(&session, &verified())).secret, None, "it was taken back");
}
