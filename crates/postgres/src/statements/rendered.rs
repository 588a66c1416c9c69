//! Every message, as text, for 15 and for 16 and later.

use std::collections::BTreeSet;

use rolecall_engine::plan::{Activate, Adjust, End, Plan, Strays};
use rolecall_engine::{AccountName, Owner};

use crate::statements::activate;
use crate::statements::adjust;
use crate::statements::creators::{self, Pair};
use crate::statements::end;
use crate::statements::end::Part;
use crate::statements::guard::Guard;
use crate::statements::logins;
use crate::statements::preview::preview;
use crate::statements::reassign::{self, NewOwner};
use crate::statements::rights;
use crate::statements::role;
use crate::transport::message::Message;
use crate::transport::version::Dialect;

fn account() -> AccountName {
    AccountName::new("al\"i'ce").unwrap()
}

/// The message for both dialects; for the later one only where it differs.
fn both(render: impl Fn(Dialect) -> Message) -> String {
    let (old, new) = (render(Dialect(15)).sql(), render(Dialect(16)).sql());
    if old == new {
        format!("-- 15 and later\n{old}")
    } else {
        format!("-- 15\n{old}\n-- 16 and later\n{new}")
    }
}

fn activation(create: bool) -> Activate {
    Activate {
        account: account(),
        owner: Owner {
            uid: "1-2".into(),
            admin: "shop/orders".into(),
            cluster: "blue".into(),
            ..Owner::default()
        },
        session_database: Some("app".into()),
        create,
        create_roles: vec!["new 'role".into()],
        close_first: false,
        take_over_from: None,
        revoke: if create { Vec::new() } else { vec!["old".into(), "rolecall:0123".into()] },
        settings: BTreeSet::from([None, Some("app".into())]),
        expires: !create,
        grant: vec!["writer".into(), "Reader".into()],
        grant_sets: vec!["rolecall:4567".into()],
        verifier: Some("SCRAM-SHA-256$x".into()),
    }
}

fn ending() -> End {
    End {
        account: account(),
        owner_uid: "1-2".into(),
        take_over: None,
        session_database: None,
        revoke: vec!["old".into(), "rolecall:0123".into()],
        settings: BTreeSet::from([None, Some("app".into())]),
        expires: true,
        drop: true,
        reassign_to: Some("grave \"yard".into()),
    }
}

#[test]
fn roles_that_are_missing() {
    insta::assert_snapshot!(role::create_roles(&activation(true).create_roles).unwrap().sql());
}

#[test]
fn a_new_account() {
    insta::assert_snapshot!(both(|dialect| activate::message(&activation(true), dialect, true, false)));
}

#[test]
fn a_kept_account() {
    insta::assert_snapshot!(both(|dialect| activate::message(&activation(false), dialect, true, false)));
}

#[test]
fn a_live_account() {
    let plan = Adjust {
        account: account(),
        owner_uid: "1-2".into(),
        record: None,
        session_database: None,
        create_roles: Vec::new(),
        revoke: vec!["old".into()],
        grant: vec!["new".into()],
        grant_sets: vec!["rolecall:4567".into()],
        enable: true,
        terminate: true,
        verifier: Some("SCRAM-SHA-256$x".into()),
        strays: Strays::default(),
    };
    insta::assert_snapshot!(both(|dialect| adjust::message(&plan, dialect, false)));
    let strays = Strays {
        settings: BTreeSet::from([None, Some("app".into())]),
        limits: true,
        expires: true,
        rights: true,
        attributes: vec!["CREATEDB".into()],
    };
    let plan = Adjust { strays, ..plan };
    let messages = [adjust::clear_stored(&plan), adjust::take_attribute(&plan, "CREATEDB")];
    insta::assert_snapshot!(
        "what_somebody_stored_for_it",
        messages.map(|message| message.sql()).join("\n\n")
    );
}

#[test]
fn the_login() {
    let (plan, account) = (ending(), account());
    let guard = Guard::managed(&account).owned_by(&plan.owner_uid);
    let [alone, acting] =
        [false, true].map(|acts| end::disable(&guard, &account, acts, end::SHORT_LOCK_TIMEOUT_MS));
    assert!(acting.acts() && acting.as_admin_user().sql() == alone.sql());
    insta::assert_snapshot!(alone.sql());
}

#[test]
fn those_inside() {
    let account = account();
    let guard = Guard::managed(&account).not_foreign_to("1-2").closed();
    insta::assert_snapshot!(both(|dialect| end::terminate(&guard, &account, dialect)));
}

#[test]
fn those_on_the_way_in() {
    let (plan, account) = (ending(), account());
    let guard = Guard::managed(&account).owned_by(&plan.owner_uid).closed();
    let logins = BTreeSet::from(["12 3/4".to_owned()]);
    insta::assert_snapshot!(both(|dialect| logins::end(&guard, &account, &logins, dialect)));
}

#[test]
fn what_it_had() {
    insta::assert_snapshot!(both(|dialect| end::strip(&ending(), Part::All, dialect, false)));
}

#[test]
fn what_gave_rights_where_the_rest_is_refused() {
    insta::assert_snapshot!(both(|dialect| end::strip(&ending(), Part::Memberships, dialect, false)));
}

#[test]
fn what_is_stored_for_it_and_does_not_expire() {
    let ending = End { expires: false, ..ending() };
    insta::assert_snapshot!(both(|dialect| end::strip(&ending, Part::Stored, dialect, false)));
}

#[test]
fn an_end_that_a_standby_should_confirm() {
    insta::assert_snapshot!(end::confirm(&ending()).sql());
}

