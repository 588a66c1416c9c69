use rolecall_api::names::USERNAME_ANNOTATION;
use rolecall_api::{
    DatabaseAdminSpec, DatabaseSessionSpec, DatabaseSessionStatus, DatabaseUserSpec, ProvisioningRoleSpec,
    SessionPhase, Time,
};

use super::*;
use crate::model::{Priority, ReconcileKey, Triggers};

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

fn triggered(triggers: &Triggers) -> BTreeSet<ReconcileKey> {
    triggers.iter().map(|(work, _)| work.clone()).collect()
}

fn apply<K: Cached>(cache: &mut Cache, object: K) -> BTreeSet<ReconcileKey> {
    triggered(&K::apply(cache, object))
}

#[test]
fn a_session_finds_its_account_in_whatever_order_objects_come() {
    let mut cache = Cache::new("here");
    assert!(apply(&mut cache, session("s", "alice")).contains(&ReconcileKey::Session(key("s"))));
    let triggers = apply(&mut cache, user("alice", Some("alice@example.com"), &[]));
    assert!(triggers.contains(&ReconcileKey::Account(account("alice@example.com"))));
    assert_eq!(cache.sessions_of_account(&account("alice@example.com")).len(), 1);
}

#[test]
fn a_session_stays_with_the_account_that_was_recorded_when_its_user_goes() {
    let mut cache = Cache::new("here");
    apply(&mut cache, user("alice", None, &[]));
    let mut recorded = session("s", "alice");
    recorded.metadata.annotations = Some([(USERNAME_ANNOTATION.to_owned(), "alice".to_owned())].into());
    apply(&mut cache, recorded);
    let triggers = triggered(&DatabaseUser::forget(&mut cache, &key("alice")));
    assert!(triggers.contains(&ReconcileKey::Account(account("alice"))));
    assert_eq!(cache.sessions_of_account(&account("alice")).len(), 1);
}

#[test]
fn a_changed_role_triggers_the_accounts_of_its_users() {
    let mut cache = Cache::new("here");
    apply(&mut cache, admin());
    apply(&mut cache, user("alice", None, &["reader"]));
    apply(&mut cache, user("bob", None, &["writer"]));
    apply(&mut cache, session("a", "alice"));
    apply(&mut cache, session("b", "bob"));
    let role = stamped(ProvisioningRole::new("reader", ProvisioningRoleSpec::default()), 2);
    let triggers = apply(&mut cache, role);
    assert!(
        triggers.contains(&ReconcileKey::Account(account("alice")))
            && triggers.contains(&ReconcileKey::User(key("alice")))
    );
    assert!(!triggers.contains(&ReconcileKey::Account(account("bob"))));
    assert_eq!(cache.users_with_role(&key("reader")), 1);
}

#[test]
fn a_changed_database_triggers_every_account_on_it() {
    let mut cache = Cache::new("here");
    apply(&mut cache, user("alice", None, &[]));
    apply(&mut cache, session("a", "alice"));
    assert!(apply(&mut cache, admin()).contains(&ReconcileKey::Account(account("alice"))));
    let mut relabelled = admin();
    relabelled.metadata.resource_version = Some("9".into());
    relabelled.metadata.labels = Some([("env".to_owned(), "prod".to_owned())].into());
    assert!(apply(&mut cache, relabelled).contains(&ReconcileKey::Account(account("alice"))));
}

#[test]
fn what_the_operator_writes_itself_triggers_nothing() {
    let mut cache = Cache::new("here");
    apply(&mut cache, user("alice", None, &[]));
    apply(&mut cache, session("a", "alice"));
    let mut written = session("a", "alice");
    written.metadata.resource_version = Some("2".into());
    written.metadata.finalizers = Some(vec!["rolecall.dev/account".into()]);
    assert_eq!(apply(&mut cache, written), BTreeSet::new());
    assert_eq!(cache.session(&key("a")).unwrap().finalizers().len(), 1, "and is cached nevertheless");
}

#[test]
fn a_database_admin_that_cannot_be_read_is_not_missing() {
    let mut cache = Cache::new("here");
    apply(&mut cache, admin());
    DatabaseAdmin::unreadable(&mut cache, &key("orders"));
    assert!(
        cache.admin(&key("orders")).is_some() && !cache.is_unreadable(&key("orders")),
        "it was read before"
    );

    let mut started = Cache::new("here");
    apply(&mut started, user("alice", None, &[]));
    apply(&mut started, session("a", "alice"));
    DatabaseAdmin::unreadable(&mut started, &key("orders"));
    assert!(started.is_unreadable(&key("orders")));
    let triggers = triggered(&DatabaseAdmin::forget(&mut started, &key("orders")));
    assert!(triggers.contains(&ReconcileKey::Account(account("alice"))), "now it is missing");
    assert!(!started.is_unreadable(&key("orders")));
}

