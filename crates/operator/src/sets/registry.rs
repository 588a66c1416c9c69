//! The permission sets that accounts want in each database, and the state of each.
//!
//! A set is wanted by accounts; that follows from their sessions and is computed at each reconcile. Its state is the
//! result of the last reconcile of the database.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rolecall_engine::{Finding, Reason};
use rolecall_policy::{PermissionEntries, Privilege};
use tokio::time::Instant;

use super::baseline::Baseline;
use super::state::{Imported, LingeringSets, SetState, Wanted, WantedSets};
use super::transition::{Target, Transitions};
use crate::model::{AccountKey, DatabaseKey, ObjectKey, Priority};

/// Why a set lacks something that the admin user needs a right for.
const LACKING: [Reason; 2] = [Reason::MissingObjectPrivileges, Reason::MissingMongoPrivileges];

/// See the module.
#[derive(Debug, Default)]
pub struct SetRegistry {
    databases: Mutex<Databases>,
    /// Servers whose sets have been listed, by the fingerprint of the server.
    listed: Mutex<HashMap<ObjectKey, u64>>,
}

pub(super) type Databases = BTreeMap<DatabaseKey, Database>;

/// The databases of one server, without visiting those of others.
pub(super) fn of_server<'a>(
    databases: &'a Databases,
    admin: &'a ObjectKey,
) -> impl Iterator<Item = (&'a DatabaseKey, &'a Database)> {
    databases.range(first_of(admin)..).take_while(move |(key, _)| key.admin == *admin)
}

fn of_server_mut<'a>(
    databases: &'a mut Databases,
    admin: &'a ObjectKey,
) -> impl Iterator<Item = (&'a DatabaseKey, &'a mut Database)> {
    databases.range_mut(first_of(admin)..).take_while(move |(key, _)| key.admin == *admin)
}

fn first_of(admin: &ObjectKey) -> DatabaseKey {
    DatabaseKey { admin: admin.clone(), database: "".into() }
}

#[derive(Debug, Default)]
pub(super) struct Database {
    pub(super) sets: BTreeMap<String, Set>,
    pub(super) leftovers: BTreeMap<String, Leftover>,
    pub(super) transitions: Transitions,
    pub(super) imported: Option<Imported>,
    pub(super) baseline: Option<Baseline>,
    /// Since when its sets cannot be checked.
    failing_since: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Set {
    entries: Arc<PermissionEntries>,
    pub(super) accounts: BTreeSet<AccountKey>,
    state: SetState,
    /// Since when it is [`SetState::Pending`], if it is.
    waiting_since: Instant,
    pub(super) unused_since: Option<Instant>,
    /// It is being dropped, until somebody wants it again.
    pub(super) retired: bool,
    /// Whose connections have to be ended, because the set lost a function.
    to_disconnect: BTreeSet<AccountKey>,
}

/// A set that a previous operator process left and nobody wants now.
#[derive(Debug)]
pub(super) struct Leftover {
    pub(super) since: Instant,
    /// Whose record it carries: this DatabaseAdmin's, or a predecessor's.
    pub(super) owner_uid: String,
    executes: bool,
}

impl SetRegistry {
    /// Says which sets an account wants now; what it wanted before is forgotten.
    pub fn want(&self, account: &AccountKey, wanted: &[Wanted]) -> WantedSets {
        let mut databases = self.locked();
        let mut answer = WantedSets::default();
        for desired in wanted {
            let database = databases.entry(desired.key.clone()).or_default();
            database.leftovers.remove(&desired.role);
            let set = database.sets.entry(desired.role.clone()).or_insert_with(|| Set {
                entries: Arc::clone(&desired.entries),
                accounts: BTreeSet::new(),
                state: SetState::Pending,
                waiting_since: Instant::now(),
                unused_since: None,
                retired: false,
                to_disconnect: BTreeSet::new(),
            });
            (set.unused_since, set.retired) = (None, false);
            set.accounts.insert(account.clone());
            if set.state == SetState::Pending {
                answer.to_reconcile.insert(desired.key.clone(), Priority::Normal);
                answer.waiting.insert(desired.role.clone(), set.waiting_since);
            }
            answer.states.insert(desired.role.clone(), set.state.clone());
        }
        for (key, database) in of_server_mut(&mut databases, &account.admin) {
            let wanted: Vec<&Wanted> = wanted.iter().filter(|desired| desired.key == *key).collect();
            let left = database.leave(account, &wanted);
            let moved = database.transitions.has(account);
            if !left.is_empty() || moved {
                let lingering = database.linger_in(account, &wanted, &left);
                let free =
                    left.iter().any(|role| database.sets.get(role).is_some_and(|s| s.accounts.is_empty()));
                if !lingering.is_empty() {
                    // An account still has what policy took away, or lacks what it gives: that comes first.
                    answer.to_reconcile.insert(key.clone(), Priority::Urgent);
                } else if free || moved {
                    // A set that nobody uses has to be dropped at some time.
                    answer.to_reconcile.entry(key.clone()).or_insert(Priority::Normal);
                }
                let contents = lingering.keys().find_map(|role| match &database.sets.get(role)?.state {
                    SetState::Ready(contents) => Some(Arc::clone(contents)),
                    _ => None,
                });
                answer.meanwhile.extend(contents.map(|contents| (key.clone(), contents)));
                answer.lingering.extend(lingering);
            }
        }
        answer
    }

