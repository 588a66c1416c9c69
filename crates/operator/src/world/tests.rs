use rolecall_api::{DatabaseAdminSpec, DatabaseSessionSpec, DatabaseUserSpec, ProvisioningRoleSpec, Time};

use super::*;
use crate::queue::Lane;

fn stamped<K: kube::Resource>(mut object: K, version: u64) -> K {
    let meta = object.meta_mut();
    meta.namespace = Some("shop".into());
    meta.uid = Some(format!("uid-{}", meta.name.as_deref().unwrap_or_default()));
    meta.resource_version = Some(version.to_string());
    meta.generation = Some(1);
    meta.creation_timestamp = Some(Time(jiff::Timestamp::from_second(1_000).unwrap()));
    object
}

fn user(name: &str, username: Option<&str>, roles: &[&str]) -> DatabaseUser {
    let spec = DatabaseUserSpec {
        username: username.map(str::to_owned),
        roles: roles.iter().map(|&role| role.into()).collect(),
        ..DatabaseUserSpec::default()
    };
    stamped(DatabaseUser::new(name, spec), 1)
}

fn session(name: &str, user: &str) -> DatabaseSession {
    let spec = DatabaseSessionSpec {
        user: user.into(),
        database: "orders".into(),
        ..DatabaseSessionSpec::default()
    };
    stamped(DatabaseSession::new(name, spec), 1)
}

fn admin() -> DatabaseAdmin {
    let spec: DatabaseAdminSpec =
        serde_json::from_value(serde_json::json!({"protocol": "postgres", "uri": "db:5432", "auth": {}}))
            .unwrap();
    stamped(DatabaseAdmin::new("orders", spec), 1)
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "shop".into(), name: name.into() }
}

fn account(username: &str) -> AccountKey {
    AccountKey { admin: key("orders"), username: username.into() }
}

fn woken(wakes: &Wakes) -> BTreeSet<Work> {
    wakes.iter().map(|(work, _)| work.clone()).collect()
}

fn apply<K: Held>(world: &mut World, object: K) -> BTreeSet<Work> {
    woken(&K::apply(world, object))
}

#[test]
fn a_session_finds_its_account_in_whatever_order_objects_come() {
    let mut world = World::new("here");
    assert!(apply(&mut world, session("s", "alice")).contains(&Work::Unbound(key("s"))));
    let wakes = apply(&mut world, user("alice", Some("alice@example.com"), &[]));
    assert!(wakes.contains(&Work::Account(account("alice@example.com"))));
    assert_eq!(world.sessions_of_account(&account("alice@example.com")).len(), 1);
}

#[test]
fn a_session_stays_with_the_account_that_was_recorded_when_its_user_goes() {
    let mut world = World::new("here");
    apply(&mut world, user("alice", None, &[]));
    let mut recorded = session("s", "alice");
    recorded.metadata.annotations = Some([(USERNAME_ANNOTATION.to_owned(), "alice".to_owned())].into());
    apply(&mut world, recorded);
    let wakes = woken(&DatabaseUser::forget(&mut world, &key("alice")));
    assert!(wakes.contains(&Work::Account(account("alice"))));
    assert_eq!(world.sessions_of_account(&account("alice")).len(), 1);
}

#[test]
fn a_changed_role_wakes_the_accounts_of_its_users() {
    let mut world = World::new("here");
    apply(&mut world, admin());
    apply(&mut world, user("alice", None, &["reader"]));
    apply(&mut world, user("bob", None, &["writer"]));
    apply(&mut world, session("a", "alice"));
    apply(&mut world, session("b", "bob"));
    let role = stamped(ProvisioningRole::new("reader", ProvisioningRoleSpec::default()), 2);
    let wakes = apply(&mut world, role);
    assert!(wakes.contains(&Work::Account(account("alice"))) && wakes.contains(&Work::User(key("alice"))));
    assert!(!wakes.contains(&Work::Account(account("bob"))));
    assert_eq!(world.users_with_role(&key("reader")), 1);
}

#[test]
fn a_changed_database_wakes_every_account_on_it() {
    let mut world = World::new("here");
    apply(&mut world, user("alice", None, &[]));
    apply(&mut world, session("a", "alice"));
    assert!(apply(&mut world, admin()).contains(&Work::Account(account("alice"))));
    let mut relabelled = admin();
    relabelled.metadata.resource_version = Some("9".into());
    relabelled.metadata.labels = Some([("env".to_owned(), "prod".to_owned())].into());
    assert!(apply(&mut world, relabelled).contains(&Work::Account(account("alice"))));
}

#[test]
fn what_the_operator_writes_itself_wakes_nobody() {
    let mut world = World::new("here");
    apply(&mut world, user("alice", None, &[]));
    apply(&mut world, session("a", "alice"));
    let mut written = session("a", "alice");
    written.metadata.resource_version = Some("2".into());
    written.metadata.finalizers = Some(vec!["rolecall.dev/account".into()]);
    assert_eq!(apply(&mut world, written), BTreeSet::new());
    assert_eq!(world.session(&key("a")).unwrap().finalizers().len(), 1, "and is held all the same");
}

#[test]
fn an_event_that_is_older_than_what_is_held_changes_nothing() {
    let mut world = World::new("here");
    let mut newer = session("a", "alice");
    newer.metadata.resource_version = Some("10".into());
    newer.metadata.finalizers = Some(vec!["rolecall.dev/account".into()]);
    apply(&mut world, newer);
    apply(&mut world, session("a", "alice"));
    assert_eq!(world.session(&key("a")).unwrap().finalizers().len(), 1);
}

#[test]
fn a_database_admin_that_cannot_be_read_is_not_missing() {
    let mut world = World::new("here");
    apply(&mut world, admin());
    DatabaseAdmin::unreadable(&mut world, &key("orders"));
    assert!(
        world.admin(&key("orders")).is_some() && !world.is_unreadable(&key("orders")),
        "it was read before"
    );

    let mut started = World::new("here");
    apply(&mut started, user("alice", None, &[]));
    apply(&mut started, session("a", "alice"));
    DatabaseAdmin::unreadable(&mut started, &key("orders"));
    assert!(started.is_unreadable(&key("orders")));
    let wakes = woken(&DatabaseAdmin::forget(&mut started, &key("orders")));
    assert!(wakes.contains(&Work::Account(account("alice"))), "now it is missing");
    assert!(!started.is_unreadable(&key("orders")));
}

#[test]
fn a_deletion_is_urgent() {
    let mut world = World::new("here");
    apply(&mut world, user("alice", None, &[]));
    apply(&mut world, session("a", "alice"));
    let mut deleted = session("a", "alice");
    deleted.metadata.resource_version = Some("2".into());
    deleted.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::from_second(2_000).unwrap()));
    let wakes = DatabaseSession::apply(&mut world, deleted);
    assert!(wakes.iter().all(|(_, lane)| *lane == Lane::Urgent) && !wakes.is_empty());
}

#[test]
fn the_oldest_user_holds_a_name_and_the_next_one_takes_it_over() {
    let mut world = World::new("here");
    let older = user("alice", Some("al"), &[]);
    let mut younger = user("albert", Some("al"), &[]);
    younger.metadata.creation_timestamp = Some(Time(jiff::Timestamp::from_second(2_000).unwrap()));
    apply(&mut world, older);
    apply(&mut world, younger.clone());
    assert_eq!(world.username_taken_by(&younger).unwrap().name_any(), "alice");
    let wakes = woken(&DatabaseUser::forget(&mut world, &key("alice")));
    assert!(wakes.contains(&Work::User(key("albert"))));
    assert!(world.username_taken_by(&younger).is_none());
}
