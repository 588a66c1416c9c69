//! The password of an account: which one it is, and when another one is due.
//!
//! Passwords are numbered. The number is next to the password in the Secret of each session, and in the ownership
//! record on the server, which is written in one transaction with the verifier. So it can be determined later which of
//! the two is newer: after a crash between two writes, and after the server has lost its last changes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rolecall_engine::account::Credential;
use rolecall_engine::{Desired, Observed, Plan, Want, plan};
use rolecall_pki::credentials::password::verifier;
use secrecy::{ExposeSecret, SecretString};

use super::decide::AfterEnd;
use super::session::Session;
use crate::model::{AccountKey, ObjectKey};

/// Below this, two numbers may belong to the same place in the order: so two passwords never have the same number.
const CHANCE: u64 = 1 << 20;

/// A password of an account.
#[derive(Clone, Debug)]
pub struct AccountPassword {
    /// What users log in with.
    pub text: SecretString,
    /// Its number; 0 where a previous operator process did not number it.
    pub generation: u64,
}

/// The password of an account in one attempt.
#[derive(Clone, Debug, Default)]
pub(super) enum Password {
    /// There is none, or it does not matter.
    #[default]
    Unchanged,
    /// The one that the sessions have.
    Known(AccountPassword),
    /// One that they will get.
    New(AccountPassword),
}

/// The passwords that live sessions have.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownPasswords {
    /// The one that all of them have.
    pub(super) common: Option<AccountPassword>,
    /// The highest number that one of them has.
    pub(super) highest: u64,
}

impl AccountPassword {
    /// Is it the same password, with the same number?
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.generation == other.generation && self.text.expose_secret() == other.text.expose_secret()
    }
}

impl KnownPasswords {
    /// Those that the sessions were found to have, one each.
    pub(super) fn of(found: impl IntoIterator<Item = AccountPassword>) -> Self {
        let (mut last, mut agree, mut highest) = (None::<AccountPassword>, true, 0);
        for password in found {
            agree &= last.as_ref().is_none_or(|last| last.is_same(&password));
            highest = highest.max(password.generation);
            last = Some(password);
        }
        Self { common: last.filter(|_| agree), highest }
    }

    /// The one that the operator knows that all of them have.
    pub(super) fn all_have(password: AccountPassword) -> Self {
        Self { highest: password.generation, common: Some(password) }
    }
}

impl Password {
    pub(super) fn get(&self) -> Option<&AccountPassword> {
        match self {
            Self::Unchanged => None,
            Self::Known(password) | Self::New(password) => Some(password),
        }
    }

    /// What was done where the server had lost it.
    pub(super) fn restored(&self) -> Option<&'static str> {
        match self {
            Self::Unchanged => None,
            Self::Known(_) => Some("it was stored again, and works as before"),
            Self::New(_) => Some("another one is in the session's Secret"),
        }
    }
}

/// What has to be done about a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The one that is known stays, and is stored again where the server has lost it.
    Keep,
    /// The one that is known stays, and gets a number.
    Number,
    /// Another one is made.
    Change,
}

/// `known`: the number of the one that all sessions have; `recorded`: the one in the server's record.
fn due(known: Option<u64>, recorded: u64, somebody_leaves: bool) -> Due {
    match known {
        _ if somebody_leaves => Due::Change,
        None => Due::Change,
        Some(0) if recorded == 0 => Due::Number,
        // The sessions did not get the latest one: a session that ended may know the older one.
        Some(known) if known < recorded => Due::Change,
        Some(_) => Due::Keep,
    }
}

/// The number of the next password, after all those that are in use.
fn next(highest: u64) -> u64 {
    (highest / CHANCE + 1) * CHANCE + rand::random_range(0..CHANCE)
}

/// Which password the account has, by what the server shows of it. `generate` makes another one where one is due.
///
/// # Errors
///
/// Those of `generate`.
pub(super) fn choose<E>(
    sessions: &[Session],
    desired: &Desired,
    observed: &Observed,
    known: KnownPasswords,
    generate: impl FnOnce() -> Result<SecretString, E>,
) -> Result<Password, E> {
    let owner = observed.account.as_ref().and_then(|account| account.owner.as_ref());
    let owner = owner.filter(|owner| owner.uid == desired.owner.uid);
    let recorded = owner.map_or(0, |owner| owner.password_generation);
    let one_leaves = sessions.iter().any(may_know_password) || !sessions.iter().any(Session::is_live);
    let KnownPasswords { common, highest } = known;
    let generation = || next(highest.max(recorded));
    match (due(common.as_ref().map(|known| known.generation), recorded, one_leaves), common) {
        (Due::Keep, Some(known)) => Ok(Password::Known(known)),
        (Due::Number, Some(known)) => {
            Ok(Password::New(AccountPassword { generation: generation(), ..known }))
        }
        _ => Ok(Password::New(AccountPassword { text: generate()?, generation: generation() })),
    }
}

