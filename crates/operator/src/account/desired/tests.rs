use std::sync::Arc;

use rolecall_api::Time;
use rolecall_engine::account::{DatabaseFacts, Membership, RoleFacts, SetFacts};
use rolecall_engine::{Account, Plan};

use super::super::decide::Decision;
use super::super::passwords::{AccountPassword, Password, with_password};
use super::super::session::SetOfSession;
use super::super::session::samples::{ending, live, names, now, starting};
use super::*;
use crate::sets::SetContents;

const SET: &str = "rolecall:0123";
const OLD_SET: &str = "rolecall:4567";

fn terms<'a>(account: &'a AccountName, owner: &'a Owner) -> Terms<'a> {
    Terms { account, owner, platform_roles: &[], password: false, create_missing_roles: false }
}

fn owner() -> Owner {
    Owner { uid: "us".into(), admin: "shop/orders".into(), cluster: "c".into(), ..Owner::default() }
}

fn desired_of(sessions: &[Session]) -> Option<Desired> {
    desired_with(sessions, &[])
}

fn desired_with(sessions: &[Session], kept: &[&str]) -> Option<Desired> {
    let kept = kept.iter().map(|&role| role.to_owned()).collect();
    desired(sessions, &kept, terms(&AccountName::new("alice").unwrap(), &owner()))
}

fn enabled(desired: &Desired) -> &Enabled {
    match &desired.want {
        Want::Enabled(enabled) => enabled,
        want @ Want::Ended { .. } => panic!("{want:?}"),
    }
}

/// The account as a server has it, with these memberships.
fn observed(memberships: &[&str]) -> Observed {
    let membership =
        |role: &&str| Membership { role: (*role).to_owned(), grantor: "admin".to_owned(), revocable: true };
    let account = Account {
        managed: true,
        enabled: true,
        owner: Some(owner()),
        memberships: memberships.iter().map(membership).collect(),
        ..Account::default()
    };
    Observed { account: Some(account), ..server() }
}

/// A server that has what the tests ask for, and no account.
fn server() -> Observed {
    let grantable = RoleFacts { grantable: true, ..RoleFacts::default() };
    let set = SetFacts { owner_uid: Some("us".into()), grantable: true, ..SetFacts::default() };
    let database = DatabaseFacts { allows_connections: true, connect: true };
    Observed {
        roles: ["reader", "writer"].map(|role| (role.to_owned(), grantable.clone())).into(),
        sets: [SET, OLD_SET].map(|role| (role.to_owned(), set.clone())).into(),
        databases: [("app".to_owned(), database)].into(),
        admin_user: "admin".to_owned(),
        ..Observed::default()
    }
}

fn with_set(mut session: Session, role: &str, state: SetState) -> Session {
    session.set = Some(SetOfSession { role: role.into(), state, meanwhile: None, is_member: None });
    session
}

fn ready() -> SetState {
    SetState::Ready(Arc::new(SetContents::default()))
}

/// Created so many seconds ago.
fn created(mut session: Session, ago: u64) -> Session {
    let mut object = (*session.object).clone();
    let at = now() - std::time::Duration::from_secs(ago);
    object.metadata.creation_timestamp = Some(Time(at));
    session.object = Arc::new(object);
    session
}

fn why(session: &Session) -> String {
    match session.decision() {
        Decision::Wait(blocker) => blocker.reason.clone(),
        decision => format!("{decision:?}"),
    }
}

#[test]
fn who_would_have_other_roles_than_live_sessions_is_refused() {
    let mut sessions = [live("a", &["reader"]), starting("b", &["reader"]), starting("c", &["writer"])];
    choose_candidates(&mut sessions, &[]);
    assert_eq!(names(&sessions, Session::is_starting), ["b"]);
    assert_eq!(why(&sessions[2]), reasons::ROLES_CHANGED);
    let Decision::Wait(blocker) = sessions[2].decision() else { panic!() };
    assert!(blocker.message.contains("[reader]") && blocker.message.contains("[writer]"), "{blocker:?}");
}