    /// The databases with sets among these that nobody uses: nothing listens to changes of their objects, so that they
    /// have to be reconciled when somebody uses them again.
    pub fn without_listener(&self, wanted: &[Wanted]) -> BTreeSet<DatabaseKey> {
        let databases = self.locked();
        let set = |desired: &Wanted| databases.get(&desired.key)?.sets.get(&desired.role)?.unused_since;
        wanted.iter().filter(|desired| set(desired).is_some()).map(|desired| desired.key.clone()).collect()
    }

    /// The sets of a database with the permissions that they give. Recently used ones are included: they are kept up to
    /// date, so that the next session does not have to wait. Those that are being dropped are not.
    pub fn kept(&self, key: &DatabaseKey) -> Vec<(String, Arc<PermissionEntries>)> {
        let databases = self.locked();
        let sets = databases.get(key).into_iter().flat_map(|database| &database.sets);
        let kept = sets.filter(|(_, set)| !set.retired);
        kept.map(|(role, set)| (role.clone(), Arc::clone(&set.entries))).collect()
    }

    /// Is there no set in a database that would have to be kept up to date?
    pub fn is_empty(&self, key: &DatabaseKey) -> bool {
        let databases = self.locked();
        databases.get(key).is_none_or(|database| database.sets.is_empty() && database.leftovers.is_empty())
    }

    /// Records a set on the server that nobody here wants, whose record it carries (`Owner::uid`), and whether it gives
    /// functions.
    pub fn add_leftover(&self, key: &DatabaseKey, role: String, owner_uid: &str, executes: bool) {
        let mut databases = self.locked();
        let database = databases.entry(key.clone()).or_default();
        if !database.sets.contains_key(&role) {
            database
                .leftovers
                .entry(role)
                .and_modify(|leftover| leftover.executes = executes)
                .or_insert_with(|| Leftover {
                    since: Instant::now(),
                    owner_uid: owner_uid.to_owned(),
                    executes,
                });
        }
    }

    /// For how long the sets of a database could not be checked; `None` where the last reconcile did not fail.
    pub fn failing_for(&self, key: &DatabaseKey) -> Option<Duration> {
        self.locked().get(key)?.failing_since.map(|since| since.elapsed())
    }

    /// Records whether the sets of a database could be checked.
    pub fn set_failing(&self, key: &DatabaseKey, failing: bool) {
        if let Some(database) = self.locked().get_mut(key) {
            let since = database.failing_since.unwrap_or_else(Instant::now);
            database.failing_since = failing.then_some(since);
        }
    }