/// Does a session that ends know the password? Not where a start failed before anything was issued to it: it is
/// retried, and would change the password each time.
fn may_know_password(session: &Session) -> bool {
    let failed = session.end().is_some_and(|end| matches!(end.then, AfterEnd::Retry(_)));
    session.is_ending() && (!failed || session.issued.is_some())
}

/// With this password: it is stored where the server lacks it.
pub(super) fn with_password(mut desired: Desired, observed: &Observed, password: &Password) -> Desired {
    let Some(wanted) = password.get() else { return desired };
    desired.owner.password_generation = wanted.generation;
    // Not every server records which password it has.
    let is_due = matches!(password, Password::New(_)) || plan::lacks_password(&desired, observed);
    if is_due && let Want::Enabled(enabled) = &mut desired.want {
        let set = Some(verifier(observed.dialect, &desired.account, &wanted.text));
        enabled.credential = Credential::Password { set };
    }
    desired
}

/// Does the server show that it had lost the password of live sessions?
pub(super) fn was_lost(plan: &Plan, observed: &Observed, password: &Password) -> bool {
    match (plan, password) {
        // An account with live sessions is created again.
        (Plan::Activate(plan), Password::Known(_)) => plan.verifier.is_some(),
        (Plan::Adjust(plan), Password::Known(_)) => plan.verifier.is_some(),
        // Its record is ahead of the sessions: they did not get the latest one.
        (Plan::Adjust(_), Password::New(new)) => {
            let owner = observed.account.as_ref().and_then(|account| account.owner.as_ref());
            owner.is_some_and(|owner| new.generation < owner.password_generation)
        }
        _ => false,
    }
}

/// The known passwords of accounts. They can be read again from the Secrets.
#[derive(Debug, Default)]
pub struct PasswordStore(Mutex<HashMap<AccountKey, AccountPassword>>);

impl PasswordStore {
    /// The password that an account has now, when it is known.
    pub fn get(&self, key: &AccountKey) -> Option<AccountPassword> {
        self.locked().get(key).cloned()
    }

    /// Keeps or forgets the password of an account.
    pub fn set(&self, key: &AccountKey, password: Option<AccountPassword>) {
        match password {
            Some(password) => self.locked().insert(key.clone(), password),
            None => self.locked().remove(key),
        };
    }

