//! What the operator keeps of accounts between two looks. All of it can be had again: from the database, from the
//! Secrets, or by making it anew.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rolecall_api::{AccountPhase, AccountStatus, Deletion};
use rolecall_engine::{Inventory, InventoryEntry};
use tokio::time::Instant;

use super::credentials::Handed;
use super::password::AccountPassword;
use crate::model::{AccountKey, ObjectKey};

/// See the module.
#[derive(Debug, Default)]
pub struct Memory {
    reports: Mutex<Reports>,
    passwords: Mutex<HashMap<AccountKey, AccountPassword>>,
    // With when it was seen last that it is there.
    handed: Mutex<HashMap<String, (Handed, Instant)>>,
    orphans: Mutex<HashSet<AccountKey>>,
    // Why an orphan could not be ended.
    stuck: Mutex<HashMap<AccountKey, String>>,
    // Of which server what its teardown needs is kept, and what its DatabaseAdmin said then.
    kept: Mutex<HashMap<ObjectKey, (u64, Deletion)>>,
    // The orphans that were named last.
    named: Mutex<BTreeSet<AccountKey>>,
    left_with: Mutex<BTreeMap<AccountKey, LeftWith>>,
}

/// How a live account was left.
#[derive(Clone, Copy, Debug)]
struct LeftWith {
    /// A hash of its memberships.
    memberships: u64,
    /// Which password its record tells of; `None` where passwords play no part.
    password_generation: Option<u64>,
}

