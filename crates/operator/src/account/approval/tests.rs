use std::time::Duration;

use rolecall_api::{
    DatabaseSessionDecisionSpec, DatabaseSessionSpec, DatabaseSessionStatus, DecidedSession, GoDuration,
    RequestedPermission, RequestedPermissions, RequestingSession,
};
use rolecall_policy::spec::ApprovalSpec;

use super::super::session::samples::grant;
use super::*;

const UID: &str = "uid of alice-orders";
const ALICE: &str = "alice@example.com";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn session() -> DatabaseSession {
    let spec = DatabaseSessionSpec {
        user: "alice".into(),
        database: "orders".into(),
        requested_by: Some(ALICE.into()),
        ..DatabaseSessionSpec::default()
    };
    let mut session = DatabaseSession::new("alice-orders", spec);
    session.metadata.uid = Some(UID.into());
    session
}

fn request(roles: &[&str]) -> SessionRequest {
    let mut request = SessionRequest {
        session: RequestingSession { namespace: "shop".into(), name: "alice-orders".into(), uid: UID.into() },
        db_roles: roles.iter().map(|&role| role.to_owned()).collect(),
        ..SessionRequest::default()
    };
    request.hash = rolecall_resolve::request_hash(&request);
    request
}

fn need(role: &str, count: u32) -> RequiredApproval {
    let approval =
        ApprovalSpec { count, timeout: Duration::from_secs(100), users: Vec::new(), groups: Vec::new() };
    RequiredApproval { role: role.to_owned(), approval }
}

fn decision(by: &str, decision: Verdict, roles: &[&str]) -> DatabaseSessionDecision {
    let spec = DatabaseSessionDecisionSpec {
        session_ref: DecidedSession { name: "alice-orders".into(), uid: UID.into() },
        request_hash: request(&["reader"]).hash,
        requested_by: ALICE.into(),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        decision,
        decided_by: by.into(),
        ..DatabaseSessionDecisionSpec::default()
    };
    DatabaseSessionDecision::new(&format!("{by}-{decision:?}"), spec)
}

fn approve(by: &str, roles: &[&str]) -> DatabaseSessionDecision {
    decision(by, Verdict::Approve, roles)
}

/// Decided at 1000, from decisions with the times when they were first seen.
fn asked(needs: &[RequiredApproval], decisions: &[(DatabaseSessionDecision, i64)]) -> Asked {
    let session = session();
    asked_of(&session, needs, decisions, 1_000)
}

fn asked_of(
    session: &DatabaseSession,
    needs: &[RequiredApproval],
    decisions: &[(DatabaseSessionDecision, i64)],
    now: i64,
) -> Asked {
    let request = request(&["reader"]);
    let decisions: Vec<_> = decisions.iter().map(|(decision, seen)| (decision, at(*seen))).collect();
    decide(Facts { session, needs, request: &request, decisions: &decisions, now: at(now) })
}

fn reason(asked: &Asked) -> &str {
    match &asked.outcome {
        Outcome::Waiting(blocker) | Outcome::Final(blocker) => &blocker.reason,
        Outcome::Approved(_) => "Approved",
    }
}

#[test]
fn a_session_waits_for_as_many_people_as_its_role_asks_for() {
    let none = asked(&[need("r", 2)], &[]);
    assert_eq!(reason(&none), reasons::AWAITING_APPROVAL);
    assert_eq!((none.progress.requested_at.0, none.progress.expires_at.0), (at(1_000), at(1_100)));
    let one = asked(&[need("r", 2)], &[(approve("bob", &["r"]), 1_000)]);
    let Outcome::Waiting(blocker) = &one.outcome else { panic!("{one:?}") };
    assert!(
        !blocker.stalled && blocker.message.contains("1 of 2 approval(s) for the ProvisioningRole \"r\"")
    );
    assert_eq!((one.progress.needs[0].given, one.decisions.len()), (1, 1));
    let two = asked(&[need("r", 2)], &[(approve("carol", &["r"]), 1_005), (approve("bob", &["r"]), 1_000)]);
    assert_eq!(two.outcome, Outcome::Approved(at(1_005)), "when the last one came that it needed");
    let names: Vec<&str> = two.decisions.iter().map(|decision| decision.by.as_str()).collect();
    assert_eq!(names, ["bob", "carol"]);
}

