//! Accounts that can be used though no session accounts for them: found in an inventory, ended or named.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rolecall_api::{AccountCounts, AccountPhase, AccountStatus, CreateDbUserMode};
use rolecall_engine::{AccountName, Claim, Dialect, Finding, Inventory, InventoryEntry, Owner, Reason};

use crate::account::reports::AccountReport;
use crate::cache::Cache;
use crate::model::{AccountKey, ObjectKey};

/// An account that can be used and that no session accounts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Orphan {
    pub(super) key: AccountKey,
    /// The record says that it is ours, or a predecessor's: it may be ended. Otherwise it is only named.
    pub(super) ours: bool,
    /// One sentence that names it, with the statement that closes it.
    pub(super) message: String,
    db_roles: Vec<String>,
}

/// What an inventory is judged by.
pub(super) struct Judge<'a> {
    pub(super) admin: &'a ObjectKey,
    pub(super) owner: &'a Owner,
    pub(super) dialect: Dialect,
    /// The accounts that some session accounts for.
    pub(super) explained: &'a BTreeSet<String>,
    /// Does the record of an account name a DatabaseAdmin that no longer exists, or that works on another server?
    pub(super) is_nobodys: &'a dyn Fn(&Owner, &AccountName) -> bool,
}

/// To whom an account belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belongs {
    /// It is ours to end.
    Us,
    /// Nobody else is known to end it.
    Nobody,
    /// It is not ours.
    SomebodyElse,
}