#[test]
fn what_it_had_and_passed_on() {
    insta::assert_snapshot!(both(|dialect| end::strip(&ending(), Part::All, dialect, true)));
}

#[test]
fn the_account_itself() {
    insta::assert_snapshot!(end::drop_account(&ending()).sql());
}

#[test]
fn what_is_sent_as_blocks() {
    let created = |plan: &Activate| activate::message(plan, Dialect(16), true, false);
    let without_password = Activate { verifier: None, ..activation(true) };
    let messages = [
        created(&activation(true)),
        created(&without_password),
        creators::act_as(
            activate::create_apart(&activation(true), Dialect(16)),
            "rolecall-creator:16385:7:accounts",
        ),
        created(&activation(false)),
        end::strip(&ending(), Part::All, Dialect(16), false),
        creators::act_for(end::drop_at_once(&ending()), &account()),
    ];
    let packed = messages.map(|message| message.packed().unwrap());
    for text in packed.iter().flat_map(Message::texts) {
        assert!(!(text.starts_with("DO") && text.contains("SCRAM")), "{text}");
    }
    insta::assert_snapshot!(packed.map(|message| message.sql()).join("\n"));
}

#[test]
fn what_keeps_an_account_from_being_dropped_at_once() {
    insta::assert_snapshot!(end::prepare());
}

fn new_owner(by_superuser: bool) -> NewOwner {
    NewOwner {
        name: "grave \"yard".into(),
        attributes: None,
        managed: false,
        inherited: true,
        settable: true,
        member: true,
        by_superuser,
    }
}

#[test]
fn what_it_owns_for_somebody_else() {
    insta::assert_snapshot!(both(|dialect| reassign::reassign(&ending(), &new_owner(false), dialect, false)));
}

#[test]
fn what_nobody_else_can_own() {
    insta::assert_snapshot!(reassign::drop_personal(&ending(), true, Dialect(17), false).sql());
}

#[test]
fn who_may_own_it() {
    insta::assert_snapshot!(both(|dialect| reassign::new_owner("grave \"yard", dialect)));
}

#[test]
fn what_its_new_owner_needs() {
    insta::assert_snapshot!(reassign::missing_rights(&account(), "grave \"yard").sql());
}

#[test]
fn creator_roles() {
    let pair = Pair::new("rolecall-creator:16385", 7);
    let messages = [
        creators::make("rolecall-creator:16385", true, &pair),
        creators::equip("rolecall-creator:16385", ["Reader", "teleport-auto-user"]),
        creators::close(&pair),
        creators::drop_pair(&pair),
        creators::regain(&account()),
    ];
    insta::assert_snapshot!(messages.map(|message| message.sql()).join("\n"));
}

#[test]
fn what_is_run_as_a_creator() {
    let strip = end::strip(&ending(), Part::All, Dialect(16), false);
    let as_creator = creators::act_for(strip, &account());
    let (owner, account) = (ending().owner_uid, account());
    let guard = Guard::managed(&account).owned_by(&owner);
    let unprepared = end::disable(&guard, &account, true, end::SHORT_LOCK_TIMEOUT_MS);
    let renewed = activate::renewal(&activation(false), Dialect(16), "rolecall-creator:16385:7:accounts");
    insta::assert_snapshot!([as_creator, unprepared, renewed].map(|message| message.sql()).join("\n"));
}

#[test]
fn what_runs_as_the_admin_user_after_all_is_the_same_message() {
    let strip = || end::strip(&ending(), Part::All, Dialect(16), false);
    let as_creator = creators::act_for(strip(), &account());
    assert!(as_creator.acts() && as_creator.attempted(0).starts_with("becoming"), "{as_creator:?}");
    assert_eq!(as_creator.as_admin_user().sql(), strip().sql());
    let guard_account = account();
    let guard = Guard::managed(&guard_account);
    let terminate = creators::act_for(end::terminate(&guard, &guard_account, Dialect(16)), &guard_account);
    let texts: Vec<&str> = terminate.texts().collect();
    assert!(texts[0] == "BEGIN" && texts[1].contains("rolecall_act_for"), "{texts:?}");
}

#[test]
fn what_depends_on_it() {
    insta::assert_snapshot!(rights::dependencies(account().as_str()).sql());
}

#[test]
fn what_it_owns_by_name() {
    insta::assert_snapshot!(rights::dependent_names(account().as_str(), "o", false, 10).sql());
}

#[test]
fn what_a_reviewer_sees() {
    let adjust = Adjust {
        account: account(),
        owner_uid: "1-2".into(),
        record: None,
        session_database: None,
        create_roles: vec!["new".into()],
        revoke: vec!["old".into()],
        grant: vec!["new".into()],
        grant_sets: vec!["rolecall:4567".into()],
        enable: true,
        terminate: true,
        verifier: None,
        strays: Strays::default(),
    };
    let plans = [
        Plan::Nothing,
        Plan::Activate(activation(true)),
        Plan::Activate(activation(false)),
        Plan::Adjust(adjust),
        Plan::End(ending()),
    ];
    let shown: Vec<String> =
        plans.iter().map(|plan| format!("-- {plan}\n{}", preview(plan).join(";\n"))).collect();
    assert!(!shown.concat().contains("SCRAM"));
    insta::assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn a_message_shows_what_it_attempts_and_no_verifier() {
    let message = activate::message(&activation(true), Dialect(17), true, false);
    let shown = format!("{message:?}");
    assert!(shown.contains("creating the user") && !shown.contains("SCRAM"), "{shown}");
    assert!(!format!("{:?}", activation(true)).contains("SCRAM"));
}