#[test]
fn where_nobody_is_live_the_oldest_start_says_which_roles_and_others_wait_for_what_becomes_of_it() {
    let mut sessions = [
        created(starting("young", &["writer"]), 1),
        created(starting("old", &["reader"]), 2),
        created(starting("same", &["reader"]), 0),
    ];
    choose_candidates(&mut sessions, &[]);
    assert_eq!(names(&sessions, Session::is_starting), ["old", "same"]);
    assert!(sessions[0].set_aside);
    // It started: the other one is refused.
    let mut started = sessions.clone();
    assert!(!has_more_candidates(&mut started, true, &[]));
    assert_eq!(why(&started[0]), reasons::ROLES_CHANGED);
    // It failed: the other one is tried.
    for session in sessions.iter_mut().filter(|session| session.is_starting()) {
        session.set_back(Setback::Failed(Blocker::passing("R", "")));
    }
    assert!(has_more_candidates(&mut sessions, false, &[]));
    choose_candidates(&mut sessions, &[]);
    assert_eq!(names(&sessions, Session::is_starting), ["young"]);
}

#[test]
fn nobody_is_tried_in_the_place_of_one_that_waits_for_its_permission_set() {
    let mut sessions = [created(starting("old", &["reader"]), 1), created(starting("young", &["writer"]), 0)];
    choose_candidates(&mut sessions, &[]);
    sessions[0].set_back(Setback::SetNotReady { report: false });
    assert!(!has_more_candidates(&mut sessions, false, &[]));
    assert!(matches!(sessions[1].decision(), Decision::Start(_)), "it is not refused either");
}

#[test]
fn what_was_begun_for_one_that_comes_second_is_undone_by_the_next_reconcile() {
    let mut begun = starting("young", &["writer"]);
    begun.mark((*begun.object).clone());
    let mut sessions = [created(starting("old", &["reader"]), 1), created(begun, 0)];
    choose_candidates(&mut sessions, &[]);
    assert!(!has_more_candidates(&mut sessions, true, &[]));
    assert_eq!(why(&sessions[1]), reasons::ROLES_CHANGED);
    assert!(sessions[1].wants_retry());
}

#[test]
fn live_sessions_that_policy_gives_different_roles_have_those_that_all_of_them_may_have() {
    let sessions = [live("a", &["reader", "writer"]), live("b", &["reader"])];
    let roles = account_roles(&sessions, &["rds_iam"]).unwrap();
    assert_eq!(roles.keys().collect::<Vec<_>>(), ["rds_iam", "reader"]);
}

#[test]
fn an_account_is_desired_for_its_live_and_starting_sessions_and_ended_for_those_that_end() {
    assert!(desired_of(&[]).is_none());
    let desired = desired_of(&[live("a", &["reader"]), ending("b")]).unwrap();
    assert!(enabled(&desired).in_use);
    assert_eq!(desired.session_database.as_deref(), Some("app"));
    let desired = desired_of(&[starting("a", &["reader"])]).unwrap();
    assert!(!enabled(&desired).in_use, "what is found is left over");
    let desired = desired_of(&[ending("a")]).unwrap();
    assert!(matches!(desired.want, Want::Ended { drop: false, .. }));
}

#[test]
fn a_set_that_is_withheld_is_not_desired_and_one_that_lingers_is_kept_for_live_sessions_only() {
    let withheld = SetState::Withheld(Blocker::stalled("R", ""));
    let sessions = [with_set(live("a", &[]), SET, withheld)];
    assert!(enabled(&desired_of(&sessions).unwrap()).sets.is_empty());
    assert!(enabled(&desired_with(&sessions, &[OLD_SET]).unwrap()).sets.contains(OLD_SET));
    let starts = [with_set(starting("a", &[]), SET, ready())];
    let desired = desired_with(&starts, &[OLD_SET]).unwrap();
    assert_eq!(enabled(&desired).sets.iter().collect::<Vec<_>>(), [SET]);
}

#[test]
fn nobody_becomes_a_member_of_a_set_that_is_not_ready_and_who_is_one_stays() {
    let sets = |memberships: &[&str]| {
        let mut sessions = [with_set(live("a", &[]), SET, SetState::Pending)];
        let asked = desired_of(&sessions).unwrap();
        let desired = as_observed(asked, &mut sessions, &observed(memberships));
        let is_member = sessions[0].set.as_ref().and_then(|set| set.is_member);
        (enabled(&desired).sets.len(), is_member)
    };
    assert_eq!(sets(&[SET]), (1, Some(true)));
    assert_eq!(sets(&[]), (0, Some(false)));
}