    /// The accounts that want a set.
    pub fn members(&self, key: &DatabaseKey, role: &str) -> BTreeSet<AccountKey> {
        let databases = self.locked();
        let set = databases.get(key).and_then(|database| database.sets.get(role));
        set.map(|set| set.accounts.clone()).unwrap_or_default()
    }

    /// Would an account that leaves a set for these others lose functions? Returns true where that is not known.
    pub fn loses_functions<'a>(
        &self,
        admin: &ObjectKey,
        role: &str,
        others: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        let databases = self.locked();
        let mut databases = of_server(&databases, admin).map(|(_, database)| database);
        let known = databases
            .find(|database| database.sets.contains_key(role) || database.leftovers.contains_key(role));
        let Some(database) = known else { return true };
        let Some(set) = database.sets.get(role) else {
            return database.leftovers.get(role).is_none_or(|leftover| leftover.executes);
        };
        let executes = set.entries.allow.iter().any(|entry| entry.privileges.contains(Privilege::Execute));
        if !executes {
            return false;
        }
        let own = set.entries.canonical();
        let mut others = others.into_iter().filter_map(|other| database.sets.get(other));
        !others.any(|other| other.entries.canonical().covers(&own))
    }

    /// The members of a set lost functions: their connections have to be ended.
    pub fn disconnect_members(&self, key: &DatabaseKey, role: &str) {
        let mut databases = self.locked();
        let Some(Database { sets, transitions, .. }) = databases.get_mut(key) else { return };
        if let Some(set) = sets.get_mut(role) {
            set.to_disconnect.extend(set.accounts.iter().cloned());
            set.to_disconnect.extend(transitions.lingering_in(role).cloned());
        }
    }

    /// The accounts whose connections have to be ended, with the set that lost functions.
    pub fn to_disconnect(&self, key: &DatabaseKey) -> Vec<(String, AccountKey)> {
        let databases = self.locked();
        let sets = databases.get(key).into_iter().flat_map(|database| &database.sets);
        sets.flat_map(|(role, set)| set.to_disconnect.iter().map(|account| (role.clone(), account.clone())))
            .collect()
    }

    /// The connections of an account have been ended.
    pub fn disconnected(&self, key: &DatabaseKey, role: &str, account: &AccountKey) {
        let mut databases = self.locked();
        if let Some(set) = databases.get_mut(key).and_then(|database| database.sets.get_mut(role)) {
            set.to_disconnect.remove(account);
        }
    }

    /// The role of a set was found missing on the server: from now on the set is not ready. Returns the database in
    /// which it has to be created again; `None` where that is known already.
    pub fn mark_missing(&self, admin: &ObjectKey, role: &str) -> Option<DatabaseKey> {
        let mut databases = self.locked();
        let mut databases = of_server_mut(&mut databases, admin);
        databases.find_map(|(key, database)| {
            let set = database.sets.get_mut(role)?;
            matches!(set.state, SetState::Ready(_)).then(|| {
                set.reset();
                key.clone()
            })
        })
    }

    /// Is an account waiting to leave its old set in a database for one that is new there?
    pub fn is_moving(&self, key: &DatabaseKey, account: &AccountKey) -> bool {
        self.locked().get(key).is_some_and(|database| database.transitions.has(account))
    }

    /// Records the state of a set. Returns the accounts that have to be reconciled; `None` where nothing changed.
    pub fn set_state(&self, key: &DatabaseKey, role: &str, state: SetState) -> Option<BTreeSet<AccountKey>> {
        let mut databases = self.locked();
        let set = databases.get_mut(key)?.sets.get_mut(role).filter(|set| set.state != state)?;
        set.state = state;
        Some(set.accounts.clone())
    }