#[test]
fn a_deletion_is_urgent() {
    let mut cache = Cache::new("here");
    apply(&mut cache, user("alice", None, &[]));
    apply(&mut cache, session("a", "alice"));
    let mut deleted = session("a", "alice");
    deleted.metadata.resource_version = Some("2".into());
    deleted.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::from_second(2_000).unwrap()));
    let triggers = DatabaseSession::apply(&mut cache, deleted);
    assert!(triggers.iter().all(|(_, priority)| *priority == Priority::Urgent) && !triggers.is_empty());
}

/// How soon the account of the session `a` is reconciled.
fn priority(triggers: &Triggers) -> Priority {
    let of_account = triggers.iter().filter(|(work, _)| *work == ReconcileKey::Account(account("alice")));
    of_account.map(|(_, priority)| *priority).max().unwrap()
}

/// A session of alice that is in this phase.
fn in_phase(phase: SessionPhase, expires_at: Option<jiff::Timestamp>) -> DatabaseSession {
    let mut session = session("a", "alice");
    session.status = Some(DatabaseSessionStatus {
        phase: Some(phase),
        username: Some("alice".into()),
        expires_at: expires_at.map(Time),
        ..DatabaseSessionStatus::default()
    });
    session
}

#[test]
fn what_may_take_access_away_is_urgent_and_what_cannot_is_not() {
    let role = |version| stamped(ProvisioningRole::new("reader", ProvisioningRoleSpec::default()), version);
    for (phase, wanted) in
        [(SessionPhase::Active, Priority::Urgent), (SessionPhase::Pending, Priority::Normal)]
    {
        let mut cache = Cache::new("here");
        apply(&mut cache, in_phase(phase, None));
        // What is listed first has changed nothing.
        assert_eq!(
            priority(&DatabaseUser::apply(&mut cache, user("alice", None, &["reader"]))),
            Priority::Normal
        );
        assert_eq!(priority(&ProvisioningRole::apply(&mut cache, role(1))), Priority::Normal);
        assert_eq!(priority(&DatabaseAdmin::apply(&mut cache, admin())), Priority::Normal);

        let changed = |version: u64| (Some(version.to_string()), Some(9));
        let mut suspended = user("alice", None, &["reader"]);
        suspended.spec.suspend = true;
        (suspended.metadata.resource_version, suspended.metadata.generation) = changed(2);
        assert_eq!(priority(&DatabaseUser::apply(&mut cache, suspended)), wanted);
        let mut other = role(2);
        (other.metadata.resource_version, other.metadata.generation) = changed(3);
        assert_eq!(priority(&ProvisioningRole::apply(&mut cache, other)), wanted);
        let mut relabelled = admin();
        relabelled.metadata.labels = Some([("env".to_owned(), "prod".to_owned())].into());
        (relabelled.metadata.resource_version, relabelled.metadata.generation) = changed(4);
        assert_eq!(priority(&DatabaseAdmin::apply(&mut cache, relabelled)), wanted);
        let mut shortened = in_phase(phase, None);
        (shortened.metadata.resource_version, shortened.metadata.generation) = changed(5);
        assert_eq!(priority(&DatabaseSession::apply(&mut cache, shortened)), wanted);
        assert_eq!(priority(&ProvisioningRole::forget(&mut cache, &key("reader"))), wanted);
        assert_eq!(priority(&DatabaseUser::forget(&mut cache, &key("alice"))), wanted);
    }
}

#[test]
fn what_is_overdue_at_the_start_is_urgent() {
    let now = jiff::Timestamp::now();
    let (past, future) =
        (now - jiff::SignedDuration::from_secs(1), now + jiff::SignedDuration::from_secs(60));
    for (session, wanted) in [
        (in_phase(SessionPhase::Active, Some(past)), Priority::Urgent),
        (in_phase(SessionPhase::Ending, None), Priority::Urgent),
        (in_phase(SessionPhase::Active, Some(future)), Priority::Normal),
        (in_phase(SessionPhase::Ended, Some(past)), Priority::Normal),
    ] {
        let mut cache = Cache::new("here");
        cache.now = now;
        assert_eq!(priority(&DatabaseSession::apply(&mut cache, session.clone())), wanted, "{session:?}");
    }
}

