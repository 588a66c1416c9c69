//! What the status of each DatabaseUser says of its accounts. It is kept between two reconciles; a restart finds it
//! again, in the status or with the next reconcile of each account.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rolecall_api::{AccountPhase, AccountStatus, DatabaseUser};

use crate::model::{AccountKey, ObjectKey, SmallSet};

/// What the status of its DatabaseUser says of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountReport {
    /// The DatabaseUser.
    pub user: ObjectKey,
    /// The entry.
    pub account: AccountStatus,
}

impl AccountReport {
    /// Is it the everyday one, that an access has begun or ended and nothing is wrong? Nobody acts on it, and it may be
    /// written with those that follow.
    pub fn is_routine(&self) -> bool {
        let AccountStatus { phase, message, .. } = &self.account;
        message.is_none()
            && matches!(phase, AccountPhase::Enabled | AccountPhase::Disabled | AccountPhase::Dropped)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct AccountReports(Mutex<Reports>);

#[derive(Debug, Default)]
struct Reports {
    by_account: BTreeMap<AccountKey, AccountReport>,
    of_user: HashMap<ObjectKey, SmallSet<AccountKey>>,
}

impl AccountReports {
    /// Keeps a report; true when it says something new.
    pub fn set(&self, key: &AccountKey, report: AccountReport) -> bool {
        let mut reports = self.locked();
        if reports.by_account.get(key) == Some(&report) {
            return false;
        }
        reports.forget(key);
        reports.of_user.entry(report.user.clone()).or_default().insert(key.clone());
        reports.by_account.insert(key.clone(), report);
        true
    }

    /// The last report of an account.
    pub fn get(&self, key: &AccountKey) -> Option<AccountReport> {
        self.locked().by_account.get(key).cloned()
    }

    /// The names of a server's accounts that were last reported as usable.
    pub fn usable_on(&self, admin: &ObjectKey) -> BTreeSet<Arc<str>> {
        let reports = self.locked();
        let usable = reports.of_server(admin).filter(|(_, report)| report.account.phase.is_usable());
        usable.map(|(key, _)| Arc::clone(&key.username)).collect()
    }

    /// The reports about a DatabaseUser.
    pub fn of_user(&self, user: &ObjectKey) -> Vec<AccountStatus> {
        let reports = self.locked();
        let accounts = reports.of_user.get(user).into_iter().flatten();
        accounts.filter_map(|key| Some(reports.by_account.get(key)?.account.clone())).collect()
    }

    /// Forgets the reports about a DatabaseUser that is gone, or was made anew with the name `now`; but not those of
    /// accounts that are still to be ended.
    pub fn forget_user(&self, user: &ObjectKey, now: Option<&str>) {
        let mut reports = self.locked();
        let of_user: Vec<AccountKey> = reports.of_user.get(user).into_iter().flatten().cloned().collect();
        for key in of_user {
            let is_kept = reports.by_account.get(&key).is_some_and(|AccountReport { account, .. }| {
                account.phase.is_usable() || Some(account.username.as_str()) == now
            });
            if !is_kept {
                reports.forget(&key);
            }
        }
    }

    /// Forgets the accounts of a server that is gone, except those that are still to be ended; returns whose they were.
    pub fn forget_server(&self, admin: &ObjectKey) -> BTreeSet<ObjectKey> {
        let mut reports = self.locked();
        let over: Vec<(AccountKey, ObjectKey)> = reports
            .of_server(admin)
            .filter(|(_, report)| report.account.phase != AccountPhase::Enabled)
            .map(|(key, report)| (key.clone(), report.user.clone()))
            .collect();
        over.into_iter()
            .map(|(key, user)| {
                reports.forget(&key);
                user
            })
            .collect()
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn locked(&self) -> MutexGuard<'_, Reports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reports {
    fn of_server<'a>(
        &'a self,
        admin: &'a ObjectKey,
    ) -> impl Iterator<Item = (&'a AccountKey, &'a AccountReport)> {
        let first = AccountKey { admin: admin.clone(), username: "".into() };
        self.by_account.range(first..).take_while(move |(key, _)| key.admin == *admin)
    }

    fn forget(&mut self, key: &AccountKey) {
        let Some(report) = self.by_account.remove(key) else { return };
        if let Some(accounts) = self.of_user.get_mut(&report.user) {
            accounts.remove(key);
            if accounts.is_empty() {
                self.of_user.remove(&report.user);
            }
        }
    }
}

/// What the status of a DatabaseUser says of an account.
pub fn in_status(user: &DatabaseUser, key: &AccountKey) -> Option<AccountStatus> {
    let mut accounts = user.status.iter().flat_map(|status| &status.accounts);
    accounts.find(|account| account.database == *key.admin.name && account.username == *key.username).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_should_know_does_not_wait() {
        let routine = |phase, message: Option<&str>| {
            let message = message.map(str::to_owned);
            let account = AccountStatus { phase, message, ..AccountStatus::default() };
            let user = ObjectKey { namespace: "shop".into(), name: "alice".into() };
            AccountReport { user, account }.is_routine()
        };
        assert!(
            [AccountPhase::Enabled, AccountPhase::Disabled, AccountPhase::Dropped]
                .map(|phase| routine(phase, None))
                .iter()
                .all(|is| *is)
        );
        assert!(!routine(AccountPhase::Disabled, Some("it owns a table")));
        assert!(!routine(AccountPhase::Conflict, None) && !routine(AccountPhase::Orphaned, None));
    }

    #[test]
    fn the_reports_of_a_server_go_with_it_unless_an_account_is_still_to_be_ended() {
        let reports = AccountReports::default();
        let admin = ObjectKey { namespace: "shop".into(), name: "orders".into() };
        let key = |username: &str| AccountKey { admin: admin.clone(), username: username.into() };
        let user = |name: &str| admin.sibling(name);
        let report = |name: &str, phase| {
            let account = AccountStatus { username: name.into(), phase, ..AccountStatus::default() };
            AccountReport { user: user(name), account }
        };
        assert!(reports.set(&key("alice"), report("alice", AccountPhase::Disabled)));
        assert!(!reports.set(&key("alice"), report("alice", AccountPhase::Disabled)), "it is no news");
        reports.set(&key("bob"), report("bob", AccountPhase::Enabled));
        let elsewhere = AccountKey { admin: user("elsewhere"), ..key("alice") };
        reports.set(&elsewhere, AccountReport { user: user("alice"), account: AccountStatus::default() });
        assert_eq!(reports.of_user(&user("alice")).len(), 2);
        assert_eq!(reports.forget_server(&admin), [user("alice")].into());
        assert_eq!(reports.of_user(&user("alice")).len(), 1);
        assert_eq!(reports.of_user(&user("bob")).len(), 1, "it is still to be ended");
        reports.forget_user(&user("alice"), None);
        assert!(reports.of_user(&user("alice")).is_empty());
    }
}