#[test]
fn a_person_counts_once_however_often_they_decide() {
    let mut again = approve("bob", &["r"]);
    again.metadata.name = Some("another".into());
    let twice = asked(&[need("r", 2)], &[(approve("bob", &["r"]), 1_000), (again, 1_001)]);
    assert_eq!(reason(&twice), reasons::AWAITING_APPROVAL);
    assert_eq!(twice.progress.needs[0].given, 1);
}

#[test]
fn each_role_has_its_own_say() {
    let needs = [need("r", 1), need("s", 2)];
    let one = asked(&needs, &[(approve("bob", &["r", "s"]), 1_000)]);
    assert_eq!(reason(&one), reasons::AWAITING_APPROVAL);
    let both = asked(&needs, &[(approve("bob", &["r", "s"]), 1_000), (approve("carol", &["s"]), 1_001)]);
    assert_eq!(both.outcome, Outcome::Approved(at(1_001)));
    let none = asked(&needs, &[(approve("bob", &["s"]), 1_000), (approve("carol", &["s"]), 1_001)]);
    assert_eq!(reason(&none), reasons::AWAITING_APPROVAL, "nobody spoke for r");
    let other = asked(&needs[..1], &[(approve("bob", &["t"]), 1_000)]);
    assert_eq!(
        (reason(&other), other.decisions.len()),
        (reasons::AWAITING_APPROVAL, 0),
        "t asks for nothing"
    );
}

#[test]
fn whoever_asks_does_not_decide_and_neither_does_who_was_not_there() {
    type Change = fn(&mut DatabaseSessionDecision);
    let void: [(&str, Change); 8] = [
        ("by whoever asks", |decision| decision.spec.decided_by = ALICE.into()),
        ("who says that somebody else asks", |decision| decision.spec.requested_by = "bob".into()),
        ("by nobody", |decision| decision.spec.decided_by = String::new()),
        ("about what was asked before", |decision| decision.spec.request_hash = request(&["writer"]).hash),
        ("about a session that had the name", |decision| decision.spec.session_ref.uid = "other".into()),
        ("about another session", |decision| decision.spec.session_ref.name = "other".into()),
        ("that is being taken back", |decision| {
            decision.metadata.deletion_timestamp = Some(Time(at(1_000)));
        }),
        ("that a newer version knows", |decision| decision.spec.decision = Verdict::Unknown),
    ];
    for verdict in [Verdict::Approve, Verdict::Deny] {
        for (what, change) in void {
            let mut decision = decision("bob", verdict, &["r"]);
            change(&mut decision);
            let asked = asked(&[need("r", 1)], &[(decision, 1_000)]);
            assert_eq!(reason(&asked), reasons::AWAITING_APPROVAL, "{verdict:?} {what}");
            let Outcome::Waiting(blocker) = asked.outcome else { panic!() };
            assert!(blocker.message.contains("1 decision(s) do not count"), "{}", blocker.message);
        }
    }
}

#[test]
fn a_role_that_names_people_takes_no_others() {
    let mut named = need("r", 1);
    named.approval.users = vec!["carol".into()];
    named.approval.groups = vec!["dba".into()];
    let outcome = |by: &str, groups: &[&str]| {
        let mut decision = approve(by, &["r"]);
        decision.spec.groups = groups.iter().map(|&group| group.to_owned()).collect();
        reason(&asked(std::slice::from_ref(&named), &[(decision, 1_000)])).to_owned()
    };
    assert_eq!(outcome("bob", &[]), reasons::AWAITING_APPROVAL);
    assert_eq!(outcome("bob", &["ops"]), reasons::AWAITING_APPROVAL);
    assert_eq!(outcome("bob", &["ops", "dba"]), "Approved");
    assert_eq!(outcome("carol", &[]), "Approved");
}

#[test]
fn one_denial_is_enough_and_says_why() {
    let mut no = decision("carol", Verdict::Deny, &["r"]);
    no.spec.reason = Some("not in the freeze".into());
    let denied = asked(&[need("r", 1)], &[(approve("bob", &["r"]), 1_000), (no, 1_001)]);
    let Outcome::Final(blocker) = &denied.outcome else { panic!("{denied:?}") };
    assert_eq!(blocker.reason, reasons::APPROVAL_DENIED);
    assert_eq!(blocker.message, "carol denied it: not in the freeze");
}