#[test]
fn a_session_with_access_that_lost_its_finalizer_is_reconciled() {
    let mut cache = Cache::new("here");
    let mut marked = in_phase(SessionPhase::Active, None);
    marked.metadata.finalizers = Some(vec!["rolecall.dev/account".into()]);
    marked.metadata.annotations = Some([("rolecall.dev/username".into(), "alice".into())].into());
    apply(&mut cache, marked.clone());
    let mut unmarked = in_phase(SessionPhase::Active, None);
    unmarked.metadata.resource_version = Some("2".into());
    assert_eq!(apply(&mut cache, unmarked), [ReconcileKey::Account(account("alice"))].into());
    // Also where that was done before it had any.
    let mut before = Cache::new("here");
    apply(&mut before, in_phase(SessionPhase::Pending, None));
    let mut unmarked = in_phase(SessionPhase::Active, None);
    unmarked.metadata.resource_version = Some("2".into());
    assert_eq!(apply(&mut before, unmarked), [ReconcileKey::Account(account("alice"))].into());
    // The operator itself releases what is over.
    marked.metadata.resource_version = Some("3".into());
    apply(&mut cache, marked);
    let mut over = in_phase(SessionPhase::Ended, None);
    over.metadata.resource_version = Some("4".into());
    assert!(apply(&mut cache, over).is_empty());
}

#[test]
fn a_session_whose_phase_another_operator_wrote_late_is_reconciled() {
    use SessionPhase::{Active, Ended, Ending, Pending};
    for (before, after, triggers) in [
        (Active, Pending, true),
        (Ended, Active, true),
        (Ending, Active, true),
        (Pending, Active, false),
        (Active, Ending, false),
        (Ending, Ended, false),
    ] {
        let mut cache = Cache::new("here");
        apply(&mut cache, user("alice", None, &[]));
        let marked = |phase| {
            let mut session = in_phase(phase, None);
            session.metadata.finalizers = Some(vec!["rolecall.dev/account".into()]);
            session
        };
        apply(&mut cache, marked(before));
        let mut late = marked(after);
        late.metadata.resource_version = Some("2".into());
        let triggered = apply(&mut cache, late);
        let wanted = triggers.then(|| ReconcileKey::Account(account("alice")));
        assert_eq!(triggered, wanted.into_iter().collect(), "{before:?} to {after:?}");
    }
}

#[test]
fn a_user_that_is_gone_is_reconciled_for_what_is_kept_of_it() {
    let mut cache = Cache::new("here");
    apply(&mut cache, user("alice", None, &[]));
    assert!(
        triggered(&DatabaseUser::forget(&mut cache, &key("alice")))
            .contains(&ReconcileKey::User(key("alice")))
    );
}

#[test]
fn the_oldest_user_owns_a_name_and_the_next_one_takes_it_over() {
    let mut cache = Cache::new("here");
    let older = user("alice", Some("al"), &[]);
    let mut younger = user("albert", Some("al"), &[]);
    younger.metadata.creation_timestamp = Some(Time(jiff::Timestamp::from_second(2_000).unwrap()));
    apply(&mut cache, older);
    apply(&mut cache, younger.clone());
    assert_eq!(cache.username_taken_by(&younger).unwrap().name_any(), "alice");
    let triggers = triggered(&DatabaseUser::forget(&mut cache, &key("alice")));
    assert!(triggers.contains(&ReconcileKey::User(key("albert"))));
    assert!(cache.username_taken_by(&younger).is_none());
}

#[test]
fn accounts_that_a_status_calls_usable_are_found_by_their_server() {
    use rolecall_api::{AccountPhase, AccountStatus, DatabaseUserStatus};
    let mut cache = Cache::new("");
    let reporting = |phase: AccountPhase, version| {
        let account = |database: &str, phase| AccountStatus {
            database: database.into(),
            username: "alice@example.com".into(),
            phase,
            ..AccountStatus::default()
        };
        let accounts = vec![account("orders", phase), account("stock", AccountPhase::Disabled)];
        let mut user = stamped(user("alice", None, &[]), version);
        user.status = Some(DatabaseUserStatus { accounts, ..DatabaseUserStatus::default() });
        user
    };
    let found = |cache: &Cache, server: &str| cache.reported_usable(&key(server)).collect::<Vec<_>>();
    apply(&mut cache, reporting(AccountPhase::Enabled, 1));
    assert_eq!(found(&cache, "orders"), ["alice@example.com".into()]);
    assert!(found(&cache, "stock").is_empty());
    apply(&mut cache, reporting(AccountPhase::Disabled, 2));
    assert!(found(&cache, "orders").is_empty());
    apply(&mut cache, reporting(AccountPhase::Orphaned, 3));
    assert_eq!(found(&cache, "orders").len(), 1);
    DatabaseUser::forget(&mut cache, &key("alice"));
    assert!(found(&cache, "orders").is_empty());
    assert!(cache.reported_usable.is_empty(), "nothing is kept of a user that is gone");
}