#[derive(Debug, Default)]
struct Reports {
    by_account: BTreeMap<AccountKey, Report>,
    of_user: HashMap<ObjectKey, BTreeSet<AccountKey>>,
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
        if reports.by_account.get(key) == Some(&report) {
            return false;
        }
        reports.forget(key);
        reports.of_user.entry(report.user.clone()).or_default().insert(key.clone());
        reports.by_account.insert(key.clone(), report);
        true
    }

    /// What was reported of an account last.
    pub fn reported(&self, key: &AccountKey) -> Option<Report> {
        locked(&self.reports).by_account.get(key).cloned()
    }

    /// The reports about a DatabaseUser.
    pub fn reports_of(&self, user: &ObjectKey) -> Vec<AccountStatus> {
        let reports = locked(&self.reports);
        let accounts = reports.of_user.get(user).into_iter().flatten();
        accounts.filter_map(|key| Some(reports.by_account.get(key)?.account.clone())).collect()
    }

    /// Forgets the reports about a DatabaseUser that is gone, or was made anew with the name `now`; but not those of
    /// accounts that are still to be ended.
    pub fn forget_user(&self, user: &ObjectKey, now: Option<&str>) {
        let mut reports = locked(&self.reports);
        let of_user: Vec<AccountKey> = reports.of_user.get(user).into_iter().flatten().cloned().collect();
        for key in of_user {
            let is_kept = reports.by_account.get(&key).is_some_and(|Report { account, .. }| {
                is_usable(account) || Some(account.username.as_str()) == now
            });
            if !is_kept {
                reports.forget(&key);
            }
        }
    }

    /// Keeps in mind that a server showed this account of ours enabled, and no session accounted for it.
    pub fn suspect(&self, key: &AccountKey) {
        locked(&self.orphans).insert(key.clone());
    }

    /// Was it seen as an orphan? Once asked, it is forgotten.
    pub fn take_orphan(&self, key: &AccountKey) -> bool {
        locked(&self.orphans).remove(key)
    }

    /// Is what the teardown of this server needs kept, as far as is known?
    pub fn is_kept(&self, admin: &ObjectKey, kept: (u64, Deletion)) -> bool {
        locked(&self.kept).get(admin) == Some(&kept)
    }

    /// Keeps in mind of which server what its teardown needs is kept.
    pub fn set_kept(&self, admin: &ObjectKey, kept: Option<(u64, Deletion)>) {
        let mut all = locked(&self.kept);
        match kept {
            Some(kept) => all.insert(admin.clone(), kept),
            None => all.remove(admin),
        };
    }

    /// Keeps why an orphan could not be ended; `None` where it was.
    pub fn set_stuck(&self, key: &AccountKey, why: Option<String>) {
        let mut stuck = locked(&self.stuck);
        match why {
            Some(why) => stuck.insert(key.clone(), why),
            None => stuck.remove(key),
        };
    }

    /// Why an orphan could not be ended, where that was tried.
    pub fn stuck(&self, key: &AccountKey) -> Option<String> {
        locked(&self.stuck).get(key).cloned()
    }

    /// Keeps the orphans of a server that are named now; answers those that were not before.
    pub fn name_orphans(&self, admin: &ObjectKey, orphans: &BTreeSet<AccountKey>) -> BTreeSet<AccountKey> {
        let mut named = locked(&self.named);
        let new = orphans.difference(&named).cloned().collect();
        named.retain(|key| key.admin != *admin || orphans.contains(key));
        named.extend(orphans.iter().cloned());
        new
    }

    /// Keeps which roles and permission sets a live account was left a member of, and which password its record tells of.
    pub fn leave(&self, key: &AccountKey, memberships: &BTreeSet<String>, password_generation: Option<u64>) {
        let left = LeftWith { memberships: hash(memberships), password_generation };
        locked(&self.left_with).insert(key.clone(), left);
    }

    /// An account is not live any more.
    pub fn leave_ended(&self, key: &AccountKey) {
        locked(&self.left_with).remove(key);
    }

    /// The live accounts on a server that an inventory shows otherwise than they were left, or not at all, or without the
    /// record of `owner_uid`.
    pub fn drifted(&self, admin: &ObjectKey, inventory: &Inventory, owner_uid: &str) -> Vec<AccountKey> {
        let shown: HashMap<&str, &InventoryEntry> =
            inventory.accounts.iter().map(|entry| (entry.account.as_str(), entry)).collect();
        let as_left = |key: &AccountKey, left: &LeftWith| {
            shown.get(&*key.username).is_some_and(|entry| {
                let ours = entry.owner.as_ref().filter(|owner| owner.uid == owner_uid);
                let same = |owner: &rolecall_engine::Owner| {
                    left.password_generation.is_none_or(|left| owner.password_generation == left)
                };
                ours.is_some_and(same) && entry.enabled && hash(&entry.memberships) == left.memberships
            })
        };
        let left_with = locked(&self.left_with);
        let of_admin = of_admin(&left_with, admin);
        of_admin.filter(|(key, left)| !as_left(key, left)).map(|(key, _)| key.clone()).collect()
    }

    /// Forgets the accounts of a server that is gone, but those that are still to be ended; answers whose they were.
    pub fn forget_server(&self, admin: &ObjectKey) -> BTreeSet<ObjectKey> {
        locked(&self.left_with).retain(|key, _| key.admin != *admin);
        locked(&self.stuck).retain(|key, _| key.admin != *admin);
        locked(&self.named).retain(|key| key.admin != *admin);
        locked(&self.passwords).retain(|key, _| key.admin != *admin);
        let mut reports = locked(&self.reports);
        let over = of_admin(&reports.by_account, admin)
            .filter(|(_, report)| report.account.phase != AccountPhase::Enabled)
            .map(|(key, report)| (key.clone(), report.user.clone()));
        let over: Vec<(AccountKey, ObjectKey)> = over.collect();
        over.into_iter()
            .map(|(key, user)| {
                reports.forget(&key);
                user
            })
            .collect()
    }

    /// The password that an account has now, when it is known.
    pub fn password(&self, key: &AccountKey) -> Option<AccountPassword> {
        locked(&self.passwords).get(key).cloned()
    }

    /// Keeps or forgets the password of an account.
    pub fn set_password(&self, key: &AccountKey, password: Option<AccountPassword>) {
        let mut passwords = locked(&self.passwords);
        match password {
            Some(password) => passwords.insert(key.clone(), password),
            None => passwords.remove(key),
        };
    }

    /// What a session (by uid) was handed.
    pub fn handed(&self, uid: &str) -> Option<Handed> {
        locked(&self.handed).get(uid).map(|(handed, _)| handed.clone())
    }

    /// When it was seen last that what a session was handed is there.
    pub fn confirmed(&self, uid: &str) -> Option<Instant> {
        locked(&self.handed).get(uid).map(|(_, at)| *at)
    }

    /// It is there.
    pub fn confirm(&self, uid: &str) {
        if let Some((_, at)) = locked(&self.handed).get_mut(uid) {
            *at = Instant::now();
        }
    }

    /// Keeps or forgets what a session was handed.
    pub fn set_handed(&self, uid: &str, what: Option<Handed>) {
        let mut handed = locked(&self.handed);
        match what {
            Some(what) => handed.insert(uid.to_owned(), (what, Instant::now())),
            None => handed.remove(uid),
        };
    }
}