impl Judge<'_> {
    fn belongs(&self, entry: &InventoryEntry) -> Belongs {
        let Some(record) = &entry.owner else { return Belongs::SomebodyElse };
        match self.owner.claim(record) {
            Claim::Ours | Claim::Predecessors => Belongs::Us,
            Claim::Unclear => Belongs::Nobody,
            Claim::Others if (self.is_nobodys)(record, &entry.account) => Belongs::Nobody,
            Claim::Others => Belongs::SomebodyElse,
        }
    }

    fn is_orphan(&self, entry: &InventoryEntry, belongs: Belongs) -> bool {
        match belongs {
            Belongs::Us => is_usable(entry) && !self.explained.contains(entry.account.as_str()),
            // What a session here accounts for carries our record.
            Belongs::Nobody => is_usable(entry),
            Belongs::SomebodyElse => false,
        }
    }

    /// Counts the accounts that are ours, or nobody's.
    pub(super) fn count(&self, inventory: &Inventory) -> AccountCounts {
        let mut counts = AccountCounts::default();
        for entry in &inventory.accounts {
            let belongs = self.belongs(entry);
            if self.is_orphan(entry, belongs) {
                counts.orphaned += 1;
            } else if belongs == Belongs::Us {
                if entry.enabled { counts.enabled += 1 } else { counts.disabled += 1 }
            }
        }
        counts
    }

    /// The orphans, by name.
    pub(super) fn orphans(&self, inventory: &Inventory) -> Vec<Orphan> {
        let orphans = inventory.accounts.iter().map(|entry| (entry, self.belongs(entry)));
        let orphans = orphans.filter(|(entry, belongs)| self.is_orphan(entry, *belongs));
        orphans.map(|(entry, belongs)| self.orphan(entry, belongs)).collect()
    }

    /// What the admin user lacks to end accounts of ours that can be used; one finding names them all.
    pub(super) fn unmanageable(&self, inventory: &Inventory, admin_user: &str) -> Option<Finding> {
        let stuck = inventory.accounts.iter().filter(|entry| !entry.manageable && is_usable(entry));
        let stuck: Vec<&AccountName> =
            stuck.filter(|entry| self.belongs(entry) == Belongs::Us).map(|entry| &entry.account).collect();
        if stuck.is_empty() {
            return None;
        }
        let names: Vec<String> = stuck.iter().map(|account| format!("{:?}", account.as_str())).collect();
        Some(Finding::new(
            Reason::MissingAdminOption,
            stuck[0].to_string(),
            format!(
                "the admin user may not change these accounts, so that their access cannot be ended (they were made before the server was upgraded, or somebody revoked what it had): {}: {}",
                names.join(", "),
                self.dialect.manage_accounts(&stuck, admin_user)
            ),
        ))
    }

    /// The accounts that were dropped, as they should be, and are there again, though nobody can use them: a server that
    /// lost its last changes has lost the drop.
    pub(super) fn undropped(
        &self,
        inventory: &Inventory,
        reported: impl Fn(&AccountKey) -> Option<AccountStatus>,
    ) -> Vec<AccountKey> {
        let was_dropped = |key: &AccountKey| {
            reported(key).is_some_and(|account| {
                account.phase == AccountPhase::Dropped
                    && account.mode == Some(CreateDbUserMode::BestEffortDrop)
            })
        };
        let idle = inventory.accounts.iter().filter(|entry| {
            let explained = self.explained.contains(entry.account.as_str());
            !explained && !is_usable(entry) && self.belongs(entry) == Belongs::Us
        });
        let keys = idle
            .map(|entry| AccountKey { admin: self.admin.clone(), username: entry.account.as_str().into() });
        keys.filter(was_dropped).collect()
    }

    fn orphan(&self, entry: &InventoryEntry, belongs: Belongs) -> Orphan {
        let username = entry.account.as_str();
        let can = match (entry.enabled, entry.backends) {
            (true, 0) => "can log in".to_owned(),
            (true, some) => format!("can log in and has {some} open connections"),
            (false, some) => format!("cannot log in any more and has {some} open connections"),
        };
        let close = self.dialect.close_account(&entry.account);
        let whose = match &entry.owner {
            Some(record) if belongs == Belongs::Nobody => format!(
                "its record names the DatabaseAdmin {} (uid {}), and nobody is known to end it. If that is so, {close}",
                record.admin, record.uid
            ),
            _ => format!("no session accounts for it: {close}"),
        };
        let sets = entry.memberships.iter().filter(|role| !self.dialect.is_own_role(role));
        Orphan {
            key: AccountKey { admin: self.admin.clone(), username: username.into() },
            ours: belongs == Belongs::Us,
            message: format!("{username:?} {can}, and {whose}"),
            db_roles: sets.cloned().collect(),
        }
    }

    /// What changes in the status of DatabaseUsers: the accounts that are `named` as orphans, and those reported as usable,
    /// by the names `usable`, that no longer are. Accounts with sessions are reported by their own reconcile.
    pub(super) fn reports(
        &self,
        cache: &Cache,
        inventory: &Inventory,
        named: &[Orphan],
        usable: BTreeSet<Arc<str>>,
        reported: impl Fn(&AccountKey) -> Option<AccountStatus>,
    ) -> Vec<(AccountKey, AccountReport)> {
        let namespace = &self.admin.namespace;
        let entries: HashMap<&str, &InventoryEntry> =
            inventory.accounts.iter().map(|entry| (entry.account.as_str(), entry)).collect();
        let named: HashMap<&AccountKey, &Orphan> = named.iter().map(|orphan| (&orphan.key, orphan)).collect();
        let mut names = usable;
        names.extend(named.keys().map(|key| Arc::clone(&key.username)));
        let mut reports = Vec::new();
        for username in names {
            let key = AccountKey { admin: self.admin.clone(), username };
            let username = &*key.username;
            if self.explained.contains(username) || cache.waits_or_lives(&key) {
                continue;
            }
            let Some(user) = cache.user_named(namespace, username) else { continue };
            let before = reported(&key);
            let (phase, message, db_roles) = match (named.get(&key), entries.get(username)) {
                (Some(orphan), _) => {
                    (AccountPhase::Orphaned, Some(orphan.message.clone()), orphan.db_roles.clone())
                }
                (None, Some(entry)) if is_usable(entry) => continue,
                (None, entry) => {
                    if before.as_ref().is_none_or(|before| !before.phase.is_usable()) {
                        continue;
                    }
                    let gone = if entry.is_some() { AccountPhase::Disabled } else { AccountPhase::Dropped };
                    (gone, None, Vec::new())
                }
            };
            let account = AccountStatus {
                database: self.admin.name.to_string(),
                username: username.to_owned(),
                phase,
                sessions: 0,
                db_roles,
                mode: before.as_ref().and_then(|before| before.mode),
                reassign_to: before.and_then(|before| before.reassign_to),
                message,
            };
            reports.push((key, AccountReport { user: ObjectKey::of(&*user), account }));
        }
        reports
    }
}

