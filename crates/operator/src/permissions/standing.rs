//! Which permission sets are wanted where, and whether they stand.
//!
//! A set is wanted by accounts; that follows from their sessions and is told anew at each look. Whether it stands is
//! what the last look at the database's objects came to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rolecall_api::reasons;
use rolecall_policy::{PermissionEntries, Privilege};
use tokio::time::Instant;

use crate::account::lifecycle::Obstacle;
use crate::world::{AccountKey, ObjectKey, ObjectsKey};

/// See the module.
#[derive(Debug, Default)]
pub struct Sets(Mutex<HashMap<ObjectsKey, Database>>);

/// A permission set that an account wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where.
    pub key: ObjectsKey,
    /// Its role.
    pub role: String,
    /// What it stands for.
    pub entries: Arc<PermissionEntries>,
}

/// Does a permission set stand?
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Standing {
    /// Nobody has looked yet.
    #[default]
    NotYet,
    /// It holds what it should, or what could be had of that.
    Stands(Arc<Holding>),
    /// Nobody may have it now, because what it should hold cannot be told.
    Withheld(Obstacle),
    /// It could not be made.
    Failed(Obstacle),
}

/// What a permission set holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holding {
    /// Objects per privilege.
    pub counts: BTreeMap<String, u64>,
    /// What it should hold and does not.
    pub incomplete: Option<Obstacle>,
}

/// What is known of the objects of one logical database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Objects that some rule labels.
    pub objects: u32,
    /// Objects by rule.
    pub by_rule: BTreeMap<String, u32>,
    /// Objects whose access list is nearly full.
    pub crowded: Vec<String>,
}

#[derive(Debug, Default)]
struct Database {
    sets: BTreeMap<String, Set>,
    /// Sets that an operator before this one left, with since when nobody here wants them.
    leftovers: BTreeMap<String, Instant>,
    imported: Option<Imported>,
}

#[derive(Debug)]
struct Set {
    entries: Arc<PermissionEntries>,
    accounts: BTreeSet<AccountKey>,
    standing: Standing,
    unused_since: Option<Instant>,
}

impl Sets {
    /// Says which sets an account wants now; what it wanted before is forgotten. Answers how each of them stands, and
    /// which databases have to be looked at because of a set that is new.
    pub fn want(
        &self,
        account: &AccountKey,
        wanted: &[Wanted],
    ) -> (BTreeMap<String, Standing>, BTreeSet<ObjectsKey>) {
        let mut databases = self.locked();
        let mut to_look_at = BTreeSet::new();
        for (key, database) in databases.iter_mut().filter(|(key, _)| key.admin == account.admin) {
            for (role, set) in &mut database.sets {
                let still = wanted.iter().any(|wish| wish.key == *key && wish.role == *role);
                if !still && set.accounts.remove(account) && set.accounts.is_empty() {
                    set.unused_since = Some(Instant::now());
                    to_look_at.insert(key.clone());
                }
            }
        }
        let mut standings = BTreeMap::new();
        for wish in wanted {
            let database = databases.entry(wish.key.clone()).or_default();
            database.leftovers.remove(&wish.role);
            let set = database.sets.entry(wish.role.clone()).or_insert_with(|| Set {
                entries: Arc::clone(&wish.entries),
                accounts: BTreeSet::new(),
                standing: Standing::NotYet,
                unused_since: None,
            });
            set.unused_since = None;
            set.accounts.insert(account.clone());
            if set.standing == Standing::NotYet {
                to_look_at.insert(wish.key.clone());
            }
            standings.insert(wish.role.clone(), set.standing.clone());
        }
        (standings, to_look_at)
    }

    /// The sets of a database with what they stand for. Those that were in use until lately are among them: they are
    /// kept right, so that the next session need not wait.
    pub fn kept(&self, key: &ObjectsKey) -> Vec<(String, Arc<PermissionEntries>)> {
        let databases = self.locked();
        let sets = databases.get(key).into_iter().flat_map(|database| &database.sets);
        sets.map(|(role, set)| (role.clone(), Arc::clone(&set.entries))).collect()
    }

    /// The sets of a database that nobody uses, with since when.
    pub fn unused(&self, key: &ObjectsKey) -> Vec<(String, Instant)> {
        let databases = self.locked();
        let Some(database) = databases.get(key) else { return Vec::new() };
        let sets = database.sets.iter().filter_map(|(role, set)| Some((role.clone(), set.unused_since?)));
        let leftovers = database.leftovers.iter().map(|(role, since)| (role.clone(), *since));
        sets.chain(leftovers).collect()
    }

    /// Is nothing known of a database that would have to be looked after?
    pub fn is_empty(&self, key: &ObjectsKey) -> bool {
        let databases = self.locked();
        databases.get(key).is_none_or(|database| database.sets.is_empty() && database.leftovers.is_empty())
    }

