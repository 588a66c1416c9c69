//! What was found in logical databases, for counting and warning.

use super::baseline::Baseline;
use super::registry::SetRegistry;
use super::registry::of_server;
use super::state::Imported;
use crate::model::{DatabaseKey, ObjectKey};

impl SetRegistry {
    /// Keeps what was found in a database; true when that differs from before.
    pub fn set_imported(&self, key: &DatabaseKey, imported: Option<Imported>) -> bool {
        let mut databases = self.locked();
        // Nothing is kept for a database that is not known otherwise.
        let Some(database) = databases.get_mut(key) else { return false };
        let news = database.imported != imported;
        database.imported = imported;
        if database.is_unknown() {
            databases.remove(key);
        }
        news
    }

    /// Takes what a look at a few objects goes by.
    pub(super) fn take_baseline(&self, key: &DatabaseKey) -> Option<Baseline> {
        self.locked().get_mut(key)?.baseline.take()
    }

    /// Keeps what a look at a few objects goes by.
    pub(super) fn set_baseline(&self, key: &DatabaseKey, baseline: Option<Baseline>) {
        if let Some(database) = self.locked().get_mut(key) {
            database.baseline = baseline;
        }
    }

    /// What was found in the databases of a server: how many were read, and what is in them.
    pub fn imported(&self, admin: &ObjectKey) -> (u32, Imported) {
        let databases = self.locked();
        let mut all = Imported::default();
        let mut count = 0;
        for (_, database) in of_server(&databases, admin) {
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
        let first = ObjectKey { namespace: namespace.into(), name: "".into() };
        let first = DatabaseKey { admin: first, database: "".into() };
        let imported = databases
            .range(first..)
            .take_while(|(key, _)| &*key.admin.namespace == namespace)
            .filter_map(|(_, database)| database.imported.as_ref());
        imported.map(|imported| imported.by_rule.get(rule).copied().unwrap_or(0)).reduce(u32::saturating_add)
    }
}