#[test]
fn an_account_that_cannot_be_what_it_should_be_loses_what_it_should_lose() {
    let asked = desired_of(&[live("a", &["reader", "writer"])]).unwrap();
    let desired = without_gains(asked, &observed(&["reader", "old"]));
    assert_eq!(enabled(&desired).roles.keys().collect::<Vec<_>>(), ["reader"]);
}

#[test]
fn a_start_on_a_database_that_is_not_there_fails_by_itself() {
    let mut sessions = [live("a", &[]), starting("b", &[])];
    let desired = desired_of(&sessions).unwrap();
    assert!(!refuse_databases(&mut sessions, &desired, &observed(&[])));
    let elsewhere = Observed { databases: Default::default(), ..observed(&[]) };
    assert!(refuse_databases(&mut sessions, &desired, &elsewhere));
    assert_eq!(why(&sessions[1]), "DatabaseNameNotFound");
    assert!(sessions[0].is_live(), "a live session stays");
}

/// The plan for these sessions on such a server, as it is printed.
fn planned(title: &str, mut sessions: Vec<Session>, observed: &Observed, password: bool) -> String {
    choose_candidates(&mut sessions, &[]);
    let (account, owner) = (AccountName::new("alice").unwrap(), owner());
    let terms = Terms { password, ..terms(&account, &owner) };
    let asked = desired(&sessions, &BTreeSet::new(), terms).unwrap();
    let desired = as_observed(asked, &mut sessions, observed);
    let password = match password {
        true => Password::Known(AccountPassword { text: "secret".into(), generation: 7 }),
        false => Password::Unchanged,
    };
    let desired = with_password(desired, observed, &password);
    let desired = ending_connections(desired, observed, |role| role == OLD_SET);
    match plan::plan(&desired, observed) {
        Ok(plan) => format!("{title}\n{}\n", lines(&plan)),
        Err(refusal) => format!("{title}\n  refused: {refusal}\n"),
    }
}

fn lines(plan: &Plan) -> String {
    plan.steps().iter().map(|step| format!("  {step}")).collect::<Vec<_>>().join("\n")
}

#[test]
fn plans_read_as_their_steps() {
    let left_over = |owner: Owner| {
        let mut observed = observed(&["writer"]);
        observed.account.as_mut().unwrap().owner = Some(owner);
        observed
    };
    let other = Owner { uid: "them".into(), admin: "shop/other".into(), ..owner() };
    let predecessor = Owner { uid: "before".into(), ..owner() };
    let closed = |owner: Owner| {
        let mut observed = left_over(owner);
        observed.account.as_mut().unwrap().enabled = false;
        observed
    };
    let set = |session, role: &str| with_set(session, role, ready());
    let texts = [
        planned("a first session", vec![starting("a", &["reader"])], &server(), false),
        planned("with a password", vec![starting("a", &["reader"])], &server(), true),
        planned("with object permissions", vec![set(starting("a", &[]), SET)], &server(), false),
        planned("an account that was closed", vec![starting("a", &["reader"])], &closed(owner()), false),
        planned("one that is left open", vec![starting("a", &["reader"])], &left_over(owner()), false),
        planned("a predecessor's", vec![starting("a", &["reader"])], &left_over(predecessor), false),
        planned("somebody else's", vec![starting("a", &["reader"])], &left_over(other), false),
        planned(
            "a second session",
            vec![live("a", &["reader"]), starting("b", &["reader"])],
            &observed(&["reader"]),
            false,
        ),
        planned("a role more", vec![live("a", &["reader", "writer"])], &observed(&["reader"]), false),
        planned("a role less", vec![live("a", &["reader"])], &observed(&["reader", "writer"]), false),
        planned(
            "another set, without a function",
            vec![set(live("a", &[]), SET)],
            &observed(&[OLD_SET]),
            false,
        ),
        planned("another set", vec![set(live("a", &[]), OLD_SET)], &observed(&[SET]), false),
        planned("a password that the server lost", vec![live("a", &[])], &observed(&[]), true),
        planned("the end", vec![ending("a")], &observed(&["reader"]), false),
        planned("the end of what is gone", vec![ending("a")], &server(), false),
    ];
    insta::assert_snapshot!(texts.concat());
}
