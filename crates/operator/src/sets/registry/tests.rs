//! The registry of permission sets.

use super::*;

fn key() -> DatabaseKey {
    DatabaseKey {
        admin: ObjectKey { namespace: "shop".into(), name: "orders".into() },
        database: "app".into(),
    }
}

fn account(name: &str) -> AccountKey {
    AccountKey { admin: key().admin, username: name.into() }
}

fn wanted(role: &str) -> Wanted {
    Wanted { key: key(), role: role.into(), entries: Arc::default() }
}

fn ready() -> SetState {
    SetState::Ready(Arc::default())
}

#[test]
fn a_new_set_has_to_be_reconciled_and_is_then_ready_for_everybody() {
    let sets = SetRegistry::default();
    let answer = sets.want(&account("alice"), &[wanted("s")]);
    assert_eq!(answer.states["s"], SetState::Pending);
    assert_eq!(answer.to_reconcile, BTreeMap::from([(key(), Priority::Normal)]));
    assert_eq!(sets.set_state(&key(), "s", ready()), Some(BTreeSet::from([account("alice")])));
    let answer = sets.want(&account("bob"), &[wanted("s")]);
    assert_eq!(answer.states["s"], ready());
    assert!(answer.to_reconcile.is_empty(), "nothing to do for the second one");
}

#[test]
fn a_set_is_in_use_as_long_as_some_account_wants_it_and_is_kept_for_a_while() {
    let sets = SetRegistry::default();
    sets.want(&account("alice"), &[wanted("s")]);
    sets.set_state(&key(), "s", ready());
    sets.want(&account("bob"), &[wanted("s")]);
    sets.want(&account("alice"), &[]);
    assert!(sets.unused(&key()).is_empty());
    sets.want(&account("bob"), &[]);
    assert_eq!(sets.unused(&key()).len(), 1);
    assert_eq!(sets.kept(&key()).len(), 1);
    assert_eq!(sets.without_listener(&[wanted("s")]), BTreeSet::from([key()]));
    let answer = sets.want(&account("alice"), &[wanted("s")]);
    assert_eq!(answer.states["s"], ready());
    assert!(answer.to_reconcile.is_empty() && sets.unused(&key()).is_empty());
    assert!(sets.without_listener(&[wanted("s")]).is_empty());
}

#[test]
fn a_set_that_is_being_dropped_is_not_kept_up_to_date_until_somebody_wants_it_again() {
    let sets = SetRegistry::default();
    sets.want(&account("alice"), &[wanted("s")]);
    sets.set_state(&key(), "s", ready());
    assert!(!sets.retire(&key(), "s"), "it is in use");
    sets.want(&account("alice"), &[]);
    assert!(sets.retire(&key(), "s"));
    assert!(sets.kept(&key()).is_empty());
    sets.postpone(&key(), "s");
    assert!(sets.kept(&key()).is_empty(), "it may have lost something already");
    let answer = sets.want(&account("bob"), &[wanted("s")]);
    assert_eq!(answer.states["s"], SetState::Pending, "it is not ready for whoever wants it again");
    assert!(answer.to_reconcile.contains_key(&key()));
    assert_eq!(sets.kept(&key()).len(), 1);
}

#[test]
fn a_set_that_somebody_wants_again_is_not_forgotten() {
    let sets = SetRegistry::default();
    sets.want(&account("alice"), &[wanted("s")]);
    sets.forget(&key(), "s");
    assert_eq!(sets.kept(&key()).len(), 1);
    sets.want(&account("alice"), &[]);
    sets.forget(&key(), "s");
    assert!(sets.kept(&key()).is_empty());
}

#[test]
fn only_a_set_that_is_known_to_give_no_functions_is_said_to_give_none() {
    let sets = SetRegistry::default();
    sets.want(&account("alice"), &[wanted("s")]);
    sets.add_leftover(&key(), "plain".into(), "uid", false);
    sets.add_leftover(&key(), "with functions".into(), "uid", true);
    let loses = |role| sets.loses_functions(&key().admin, role, []);
    assert!(!loses("s") && !loses("plain"));
    assert!(loses("with functions") && loses("unknown"));
}

#[test]
fn accounts_are_triggered_only_when_a_state_changes() {
    let sets = SetRegistry::default();
    sets.want(&account("alice"), &[wanted("s")]);
    assert!(sets.set_state(&key(), "s", ready()).is_some());
    assert_eq!(sets.set_state(&key(), "s", ready()), None);
}

#[test]
fn a_leftover_is_unused_until_somebody_wants_it() {
    let sets = SetRegistry::default();
    sets.add_leftover(&key(), "s".into(), "uid", false);
    assert!(sets.unused(&key()).len() == 1 && sets.kept(&key()).is_empty() && !sets.is_empty(&key()));
    sets.want(&account("alice"), &[wanted("s")]);
    sets.add_leftover(&key(), "s".into(), "uid", false);
    assert!(sets.unused(&key()).is_empty());
}