    /// Forgets those of a server that is gone.
    pub fn forget_server(&self, admin: &ObjectKey) {
        self.locked().retain(|key, _| key.admin != *admin);
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn locked(&self) -> MutexGuard<'_, HashMap<AccountKey, AccountPassword>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rolecall_engine::account::Enabled;
    use rolecall_engine::{Account, AccountName, Owner};

    use super::super::decide::Setback;
    use super::super::issued::Issued;
    use super::super::session::samples::{ending, live, starting};
    use super::*;
    use crate::model::Blocker;

    #[test]
    fn a_password_that_the_server_lost_is_stored_again_and_one_that_sessions_missed_is_changed() {
        let (older, newer) = (next(0), next(next(0)));
        assert!(older < newer && older > 0);
        assert_eq!(due(Some(newer), newer, false), Due::Keep);
        assert_eq!(due(Some(newer), older, false), Due::Keep, "a failover lost the newer one");
        assert_eq!(due(Some(newer), 0, false), Due::Keep, "the account was made anew, or its record is gone");
        assert_eq!(due(Some(older), newer, false), Due::Change, "who left knows the older one");
        assert_eq!(due(None, newer, false), Due::Change, "they do not agree, or there is no Secret");
        assert_eq!(due(Some(newer), newer, true), Due::Change);
        assert_eq!(due(Some(0), 0, false), Due::Number, "a previous operator process did not number it");
        assert_eq!(due(Some(0), newer, false), Due::Change);
    }

    #[test]
    fn numbers_follow_one_another_and_do_not_repeat() {
        let mut before = 0;
        for _ in 0..100 {
            let number = next(before);
            assert!(number > before);
            before = number;
        }
        // Two that are made from the same state, neither of which knows of the other.
        assert_ne!((next(before), next(before), next(before)), (next(before), next(before), next(before)));
    }

    fn password(text: &str, generation: u64) -> AccountPassword {
        AccountPassword { text: text.into(), generation }
    }

    fn owner(password_generation: u64) -> Owner {
        Owner { uid: "us".into(), password_generation, ..Owner::default() }
    }

    fn desired(in_use: bool) -> Desired {
        let credential = Credential::Password { set: None };
        let want = Want::Enabled(Enabled { in_use, credential, ..Enabled::default() });
        let account = AccountName::new("alice").unwrap();
        Desired { account, owner: owner(0), session_database: None, want }
    }

    fn observed(recorded: u64) -> Observed {
        let account =
            Account { managed: true, enabled: true, owner: Some(owner(recorded)), ..Account::default() };
        Observed { account: Some(account), ..Observed::default() }
    }

    fn chosen(sessions: &[Session], known: KnownPasswords, recorded: u64) -> Password {
        let generate = || Ok::<_, ()>("fresh".into());
        choose(sessions, &desired(true), &observed(recorded), known, generate).unwrap()
    }

    fn is_new(password: &Password) -> bool {
        matches!(password, Password::New(new) if new.text.expose_secret() == "fresh")
    }

    #[test]
    fn live_sessions_keep_their_password_until_one_of_them_ends() {
        let known = || KnownPasswords::all_have(password("known", 7));
        assert!(matches!(chosen(&[live("a", &[])], known(), 7), Password::Known(_)));
        assert!(matches!(chosen(&[live("a", &[]), starting("b", &[])], known(), 7), Password::Known(_)));
        assert!(is_new(&chosen(&[live("a", &[]), ending("b")], known(), 7)));
        assert!(is_new(&chosen(&[starting("a", &[])], known(), 7)), "nobody has it any more");
    }

    #[test]
    fn a_start_that_failed_before_it_got_the_password_does_not_change_it() {
        let known = || KnownPasswords::all_have(password("known", 7));
        let mut failed = starting("b", &[]);
        failed.mark((*failed.object).clone());
        failed.set_back(Setback::Failed(Blocker::passing("R", "")));
        assert!(matches!(chosen(&[live("a", &[]), failed.clone()], known(), 7), Password::Known(_)));
        failed.issued = Some(Issued::default());
        assert!(is_new(&chosen(&[live("a", &[]), failed], known(), 7)));
    }

    #[test]
    fn sessions_with_different_passwords_get_a_new_one_numbered_after_all_of_them() {
        let known = KnownPasswords::of([password("one", 7), password("two", 5 * CHANCE)]);
        assert!(known.common.is_none());
        let Password::New(new) = chosen(&[live("a", &[]), live("b", &[])], known, 0) else { panic!() };
        assert!(new.generation > 5 * CHANCE);
        assert!(KnownPasswords::of([password("one", 7), password("one", 7)]).common.is_some());
    }

    #[test]
    fn a_password_is_stored_only_where_the_server_lacks_it() {
        let stored = |in_use, recorded| {
            let password = Password::Known(password("known", 7));
            match with_password(desired(in_use), &observed(recorded), &password).want {
                Want::Enabled(Enabled { credential: Credential::Password { set }, .. }) => set.is_some(),
                want => panic!("{want:?}"),
            }
        };
        assert!(!stored(true, 7));
        assert!(stored(true, 6), "its record is of another one");
        assert!(stored(false, 7), "it is taken into use anew");
    }

    #[test]
    fn what_is_kept_of_a_server_goes_with_it() {
        let store = PasswordStore::default();
        let admin = ObjectKey { namespace: "shop".into(), name: "orders".into() };
        let key = AccountKey { admin: admin.clone(), username: "alice".into() };
        let elsewhere = AccountKey { admin: admin.sibling("elsewhere"), username: "alice".into() };
        for key in [&key, &elsewhere] {
            store.set(key, Some(password("secret", 1)));
        }
        store.forget_server(&admin);
        assert!(store.get(&key).is_none() && store.get(&elsewhere).is_some());
    }
}