    /// What the sets in use on a server lack because the admin user may not grant it, or not make them.
    pub fn lacking(&self, admin: &ObjectKey) -> Vec<Finding> {
        let databases = self.locked();
        let sets = of_server(&databases, admin).flat_map(|(_, database)| database.sets.values());
        let used = sets.filter(|set| !set.accounts.is_empty());
        let blockers = used.filter_map(|set| match &set.state {
            SetState::Ready(contents) => contents.incomplete.as_ref(),
            SetState::Failed(blocker) => Some(blocker),
            SetState::Pending | SetState::Withheld(_) => None,
        });
        let lacking = blockers.filter_map(|blocker| {
            let reason = LACKING.into_iter().find(|reason| reason.as_str() == blocker.reason)?;
            Some((reason, &blocker.message))
        });
        let lines: BTreeSet<(Reason, &str)> =
            lacking.flat_map(|(reason, message)| message.lines().map(move |line| (reason, line))).collect();
        lines.into_iter().map(|(reason, line)| Finding::new(reason, "", line)).collect()
    }

    /// The state of a set.
    pub fn state(&self, key: &DatabaseKey, role: &str) -> SetState {
        let databases = self.locked();
        let set = databases.get(key).and_then(|database| database.sets.get(role));
        set.map(|set| set.state.clone()).unwrap_or_default()
    }

    /// Forgets the databases of a server that is gone.
    pub fn forget_server(&self, admin: &ObjectKey) {
        self.locked().retain(|key, _| key.admin != *admin);
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).remove(admin);
    }

    /// The logical databases of a server with sets. Its sets are listed again at the next reconcile: it may have lost
    /// some of them.
    pub fn to_reconcile_again(&self, admin: &ObjectKey) -> Vec<DatabaseKey> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).remove(admin);
        self.locked().keys().filter(|key| key.admin == *admin).cloned().collect()
    }

    /// Have the sets on this server been listed?
    pub fn is_listed(&self, admin: &ObjectKey, fingerprint: u64) -> bool {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).get(admin) == Some(&fingerprint)
    }

    /// The sets on this server have been listed.
    pub fn set_listed(&self, admin: &ObjectKey, fingerprint: u64) {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).insert(admin.clone(), fingerprint);
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    pub(super) fn locked(&self) -> MutexGuard<'_, Databases> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
    pub(super) fn reset(&mut self) {
        (self.state, self.waiting_since) = (SetState::Pending, Instant::now());
    }
}

impl Database {
    /// Is nothing known of it? Users choose the names of logical databases, so entries without content are removed.
    pub(super) fn is_unknown(&self) -> bool {
        self.sets.is_empty()
            && self.leftovers.is_empty()
            && self.transitions.is_empty()
            && self.imported.is_none()
    }

    /// Makes these the only sets that the account wants here. Returns those that it wanted before.
    fn leave(&mut self, account: &AccountKey, wanted: &[&Wanted]) -> Vec<String> {
        let mut left = Vec::new();
        for (role, set) in &mut self.sets {
            if !wanted.iter().any(|desired| desired.role == *role) && set.accounts.remove(account) {
                left.push(role.clone());
                if set.accounts.is_empty() {
                    set.unused_since = Some(Instant::now());
                }
            }
        }
        left
    }

    /// Which of the sets that it has left the account stays in for a while.
    fn linger_in(&mut self, account: &AccountKey, wanted: &[&Wanted], left: &[String]) -> LingeringSets {
        let sets = &self.sets;
        let targets: Vec<Target<'_>> = wanted
            .iter()
            .filter_map(|desired| {
                let state = &sets.get(&desired.role)?.state;
                Some(Target { role: &desired.role, permissions: desired.entries.canonical(), state })
            })
            .collect();
        let permissions_of = |role: &str| sets.get(role).map(|set| set.entries.canonical());
        self.transitions.update(account, &targets, left, permissions_of, Instant::now())
    }
}

#[cfg(test)]
mod tests;
