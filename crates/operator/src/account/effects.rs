//! What a reconcile asks for besides the results of its sessions: other keys to reconcile, what is known from now on of
//! the server and of the account. The steps say it as data; it takes effect here and nowhere else.

use std::collections::BTreeSet;

use rolecall_engine::account::{Credential, Enabled};
use rolecall_engine::{Class, Dialect, Error, Owner};

use super::passwords::{AccountPassword, Password};
use crate::Shared;
use crate::model::{AccountKey, Blocker, DatabaseKey, Priority, ReconcileKey};
use crate::sets::WantedSets;

/// See the module.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// Another key is reconciled.
    Trigger(ReconcileKey, Priority),
    /// The server does not answer: its accounts wait.
    ServerUnreachable(Blocker),
    /// The password that the account has; `None`: nobody gets it again.
    Password(Option<AccountPassword>),
    /// How the live account was left.
    Applied {
        memberships: BTreeSet<String>,
        /// The password in its record; `None` where there are no passwords.
        password_generation: Option<u64>,
    },
    /// A change of the account failed, and may have been made in part.
    Unsure,
    /// The account is not live any more.
    NotLive,
}

/// Lets them take effect.
pub(super) fn carry_out(shared: &Shared, key: &AccountKey, effects: impl IntoIterator<Item = Effect>) {
    for effect in effects {
        match effect {
            Effect::Trigger(other, priority) => shared.queue.add(other, priority),
            Effect::ServerUnreachable(blocker) => shared.servers.mark_unreachable(&key.admin, blocker),
            Effect::Password(password) => shared.passwords.set(key, password),
            Effect::Applied { memberships, password_generation } => {
                shared.applied.set(key, memberships, password_generation);
            }
            Effect::Unsure => shared.applied.set_unsure(key),
            Effect::NotLive => shared.applied.remove(key),
        }
    }
}

/// Permission sets are wanted: the databases that have to be reconciled for that. `without_listener`: those whose changes
/// nobody announced meanwhile.
pub(super) fn of_wanted_sets(
    without_listener: BTreeSet<DatabaseKey>,
    wanted: &mut WantedSets,
) -> Vec<Effect> {
    let unannounced = without_listener.into_iter().map(|database| (database, Priority::Normal));
    let databases = unannounced.chain(std::mem::take(&mut wanted.to_reconcile));
    databases.map(|(database, priority)| of_set(database, priority)).collect()
}

/// The role of a permission set is missing on the server.
pub(super) fn of_missing_set(database: DatabaseKey) -> Effect {
    of_set(database, Priority::Urgent)
}

fn of_set(database: DatabaseKey, priority: Priority) -> Effect {
    Effect::Trigger(ReconcileKey::PermissionSets(database), priority)
}

/// The server failed or refused.
pub(super) fn of_failure(key: &AccountKey, error: &Error) -> Vec<Effect> {
    if error.class != Class::Unreachable {
        return Vec::new();
    }
    vec![Effect::ServerUnreachable(Blocker::from(error)), of_server(key)]
}

/// A plan for an enabled account was applied. `was_lost`: the server had lost the password of a live account.
pub(super) fn of_applied(key: &AccountKey, password: &Password, was_lost: bool) -> Vec<Effect> {
    let stored = match password {
        Password::New(new) => Some(Effect::Password(Some(new.clone()))),
        Password::Known(_) | Password::Unchanged => None,
    };
    // What else it lost is found in its inventory.
    stored.into_iter().chain(was_lost.then(|| of_server(key))).collect()
}

/// The server showed the account enabled, as it should be.
pub(super) fn of_verified(enabled: &Enabled, record: &Owner, dialect: Dialect) -> Effect {
    let is_recorded =
        matches!(enabled.credential, Credential::Password { .. }) && dialect.records_passwords();
    Effect::Applied {
        memberships: enabled.roles.keys().chain(&enabled.sets).cloned().collect(),
        password_generation: is_recorded.then_some(record.password_generation),
    }
}

/// The server showed the account ended.
pub(super) fn of_end() -> [Effect; 2] {
    [Effect::Password(None), Effect::NotLive]
}

fn of_server(key: &AccountKey) -> Effect {
    Effect::Trigger(ReconcileKey::Admin(key.admin.clone()), Priority::Normal)
}

#[cfg(test)]
mod tests {
    use rolecall_engine::Reason;
    use secrecy::SecretString;

    use super::*;
    use crate::model::ObjectKey;

    fn key() -> AccountKey {
        let admin = ObjectKey { namespace: "shop".into(), name: "orders".into() };
        AccountKey { admin, username: "alice".into() }
    }

    fn text(effects: &[Effect]) -> Vec<String> {
        let text = |effect: &Effect| match effect {
            Effect::Trigger(key, priority) => format!("{key} {priority:?}"),
            Effect::ServerUnreachable(blocker) => format!("unreachable: {}", blocker.reason),
            Effect::Password(password) => format!("password {:?}", password.as_ref().map(|p| p.generation)),
            Effect::Applied { memberships, password_generation } => {
                format!("applied {memberships:?} {password_generation:?}")
            }
            Effect::Unsure => "unsure".to_owned(),
            Effect::NotLive => "not live".to_owned(),
        };
        effects.iter().map(text).collect()
    }

    #[test]
    fn only_a_server_that_cannot_be_reached_makes_its_other_accounts_wait() {
        let failed = |class| {
            let error = Error {
                class,
                reason: Reason::DatabaseUnreachable,
                attempted: String::new(),
                code: String::new(),
                detail: String::new(),
                remedy: String::new(),
            };
            text(&of_failure(&key(), &error))
        };
        assert_eq!(
            failed(Class::Unreachable),
            ["unreachable: DatabaseUnreachable", "admin shop/orders Normal"]
        );
        for class in [Class::Transient, Class::Refused, Class::Invalid] {
            assert!(failed(class).is_empty(), "{class:?}");
        }
    }

    #[test]
    fn a_new_password_is_kept_and_a_lost_one_makes_the_server_be_read() {
        let password = || AccountPassword { text: SecretString::from("secret"), generation: 7 };
        let applied = |password, was_lost| text(&of_applied(&key(), &password, was_lost));
        assert!(applied(Password::Unchanged, false).is_empty());
        assert!(applied(Password::Known(password()), false).is_empty());
        assert_eq!(applied(Password::New(password()), false), ["password Some(7)"]);
        assert_eq!(
            applied(Password::New(password()), true),
            ["password Some(7)", "admin shop/orders Normal"]
        );
        assert_eq!(text(&of_end()), ["password None", "not live"]);
    }

    #[test]
    fn a_set_that_is_wanted_has_its_database_reconciled() {
        let database = |name: &str| DatabaseKey { admin: key().admin, database: name.into() };
        let mut wanted = WantedSets::default();
        wanted.to_reconcile.insert(database("app"), Priority::Urgent);
        let effects = of_wanted_sets([database("reports")].into(), &mut wanted);
        assert_eq!(
            text(&effects),
            [
                "permission sets of reports on shop/orders Normal",
                "permission sets of app on shop/orders Urgent"
            ]
        );
    }
}