    /// Takes note of a set on the server that nobody has asked for here.
    pub fn left_over(&self, key: &ObjectsKey, role: String) {
        let mut databases = self.locked();
        let database = databases.entry(key.clone()).or_default();
        if !database.sets.contains_key(&role) {
            database.leftovers.entry(role).or_insert_with(Instant::now);
        }
    }

    /// Before a set is dropped: from now on it does not stand. False where somebody wants it again.
    pub fn give_up(&self, key: &ObjectsKey, role: &str) -> bool {
        let mut databases = self.locked();
        match databases.get_mut(key).and_then(|database| database.sets.get_mut(role)) {
            Some(set) if !set.accounts.is_empty() => false,
            Some(set) => {
                set.standing = Standing::NotYet;
                true
            }
            None => true,
        }
    }

    /// Forgets a set that was dropped.
    pub fn forget(&self, key: &ObjectsKey, role: &str) {
        if let Some(database) = self.locked().get_mut(key) {
            database.sets.retain(|name, set| name != role || !set.accounts.is_empty());
            database.leftovers.remove(role);
        }
    }

    /// The accounts that want a set.
    pub fn members(&self, key: &ObjectsKey, role: &str) -> BTreeSet<AccountKey> {
        let databases = self.locked();
        let set = databases.get(key).and_then(|database| database.sets.get(role));
        set.map(|set| set.accounts.clone()).unwrap_or_default()
    }

    /// Could members of a set execute functions? True of a set that is not known, which a restart can bring about.
    pub fn may_execute(&self, admin: &ObjectKey, role: &str) -> bool {
        let databases = self.locked();
        let mut sets = databases
            .iter()
            .filter(|(key, _)| key.admin == *admin)
            .filter_map(|(_, database)| database.sets.get(role));
        sets.next().is_none_or(|set| {
            set.entries.allow.iter().any(|entry| entry.privileges.contains(Privilege::Execute))
        })
    }

    /// Says how a set stands now. Answers the accounts that have reason to look again; `None` where nothing changed.
    pub fn set_standing(
        &self,
        key: &ObjectsKey,
        role: &str,
        standing: Standing,
    ) -> Option<BTreeSet<AccountKey>> {
        let mut databases = self.locked();
        let set = databases.get_mut(key)?.sets.get_mut(role).filter(|set| set.standing != standing)?;
        set.standing = standing;
        Some(set.accounts.clone())
    }

    /// What the sets in use on a server lack because the admin user may not grant it.
    pub fn lacking(&self, admin: &ObjectKey) -> Vec<String> {
        let databases = self.locked();
        let databases = databases.iter().filter(|(key, _)| key.admin == *admin);
        let sets = databases.flat_map(|(_, database)| database.sets.values());
        let used = sets.filter(|set| !set.accounts.is_empty());
        let obstacles = used.filter_map(|set| match &set.standing {
            Standing::Stands(holding) => holding.incomplete.as_ref(),
            Standing::Failed(obstacle) => Some(obstacle),
            Standing::NotYet | Standing::Withheld(_) => None,
        });
        let lacking = obstacles.filter(|obstacle| obstacle.reason == reasons::MISSING_OBJECT_PRIVILEGES);
        let lines: BTreeSet<&str> = lacking.flat_map(|obstacle| obstacle.message.lines()).collect();
        lines.into_iter().map(str::to_owned).collect()
    }

    /// How a set stands.
    pub fn standing(&self, key: &ObjectsKey, role: &str) -> Standing {
        let databases = self.locked();
        let set = databases.get(key).and_then(|database| database.sets.get(role));
        set.map(|set| set.standing.clone()).unwrap_or_default()
    }

    /// Keeps what was found in a database; true when that is news.
    pub fn set_imported(&self, key: &ObjectsKey, imported: Option<Imported>) -> bool {
        let mut databases = self.locked();
        let database = databases.entry(key.clone()).or_default();
        let news = database.imported != imported;
        database.imported = imported;
        news
    }

    /// What was found in the databases of a server: how many were read, and what is in them.
    pub fn imported(&self, admin: &ObjectKey) -> (u32, Imported) {
        let databases = self.locked();
        let mut all = Imported::default();
        let mut count = 0;
        for (_, database) in databases.iter().filter(|(key, _)| key.admin == *admin) {
            let Some(imported) = &database.imported else { continue };
            count += 1;
            all.objects = all.objects.saturating_add(imported.objects);
            all.crowded.extend(imported.crowded.iter().cloned());
            for (rule, objects) in &imported.by_rule {
                *all.by_rule.entry(rule.clone()).or_default() += objects;
            }
        }
        (count, all)
    }