#[test]
fn nobody_waits_longer_than_the_shortest_time_of_the_roles() {
    let mut long = need("s", 1);
    long.approval.timeout = Duration::from_secs(900);
    let needs = [long, need("r", 1)];
    let mut waiting = session();
    let first = asked_of(&waiting, &needs, &[], 1_000);
    waiting.status = Some(DatabaseSessionStatus {
        request: Some(first.request.clone()),
        approval: Some(first.progress.clone()),
        ..DatabaseSessionStatus::default()
    });
    assert_eq!(reason(&asked_of(&waiting, &needs, &[], 1_099)), reasons::AWAITING_APPROVAL);
    let late = asked_of(&waiting, &needs, &[(approve("bob", &["r"]), 1_001)], 1_100);
    let Outcome::Final(blocker) = &late.outcome else { panic!("{late:?}") };
    assert_eq!(blocker.reason, reasons::APPROVAL_EXPIRED);
    assert!(
        blocker.message.contains("1 of 1 approval(s) for the ProvisioningRole \"s\""),
        "{}",
        blocker.message
    );
    let in_time = asked_of(&waiting, &needs, &[(approve("bob", &["r", "s"]), 1_099)], 5_000);
    assert_eq!(in_time.outcome, Outcome::Approved(at(1_099)), "while no operator was there");
    let too_late = asked_of(&waiting, &needs, &[(approve("bob", &["r", "s"]), 1_101)], 1_101);
    assert_eq!(reason(&too_late), reasons::APPROVAL_EXPIRED);

    // Something else is asked for: the time begins anew.
    waiting.status.as_mut().unwrap().request.as_mut().unwrap().hash = "sha256:other".into();
    assert_eq!(reason(&asked_of(&waiting, &needs, &[], 1_100)), reasons::AWAITING_APPROVAL);
}

#[test]
fn without_a_known_requester_or_admission_nothing_can_be_proven() {
    assert_eq!(unreliable(&session(), true), Ok(()));
    assert_eq!(unreliable(&session(), false).unwrap_err().reason, reasons::APPROVALS_NOT_ENFORCED);
    let mut unknown = session();
    unknown.spec.requested_by = None;
    let blocked = unreliable(&unknown, true).unwrap_err();
    assert_eq!((blocked.reason, blocked.permanent), (reasons::REQUESTER_UNKNOWN, true));
}

fn permissions(allow: &[&str]) -> Option<RequestedPermissions> {
    let entry = |label: &&str| RequestedPermission {
        matching: [("dept".to_owned(), vec![(*label).to_owned()])].into(),
        privileges: vec!["SELECT".to_owned()],
    };
    Some(RequestedPermissions { allow: allow.iter().map(entry).collect(), ..RequestedPermissions::default() })
}

#[test]
fn a_live_session_keeps_to_what_was_approved() {
    let mut live = session();
    let mut approved = request(&["reader"]);
    approved.duration = Some(GoDuration::from_secs(60));
    approved.permissions = permissions(&["hr"]);
    live.status =
        Some(DatabaseSessionStatus { request: Some(approved.clone()), ..DatabaseSessionStatus::default() });

    let mut wider = grant(&["reader", "writer"]);
    wider.max_session_ttl = Some(Duration::from_secs(900));
    let within = within_approved(wider, &approved, &live).unwrap();
    assert_eq!(within.db_roles.keys().collect::<Vec<_>>(), ["reader"]);
    assert_eq!(within.max_session_ttl, Some(Duration::from_secs(60)));
    let less = within_approved(grant(&[]), &approved, &live).unwrap();
    assert!(less.db_roles.is_empty(), "what policy takes away is taken at once");

    let more = SessionRequest { permissions: permissions(&["hr", "board"]), ..approved.clone() };
    let blocked = within_approved(grant(&["reader"]), &more, &live).unwrap_err();
    assert_eq!(blocked.reason, reasons::AWAITING_APPROVAL);
    assert!(blocked.message.contains("the object permissions"), "{}", blocked.message);

    live.status = None;
    assert!(within_approved(grant(&["reader"]), &approved, &live).is_err(), "it was never approved");
}
