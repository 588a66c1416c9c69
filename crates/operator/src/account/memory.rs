//! What the operator keeps of accounts between two looks. All of it can be had again: from the database, from the
//! Secrets, or by making it anew.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rolecall_api::{AccountPhase, AccountStatus};
use secrecy::SecretString;

use super::credentials::Handed;
use crate::world::{AccountKey, ObjectKey};

/// See the module.
#[derive(Debug, Default)]
pub struct Memory {
    reports: Mutex<HashMap<AccountKey, Report>>,
    passwords: Mutex<HashMap<AccountKey, SecretString>>,
    handed: Mutex<HashMap<String, Handed>>,
    orphans: Mutex<HashSet<AccountKey>>,
}

/// What is told of an account in the status of its DatabaseUser.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The DatabaseUser.
    pub user: ObjectKey,
    /// The entry.
    pub account: AccountStatus,
}

impl Memory {
    /// Keeps a report; true when it says something new.
    pub fn report(&self, key: &AccountKey, report: Report) -> bool {
        let mut reports = locked(&self.reports);
        if reports.get(key) == Some(&report) {
            return false;
        }
        reports.insert(key.clone(), report);
        true
    }

    /// What was reported of an account last.
    pub fn reported(&self, key: &AccountKey) -> Option<Report> {
        locked(&self.reports).get(key).cloned()
    }

    /// The reports about a DatabaseUser.
    pub fn reports_of(&self, user: &ObjectKey) -> Vec<AccountStatus> {
        locked(&self.reports)
            .values()
            .filter(|report| report.user == *user)
            .map(|r| r.account.clone())
            .collect()
    }

    /// Forgets the reports about a DatabaseUser that is gone, but those of accounts that are still to be ended.
    pub fn forget_user(&self, user: &ObjectKey) {
        locked(&self.reports)
            .retain(|_, report| report.user != *user || report.account.phase == AccountPhase::Enabled);
    }

    /// Keeps in mind that a server showed this account of ours enabled, and no session accounted for it.
    pub fn suspect(&self, key: &AccountKey) {
        locked(&self.orphans).insert(key.clone());
    }

    /// Was it seen as an orphan? Once asked, it is forgotten.
    pub fn is_suspect(&self, key: &AccountKey) -> bool {
        locked(&self.orphans).remove(key)
    }

    /// The password that an account has now, when it is known.
    pub fn password(&self, key: &AccountKey) -> Option<SecretString> {
        locked(&self.passwords).get(key).cloned()
    }

    /// Keeps or forgets the password of an account.
    pub fn set_password(&self, key: &AccountKey, password: Option<SecretString>) {
        let mut passwords = locked(&self.passwords);
        match password {
            Some(password) => passwords.insert(key.clone(), password),
            None => passwords.remove(key),
        };
    }

    /// What a session (by uid) was handed.
    pub fn handed(&self, uid: &str) -> Option<Handed> {
        locked(&self.handed).get(uid).cloned()
    }

    /// Keeps or forgets what a session was handed.
    pub fn set_handed(&self, uid: &str, what: Option<Handed>) {
        let mut handed = locked(&self.handed);
        match what {
            Some(what) => handed.insert(uid.to_owned(), what),
            None => handed.remove(uid),
        };
    }
}

// A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
