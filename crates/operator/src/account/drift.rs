//! How live accounts were left, so that the inventory of a server shows which of them somebody has changed since.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rolecall_engine::{Inventory, InventoryEntry, Owner};

use crate::model::{AccountKey, ObjectKey};

/// See the module.
#[derive(Debug, Default)]
pub struct AppliedAccounts(Mutex<BTreeMap<AccountKey, Applied>>);

/// How a live account was left.
#[derive(Clone, Copy, Debug)]
struct Applied {
    /// A hash of its memberships.
    memberships: u64,
    /// The password in its record; `None` where there are no passwords.
    password_generation: Option<u64>,
}

impl AppliedAccounts {
    /// Keeps which roles and permission sets a live account was left a member of, and which password its record names.
    pub fn set(&self, key: &AccountKey, memberships: &BTreeSet<String>, password_generation: Option<u64>) {
        let applied = Applied { memberships: hash(memberships), password_generation };
        self.locked().insert(key.clone(), applied);
    }

    /// An account is not live any more.
    pub fn remove(&self, key: &AccountKey) {
        self.locked().remove(key);
    }

    /// Forgets those of a server that is gone.
    pub fn forget_server(&self, admin: &ObjectKey) {
        self.locked().retain(|key, _| key.admin != *admin);
    }

    /// The live accounts on a server that its inventory shows otherwise than they were left, or not at all, or without
    /// the record of `owner_uid`.
    pub fn drifted(&self, admin: &ObjectKey, inventory: &Inventory, owner_uid: &str) -> Vec<AccountKey> {
        let shown: HashMap<&str, &InventoryEntry> =
            inventory.accounts.iter().map(|entry| (entry.account.as_str(), entry)).collect();
        let as_left = |key: &AccountKey, applied: &Applied| {
            shown.get(&*key.username).is_some_and(|entry| {
                let ours = entry.owner.as_ref().filter(|owner| owner.uid == owner_uid);
                let same = |owner: &Owner| {
                    applied.password_generation.is_none_or(|left| owner.password_generation == left)
                };
                ours.is_some_and(same) && entry.enabled && hash(&entry.memberships) == applied.memberships
            })
        };
        let applied = self.locked();
        let first = AccountKey { admin: admin.clone(), username: "".into() };
        let of_server = applied.range(first..).take_while(|(key, _)| key.admin == *admin);
        of_server.filter(|(key, applied)| !as_left(key, applied)).map(|(key, _)| key.clone()).collect()
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn locked(&self) -> MutexGuard<'_, BTreeMap<AccountKey, Applied>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(memberships: &BTreeSet<String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    memberships.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use rolecall_engine::AccountName;

    use super::*;

    fn key(username: &str) -> AccountKey {
        let admin = ObjectKey { namespace: "shop".into(), name: "orders".into() };
        AccountKey { admin, username: username.into() }
    }

    fn entry(username: &str, enabled: bool, roles: &[&str]) -> InventoryEntry {
        InventoryEntry {
            account: AccountName::new(username).unwrap(),
            owner: Some(Owner { uid: "us".into(), ..Owner::default() }),
            enabled,
            backends: 0,
            manageable: true,
            memberships: roles.iter().map(|&role| role.to_owned()).collect(),
        }
    }

    #[test]
    fn an_account_drifts_when_it_is_not_as_it_was_left() {
        let applied = AppliedAccounts::default();
        for username in ["as-left", "closed", "gone", "more", "no-record", "ended"] {
            applied.set(&key(username), &BTreeSet::from(["reader".to_owned()]), None);
        }
        applied.remove(&key("ended"));
        let accounts = vec![
            entry("as-left", true, &["reader"]),
            entry("closed", false, &[]),
            entry("more", true, &["reader", "writer"]),
            InventoryEntry { owner: None, ..entry("no-record", true, &["reader"]) },
            entry("ended", false, &[]),
            entry("never-ours", true, &["writer"]),
        ];
        let drifted = applied.drifted(&key("").admin, &Inventory { accounts }, "us");
        assert_eq!(drifted, ["closed", "gone", "more", "no-record"].map(key));
    }

    #[test]
    fn an_account_drifts_when_its_record_names_another_password() {
        let applied = AppliedAccounts::default();
        for username in ["as-left", "older"] {
            applied.set(&key(username), &BTreeSet::from(["reader".to_owned()]), Some(7));
        }
        let with = |username: &str, password_generation| {
            let mut entry = entry(username, true, &["reader"]);
            entry.owner = entry.owner.map(|owner| Owner { password_generation, ..owner });
            entry
        };
        let accounts = vec![with("as-left", 7), with("older", 6)];
        assert_eq!(applied.drifted(&key("").admin, &Inventory { accounts }, "us"), [key("older")]);
    }
}
