//! Permission sets that nobody uses any more: they are kept for a while, and then dropped.

use std::collections::BTreeSet;
use std::time::Duration;

use rolecall_engine::{Class, SetRecord};
use tokio::time::Instant;

use super::SetRegistry;
use crate::Shared;
use crate::model::{Action, DatabaseKey, ObjectKey, Priority, plus};
use crate::servers::Server;

/// When a set that could not be dropped is tried again, at the earliest.
const DROP_AGAIN: Duration = Duration::from_secs(10);

impl SetRegistry {
    /// The sets of a database that nobody uses, with since when.
    pub fn unused(&self, key: &DatabaseKey) -> Vec<(String, Instant)> {
        let databases = self.locked();
        let Some(database) = databases.get(key) else { return Vec::new() };
        let free =
            database.sets.iter().filter(|(role, _)| database.transitions.lingering_in(role).next().is_none());
        let sets = free.filter_map(|(role, set)| Some((role.clone(), set.unused_since?)));
        let leftovers = database.leftovers.iter().map(|(role, leftover)| (role.clone(), leftover.since));
        sets.chain(leftovers).collect()
    }

    /// Before a set is dropped: from now on it is not ready, and not kept up to date. False where somebody wants it
    /// again.
    pub fn retire(&self, key: &DatabaseKey, role: &str) -> bool {
        let mut databases = self.locked();
        match databases.get_mut(key).and_then(|database| database.sets.get_mut(role)) {
            Some(set) if !set.accounts.is_empty() => false,
            Some(set) => {
                set.reset();
                set.retired = true;
                true
            }
            None => true,
        }
    }

    /// A set could not be dropped: it counts as unused from now on.
    pub fn postpone(&self, key: &DatabaseKey, role: &str) {
        let mut databases = self.locked();
        let Some(database) = databases.get_mut(key) else { return };
        let set = database.sets.get_mut(role).and_then(|set| set.unused_since.as_mut());
        let leftover = database.leftovers.get_mut(role).map(|leftover| &mut leftover.since);
        for since in set.into_iter().chain(leftover) {
            *since = Instant::now();
        }
    }

    /// Whose record a set carries that a previous operator process left; `None` for all others.
    fn owner_of(&self, key: &DatabaseKey, role: &str) -> Option<String> {
        Some(self.locked().get(key)?.leftovers.get(role)?.owner_uid.clone())
    }

    /// Forgets a set that was dropped.
    pub fn forget(&self, key: &DatabaseKey, role: &str) {
        let mut databases = self.locked();
        let Some(database) = databases.get_mut(key) else { return };
        database.sets.retain(|name, set| name != role || !set.accounts.is_empty());
        database.leftovers.remove(role);
        if database.is_unknown() {
            databases.remove(key);
        }
    }
}

/// Marks the sets of a database that nobody has used for a while as being dropped: whoever wants one from now on waits
/// until it was created again. Returns them, and sets when the next one is due.
pub(super) fn retire(shared: &Shared, key: &DatabaseKey, done: &mut Action) -> Vec<String> {
    let mut retired = Vec::new();
    for (role, since) in shared.sets.unused(key) {
        let due = since + shared.settings.keep_unused_sets;
        if due > Instant::now() {
            let left = due.duration_since(Instant::now());
            done.at_earliest(plus(shared.now(), left).map(|at| (at, Priority::Normal)));
        } else if shared.sets.retire(key, &role) {
            retired.push(role);
        }
    }
    retired
}

/// Drops sets that were marked so. What cannot be dropped is retried.
pub(super) async fn drop(
    shared: &Shared,
    key: &DatabaseKey,
    server: &Server,
    retired: Vec<String>,
    done: &mut Action,
) {
    for role in retired {
        let owner_uid = shared.sets.owner_of(key, &role).unwrap_or_else(|| server.owner.uid.clone());
        match server.engine.drop_set(&role, &owner_uid).await {
            Ok(applied) => {
                let Some(why) = applied.kept_because else {
                    shared.sets.forget(key, &role);
                    continue;
                };
                tracing::info!(role, admin = %key.admin, why, "an unused permission set stays for now");
                shared.sets.postpone(key, &role);
                let wait = shared.settings.keep_unused_sets.max(DROP_AGAIN);
                done.at_earliest(plus(shared.now(), wait).map(|at| (at, Priority::Normal)));
            }
            Err(error) => {
                tracing::warn!(role, admin = %key.admin, %error, "an unused permission set could not be dropped");
                done.retry = true;
            }
        }
    }
}

/// Records, once for each server, the sets that a previous operator process left there, so that they are dropped too
/// when nobody wants them. Returns the databases that have to be reconciled; `None` where they could not be listed and
/// the next reconcile has to try again.
pub async fn find_leftovers(
    shared: &Shared,
    admin: &ObjectKey,
    server: &Server,
) -> Option<BTreeSet<DatabaseKey>> {
    let mut found = BTreeSet::new();
    if shared.sets.is_listed(admin, server.fingerprint) {
        return Some(found);
    }
    let sets = match server.engine.list_sets().await {
        Ok(sets) => sets,
        Err(error) => {
            tracing::warn!(%admin, %error, "the permission sets could not be listed");
            return matches!(error.class, Class::Invalid | Class::Refused).then_some(found);
        }
    };
    for set in sets {
        let Some(record) = set.record.filter(|record| is_ours(server, record)) else { continue };
        let key = DatabaseKey { admin: admin.clone(), database: record.database.into() };
        shared.sets.add_leftover(&key, set.role, &record.uid, set.executes);
        found.insert(key);
    }
    shared.sets.set_listed(admin, server.fingerprint);
    Some(found)
}

/// Does a set belong to this DatabaseAdmin, or to a predecessor that no longer exists?
fn is_ours(server: &Server, record: &SetRecord) -> bool {
    server.owner.claim(&record.owner()).is_ours_to_end()
}

/// Drops every set that carries the record of a DatabaseAdmin, or of a predecessor.
///
/// # Errors
///
/// What the server answered.
pub async fn drop_all(server: &Server) -> Result<(), rolecall_engine::Error> {
    for set in server.engine.list_sets().await? {
        if let Some(record) = set.record.filter(|record| is_ours(server, record)) {
            let applied = server.engine.drop_set(&set.role, &record.uid).await?;
            if let Some(why) = applied.kept_because {
                tracing::warn!(set = set.role, why, "a permission set stays");
            }
        }
    }
    Ok(())
}
