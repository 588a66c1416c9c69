//! How live accounts were left, so that the inventory of a server shows which of them somebody has changed since, and what
//! is read of one of them shows what that was.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rolecall_engine::account::{Account, Leftover};
use rolecall_engine::{Inventory, InventoryEntry, Observed, Owner};

use crate::model::{AccountKey, ObjectKey};

/// See the module.
#[derive(Debug, Default)]
pub struct AppliedAccounts(Mutex<BTreeMap<AccountKey, Applied>>);

/// How a live account was left.
#[derive(Clone, Debug)]
struct Applied {
    memberships: BTreeSet<String>,
    /// The password in its record; `None` where there are no passwords.
    password_generation: Option<u64>,
    /// A change since then may have been made in part.
    unsure: bool,
}

impl AppliedAccounts {
    /// Keeps which roles and permission sets a live account was left a member of, and which password its record names.
    pub fn set(&self, key: &AccountKey, memberships: BTreeSet<String>, password_generation: Option<u64>) {
        let applied = Applied { memberships, password_generation, unsure: false };
        self.locked().insert(key.clone(), applied);
    }

    /// A change of the account failed, and may have been made in part.
    pub fn set_unsure(&self, key: &AccountKey) {
        if let Some(applied) = self.locked().get_mut(key) {
            applied.unsure = true;
        }
    }

    /// What somebody else changed about a live account since it was left, in words; `None`: nothing, or nobody can say.
    /// No value of a setting is in it.
    pub fn changed(&self, key: &AccountKey, observed: &Observed, owner_uid: &str) -> Option<String> {
        let applied = self.locked().get(key).filter(|applied| !applied.unsure)?.clone();
        let changes = match &observed.account {
            None => vec!["it was dropped".to_owned()],
            Some(account) => changes(&applied, account, owner_uid),
        };
        (!changes.is_empty()).then(|| changes.join(", "))
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
                ours.is_some_and(same)
                    && entry.enabled
                    && entry.memberships == applied.memberships
                    && !entry.strays
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

fn changes(left: &Applied, account: &Account, owner_uid: &str) -> Vec<String> {
    let mut changes = Vec::new();
    let mut change = |is: bool, what: &str| changes.extend(is.then(|| what.to_owned()));
    change(!account.managed, "its marker was taken away");
    change(!account.enabled, "its login was taken away");
    let record = account.owner.as_ref().filter(|owner| owner.uid == owner_uid);
    change(record.is_none(), "its record was changed");
    let another =
        |owner: &Owner| left.password_generation.is_some_and(|known| known != owner.password_generation);
    change(record.is_some_and(another), "its record names another password");
    change(account.rights, "rights on objects were granted to it itself");
    let has: BTreeSet<&String> = account.memberships.iter().map(|membership| &membership.role).collect();
    let added = has.iter().filter(|role| !left.memberships.contains(**role));
    changes.extend(added.map(|role| format!("it was made a member of {role:?}")));
    let lost = left.memberships.iter().filter(|role| !has.contains(role));
    changes.extend(lost.map(|role| format!("it lost the role {role:?}")));
    let attribute = |leftover: &Leftover| match leftover {
        Leftover::Attribute { attribute } => Some(format!("it got {attribute}")),
        _ => None,
    };
    changes.extend(account.leftovers.iter().filter_map(attribute));
    changes.extend(account.stored.iter().map(|stored| format!("it got {stored}")));
    changes
}

#[cfg(test)]
mod tests {
    use rolecall_engine::AccountName;
    use rolecall_engine::account::Membership;

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
            strays: false,
        }
    }

    #[test]
    fn an_account_drifts_when_it_is_not_as_it_was_left() {
        let applied = AppliedAccounts::default();
        for username in ["as-left", "closed", "gone", "more", "no-record", "strays", "ended"] {
            applied.set(&key(username), BTreeSet::from(["reader".to_owned()]), None);
        }
        applied.remove(&key("ended"));
        let accounts = vec![
            entry("as-left", true, &["reader"]),
            entry("closed", false, &[]),
            entry("more", true, &["reader", "writer"]),
            InventoryEntry { owner: None, ..entry("no-record", true, &["reader"]) },
            InventoryEntry { strays: true, ..entry("strays", true, &["reader"]) },
            entry("ended", false, &[]),
            entry("never-ours", true, &["writer"]),
        ];
        let drifted = applied.drifted(&key("").admin, &Inventory { accounts }, "us");
        assert_eq!(drifted, ["closed", "gone", "more", "no-record", "strays"].map(key));
    }

    #[test]
    fn an_account_drifts_when_its_record_names_another_password() {
        let applied = AppliedAccounts::default();
        for username in ["as-left", "older"] {
            applied.set(&key(username), BTreeSet::from(["reader".to_owned()]), Some(7));
        }
        let with = |username: &str, password_generation| {
            let mut entry = entry(username, true, &["reader"]);
            entry.owner = entry.owner.map(|owner| Owner { password_generation, ..owner });
            entry
        };
        let accounts = vec![with("as-left", 7), with("older", 6)];
        assert_eq!(applied.drifted(&key("").admin, &Inventory { accounts }, "us"), [key("older")]);
    }

    #[test]
    fn what_was_changed_is_said_without_the_values_of_settings() {
        let applied = AppliedAccounts::default();
        let alice = key("alice");
        let owner =
            |password_generation| Some(Owner { uid: "us".into(), password_generation, ..Owner::default() });
        let member = |role: &str| Membership { role: role.into(), grantor: String::new(), revocable: true };
        let as_left = Account {
            managed: true,
            enabled: true,
            owner: owner(7),
            memberships: vec![member("reader"), member("rolecall:1")],
            ..Account::default()
        };
        let said = |account: &Account| {
            let observed = Observed { account: Some(account.clone()), ..Observed::default() };
            applied.changed(&alice, &observed, "us")
        };
        assert_eq!(said(&as_left), None, "it was never ours");
        applied.set(&alice, ["reader", "rolecall:1"].map(str::to_owned).into(), Some(7));
        assert_eq!(said(&as_left), None);
        let changed = Account {
            enabled: false,
            owner: owner(6),
            memberships: vec![member("rolecall:1"), member("writer")],
            leftovers: vec![Leftover::Attribute { attribute: "CREATEDB".into() }],
            stored: vec!["CONNECTION LIMIT 3".into(), "SET search_path".into()],
            rights: true,
            ..as_left.clone()
        };
        assert_eq!(
            said(&changed).unwrap(),
            "its login was taken away, its record names another password, rights on objects were granted to it itself, \
             it was made a member of \"writer\", it lost the role \"reader\", it got CREATEDB, it got CONNECTION LIMIT 3, \
             it got SET search_path"
        );
        let without = Account { owner: None, managed: false, ..as_left };
        assert_eq!(said(&without).unwrap(), "its marker was taken away, its record was changed");
        assert_eq!(applied.changed(&alice, &Observed::default(), "us").unwrap(), "it was dropped");
        applied.set_unsure(&alice);
        assert_eq!(said(&changed), None, "it may have been this operator");
    }
}