    /// Objects that a rule of a namespace labels now.
    pub fn labelled_by(&self, namespace: &str, rule: &str) -> Option<u32> {
        let databases = self.locked();
        let imported = databases
            .iter()
            .filter(|(key, _)| &*key.admin.namespace == namespace)
            .filter_map(|(_, database)| database.imported.as_ref());
        imported.map(|imported| imported.by_rule.get(rule).copied().unwrap_or(0)).reduce(u32::saturating_add)
    }

    /// Forgets the databases of a server that is gone.
    pub fn forget_server(&self, admin: &ObjectKey) {
        self.locked().retain(|key, _| key.admin != *admin);
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn locked(&self) -> MutexGuard<'_, HashMap<ObjectsKey, Database>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ObjectsKey {
        ObjectsKey {
            admin: ObjectKey { namespace: "shop".into(), name: "orders".into() },
            database: "app".into(),
        }
    }

    fn account(name: &str) -> AccountKey {
        AccountKey { admin: key().admin, username: name.into() }
    }

    fn wanted(role: &str) -> Wanted {
        Wanted { key: key(), role: role.into(), entries: Arc::default() }
    }

    fn stands() -> Standing {
        Standing::Stands(Arc::default())
    }

    #[test]
    fn a_new_set_has_to_be_looked_at_and_then_stands_for_everybody() {
        let sets = Sets::default();
        let (standings, look) = sets.want(&account("alice"), &[wanted("s")]);
        assert_eq!(standings["s"], Standing::NotYet);
        assert_eq!(look, BTreeSet::from([key()]));
        assert_eq!(sets.set_standing(&key(), "s", stands()), Some(BTreeSet::from([account("alice")])));
        let (standings, look) = sets.want(&account("bob"), &[wanted("s")]);
        assert_eq!(standings["s"], stands());
        assert!(look.is_empty(), "nothing to do for the second one");
    }

    #[test]
    fn a_set_is_in_use_as_long_as_some_account_wants_it_and_is_kept_for_a_while() {
        let sets = Sets::default();
        sets.want(&account("alice"), &[wanted("s")]);
        sets.set_standing(&key(), "s", stands());
        sets.want(&account("bob"), &[wanted("s")]);
        sets.want(&account("alice"), &[]);
        assert!(sets.unused(&key()).is_empty());
        sets.want(&account("bob"), &[]);
        assert_eq!(sets.unused(&key()).len(), 1);
        assert_eq!(sets.kept(&key()).len(), 1);
        let (standings, look) = sets.want(&account("alice"), &[wanted("s")]);
        assert_eq!(standings["s"], stands());
        assert!(look.is_empty() && sets.unused(&key()).is_empty());
    }

    #[test]
    fn a_set_that_somebody_wants_again_is_not_forgotten() {
        let sets = Sets::default();
        sets.want(&account("alice"), &[wanted("s")]);
        sets.forget(&key(), "s");
        assert_eq!(sets.kept(&key()).len(), 1);
        sets.want(&account("alice"), &[]);
        sets.forget(&key(), "s");
        assert!(sets.kept(&key()).is_empty());
    }

    #[test]
    fn only_a_set_that_is_known_to_hold_no_functions_is_said_to_hold_none() {
        let sets = Sets::default();
        sets.want(&account("alice"), &[wanted("s")]);
        assert!(!sets.may_execute(&key().admin, "s"));
        assert!(sets.may_execute(&key().admin, "another"));
    }

    #[test]
    fn accounts_are_woken_only_when_a_standing_changes() {
        let sets = Sets::default();
        sets.want(&account("alice"), &[wanted("s")]);
        assert!(sets.set_standing(&key(), "s", stands()).is_some());
        assert_eq!(sets.set_standing(&key(), "s", stands()), None);
    }

    #[test]
    fn a_set_that_is_being_dropped_does_not_stand_for_whoever_wants_it_again() {
        let sets = Sets::default();
        sets.want(&account("alice"), &[wanted("s")]);
        sets.set_standing(&key(), "s", stands());
        assert!(!sets.give_up(&key(), "s"), "it is in use");
        sets.want(&account("alice"), &[]);
        assert!(sets.give_up(&key(), "s"));
        let (standings, look) = sets.want(&account("bob"), &[wanted("s")]);
        assert_eq!((&standings["s"], look), (&Standing::NotYet, BTreeSet::from([key()])));
    }

    #[test]
    fn a_leftover_is_unused_until_somebody_wants_it() {
        let sets = Sets::default();
        sets.left_over(&key(), "s".into());
        assert!(sets.unused(&key()).len() == 1 && sets.kept(&key()).is_empty() && !sets.is_empty(&key()));
        sets.want(&account("alice"), &[wanted("s")]);
        sets.left_over(&key(), "s".into());
        assert!(sets.unused(&key()).is_empty());
    }
}