fn is_usable(account: &AccountStatus) -> bool {
    matches!(account.phase, AccountPhase::Enabled | AccountPhase::Orphaned)
}

impl Reports {
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

/// The accounts of one server, without a look at those of others.
fn of_admin<'a, T>(
    accounts: &'a BTreeMap<AccountKey, T>,
    admin: &'a ObjectKey,
) -> impl Iterator<Item = (&'a AccountKey, &'a T)> {
    let first = AccountKey { admin: admin.clone(), username: "".into() };
    accounts.range(first..).take_while(move |(key, _)| key.admin == *admin)
}

fn hash(memberships: &BTreeSet<String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    memberships.hash(&mut hasher);
    hasher.finish()
}

// A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rolecall_engine::{AccountName, Owner};

    use super::*;

    fn key(username: &str) -> AccountKey {
        let admin = ObjectKey { namespace: "shop".into(), name: "orders".into() };
        AccountKey { admin, username: username.into() }
    }

    fn entry(username: &str, enabled: bool, roles: &[&str]) -> InventoryEntry {
        InventoryEntry {
            account: AccountName::new(username).unwrap(),
            owner: Some(Owner {
                uid: "us".into(),
                admin: String::new(),
                cluster: String::new(),
                ..Owner::default()
            }),
            enabled,
            backends: 0,
            manageable: true,
            memberships: roles.iter().map(|&role| role.to_owned()).collect(),
        }
    }

    #[test]
    fn what_is_kept_of_a_server_goes_with_it() {
        let memory = Memory::default();
        let user = |name: &str| key("").admin.sibling(name);
        let report = |name: &str, phase| {
            let account = AccountStatus { username: name.into(), phase, ..AccountStatus::default() };
            memory.report(&key(name), Report { user: user(name), account });
        };
        report("alice", AccountPhase::Disabled);
        report("bob", AccountPhase::Enabled);
        let elsewhere = AccountKey { admin: user("elsewhere"), ..key("alice") };
        memory.report(&elsewhere, Report { user: user("alice"), account: AccountStatus::default() });
        for key in [key("alice"), elsewhere.clone()] {
            let password = AccountPassword { text: "secret".into(), generation: 1 };
            memory.set_password(&key, Some(password));
        }
        assert_eq!(memory.reports_of(&user("alice")).len(), 2);
        assert_eq!(memory.forget_server(&key("").admin), [user("alice")].into());
        assert_eq!(memory.reports_of(&user("alice")).len(), 1);
        assert_eq!(memory.reports_of(&user("bob")).len(), 1, "it is still to be ended");
        assert!(memory.password(&key("alice")).is_none() && memory.password(&elsewhere).is_some());
        memory.forget_user(&user("alice"), None);
        assert!(memory.reports_of(&user("alice")).is_empty());
    }

    #[test]
    fn an_account_drifts_when_it_is_not_as_it_was_left() {
        let memory = Memory::default();
        for username in ["as-left", "closed", "gone", "more", "no-record", "ended"] {
            memory.leave(&key(username), &BTreeSet::from(["reader".to_owned()]), None);
        }
        memory.leave_ended(&key("ended"));
        let accounts = vec![
            entry("as-left", true, &["reader"]),
            entry("closed", false, &[]),
            entry("more", true, &["reader", "writer"]),
            InventoryEntry { owner: None, ..entry("no-record", true, &["reader"]) },
            entry("ended", false, &[]),
            entry("never-ours", true, &["writer"]),
        ];
        let drifted = memory.drifted(&key("").admin, &Inventory { accounts }, "us");
        assert_eq!(drifted, ["closed", "gone", "more", "no-record"].map(key));
    }

    #[test]
    fn an_account_drifts_when_its_record_tells_of_another_password() {
        let memory = Memory::default();
        for username in ["as-left", "older"] {
            memory.leave(&key(username), &BTreeSet::from(["reader".to_owned()]), Some(7));
        }
        let with = |username: &str, password_generation| {
            let mut entry = entry(username, true, &["reader"]);
            entry.owner = entry.owner.map(|owner| Owner { password_generation, ..owner });
            entry
        };
        let accounts = vec![with("as-left", 7), with("older", 6)];
        assert_eq!(memory.drifted(&key("").admin, &Inventory { accounts }, "us"), [key("older")]);
    }
}
