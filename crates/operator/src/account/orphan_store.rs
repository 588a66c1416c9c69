//! Accounts that can be used though no session accounts for them: what is remembered of them between the inventory that
//! shows one and the reconcile that ends it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{AccountKey, ObjectKey};

/// See the module.
#[derive(Debug, Default)]
pub struct OrphanStore {
    suspects: Mutex<HashSet<AccountKey>>,
    /// Why an orphan could not be ended.
    stuck: Mutex<HashMap<AccountKey, String>>,
    /// The orphans that were reported last.
    reported: Mutex<BTreeSet<AccountKey>>,
}

impl OrphanStore {
    /// A server showed this account of ours enabled, and no session accounted for it.
    pub fn suspect(&self, key: &AccountKey) {
        locked(&self.suspects).insert(key.clone());
    }

    /// Was it seen as an orphan? Once asked, it is forgotten.
    pub fn take_suspect(&self, key: &AccountKey) -> bool {
        locked(&self.suspects).remove(key)
    }

    /// Keeps why an orphan could not be ended; `None` where it was.
    pub fn set_stuck(&self, key: &AccountKey, why: Option<String>) {
        match why {
            Some(why) => locked(&self.stuck).insert(key.clone(), why),
            None => locked(&self.stuck).remove(key),
        };
    }

    /// Why an orphan could not be ended, where that was tried.
    pub fn stuck(&self, key: &AccountKey) -> Option<String> {
        locked(&self.stuck).get(key).cloned()
    }

    /// Keeps the orphans of a server that are reported now; returns those that were not before.
    pub fn report(&self, admin: &ObjectKey, orphans: &BTreeSet<AccountKey>) -> BTreeSet<AccountKey> {
        let mut reported = locked(&self.reported);
        let new = orphans.difference(&reported).cloned().collect();
        reported.retain(|key| key.admin != *admin || orphans.contains(key));
        reported.extend(orphans.iter().cloned());
        new
    }

    /// Forgets those of a server that is gone.
    pub fn forget_server(&self, admin: &ObjectKey) {
        locked(&self.stuck).retain(|key, _| key.admin != *admin);
        locked(&self.reported).retain(|key| key.admin != *admin);
    }
}

// A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_is_reported_once_and_again_when_it_comes_back() {
        let store = OrphanStore::default();
        let admin = ObjectKey { namespace: "shop".into(), name: "orders".into() };
        let alice = AccountKey { admin: admin.clone(), username: "alice".into() };
        let one = BTreeSet::from([alice.clone()]);
        assert_eq!(store.report(&admin, &one), one);
        assert!(store.report(&admin, &one).is_empty());
        assert!(store.report(&admin.sibling("elsewhere"), &BTreeSet::new()).is_empty());
        assert!(store.report(&admin, &one).is_empty(), "another server's orphans say nothing of it");
        store.report(&admin, &BTreeSet::new());
        assert_eq!(store.report(&admin, &one), one);
        store.suspect(&alice);
        assert!(store.take_suspect(&alice) && !store.take_suspect(&alice));
    }
}