fn is_usable(entry: &InventoryEntry) -> bool {
    entry.enabled || entry.backends > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "shop/orders";

    fn owner(uid: &str, admin: &str, cluster: &str) -> Owner {
        Owner { uid: uid.into(), admin: admin.into(), cluster: cluster.into(), ..Owner::default() }
    }

    fn entry(username: &str, owner: Option<Owner>, enabled: bool, backends: u32) -> InventoryEntry {
        InventoryEntry {
            account: AccountName::new(username).unwrap(),
            owner,
            enabled,
            backends,
            manageable: username != "stuck",
            memberships: ["reader", "rolecall:1"].map(str::to_owned).into(),
            strays: false,
        }
    }

    fn judged<T>(
        accounts: Vec<InventoryEntry>,
        explained: &[&str],
        what: impl Fn(&Judge<'_>, &Inventory) -> T,
    ) -> T {
        let admin = ObjectKey { namespace: "shop".into(), name: "orders".into() };
        let judge = Judge {
            admin: &admin,
            owner: &owner("new", ADMIN, "prod"),
            dialect: Dialect::PostgreSql,
            explained: &explained.iter().map(|&name| name.to_owned()).collect(),
            is_nobodys: &|record, _| record.admin == "shop/gone",
        };
        what(&judge, &Inventory { accounts })
    }

    #[test]
    fn accounts_of_a_predecessor_are_ours_and_those_of_nobody_are_named() {
        let accounts = || {
            vec![
                entry("live", Some(owner("new", ADMIN, "prod")), true, 1),
                entry("ours", Some(owner("new", ADMIN, "prod")), true, 0),
                entry("inside", Some(owner("new", ADMIN, "prod")), false, 2),
                entry("before", Some(owner("old", ADMIN, "prod")), true, 0),
                entry("closed", Some(owner("old", ADMIN, "prod")), false, 0),
                entry("unclear", Some(owner("old", ADMIN, "")), true, 0),
                entry("gone", Some(owner("old", "shop/gone", "prod")), true, 0),
                entry("gone-closed", Some(owner("old", "shop/gone", "prod")), false, 0),
                entry("theirs", Some(owner("old", "shop/other", "prod")), true, 0),
                entry("teleports", None, true, 0),
            ]
        };
        let counts = judged(accounts(), &["live"], |judge, inventory| judge.count(inventory));
        assert_eq!(counts, AccountCounts { enabled: 1, disabled: 1, orphaned: 5 });
        let orphans = judged(accounts(), &["live"], |judge, inventory| judge.orphans(inventory));
        let found: Vec<_> = orphans.iter().map(|orphan| (&*orphan.key.username, orphan.ours)).collect();
        assert_eq!(
            found,
            [("ours", true), ("inside", true), ("before", true), ("unclear", false), ("gone", false)]
        );
        for orphan in &orphans {
            let statement = format!("run ALTER ROLE \"{}\" NOLOGIN", orphan.key.username);
            assert!(orphan.message.contains(&statement), "{}", orphan.message);
        }
        assert!(orphans[4].message.contains("DatabaseAdmin shop/gone (uid old)"), "{}", orphans[4].message);
        assert_eq!(orphans[1].db_roles, ["reader"]);
    }

    #[test]
    fn one_statement_names_every_account_that_cannot_be_ended() {
        let accounts = vec![
            entry("fine", Some(owner("new", ADMIN, "prod")), true, 0),
            entry("stuck", Some(owner("new", ADMIN, "prod")), true, 0),
            entry("stuck", Some(owner("old", ADMIN, "prod")), false, 1),
            entry("stuck", Some(owner("new", ADMIN, "prod")), false, 0),
            entry("stuck", Some(owner("old", "shop/other", "prod")), true, 0),
        ];
        let found =
            judged(accounts, &["fine", "stuck"], |judge, inventory| judge.unmanageable(inventory, "ad min"));
        let message = found.unwrap().message;
        assert!(
            message.ends_with("run GRANT \"stuck\", \"stuck\" TO \"ad min\" WITH ADMIN OPTION"),
            "{message}"
        );
        let fine = vec![entry("fine", Some(owner("new", ADMIN, "prod")), true, 0)];
        assert_eq!(judged(fine, &[], |judge, inventory| judge.unmanageable(inventory, "ad min")), None);
    }

    #[test]
    fn users_report_orphans_and_that_an_account_is_gone() {
        let mut cache = Cache::new("");
        for name in ["named", "disabled", "dropped", "reported", "unknown"] {
            let user: rolecall_api::DatabaseUser = serde_json::from_value(serde_json::json!({
                "metadata": {"name": name, "namespace": "shop"}, "spec": {},
            }))
            .unwrap();
            <rolecall_api::DatabaseUser as crate::cache::Cached>::apply(&mut cache, user);
        }
        let ours = || Some(owner("new", ADMIN, "prod"));
        let accounts = vec![
            entry("disabled", ours(), false, 0),
            entry("named", ours(), true, 0),
            entry("nobody", ours(), true, 0),
            entry("reported", ours(), false, 0),
        ];
        let reports = judged(accounts, &[], |judge, inventory| {
            let usable = ["disabled", "dropped", "reported", "unknown"].map(Arc::from).into();
            judge.reports(&cache, inventory, &judge.orphans(inventory), usable, |key| {
                let phase = match &*key.username {
                    "reported" => AccountPhase::Disabled,
                    "unknown" => return None,
                    _ => AccountPhase::Enabled,
                };
                Some(AccountStatus { phase, ..AccountStatus::default() })
            })
        });
        let reported: Vec<_> =
            reports.iter().map(|(_, report)| (&*report.user.name, report.account.phase)).collect();
        assert_eq!(
            reported,
            [
                ("disabled", AccountPhase::Disabled),
                ("dropped", AccountPhase::Dropped),
                ("named", AccountPhase::Orphaned)
            ]
        );
        assert!(reports[2].1.account.message.as_ref().is_some_and(|message| message.contains("NOLOGIN")));
    }
}
