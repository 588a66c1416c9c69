//! One pass over a few objects, which were announced as changed: what they need is done, and nothing else is read.
//!
//! It does to these objects what a pass over all of them would do. Where it cannot be sure of that (a set is gone, something
//! cannot be granted, an access list is nearly full), all are looked at.

use std::collections::BTreeSet;
use std::sync::Arc;

use rolecall_engine::sets::DesiredSet;
use rolecall_engine::{Catalog, CatalogQuery, ObjectRef, Reason, SomeObjects};
use rolecall_policy::{ImportRules, PermissionEntries};

use super::baseline::Baseline;
use super::reconcile::{Reconciliation, compute};
use super::{SetContents, SetState, report};
use crate::model::Blocker;

/// The result of a pass.
pub(super) struct Updated {
    /// What is there now.
    pub(super) baseline: Baseline,
    /// Something failed that may succeed soon.
    pub(super) retry: bool,
}

impl Reconciliation<'_> {
    /// Gives the sets what they should have on these objects. `None`: all of them have to be looked at.
    ///
    /// # Errors
    ///
    /// Why the objects could not be read.
    pub(super) async fn run_on(
        self,
        these: &BTreeSet<ObjectRef>,
        mut baseline: Baseline,
        database: &rolecall_policy::Database,
        rules: ImportRules,
        kept: &[(String, Arc<PermissionEntries>)],
    ) -> Result<Option<Updated>, Blocker> {
        let Self { shared, key, server, .. } = self;
        let query = CatalogQuery {
            database: key.database.to_string(),
            sets: kept.iter().map(|(role, _)| role.clone()).collect(),
        };
        let some = SomeObjects { objects: these.clone(), schemas: baseline.schemas_of(these) };
        let mut catalog = match server.engine.read_some_objects(&query, &some).await {
            Err(error) if error.reason == Reason::Unsupported => return Ok(None),
            read => read.map_err(|error| Blocker::from(&error))?,
        };
        if !catalog.announced || !catalog.crowded.is_empty() {
            return Ok(None);
        }
        baseline.forget(these.iter().copied());
        baseline.forget((0..catalog.objects.len()).filter_map(|object| ObjectRef::of(&catalog, object)));
        catalog.elsewhere = Some(baseline.elsewhere(&catalog));
        let catalog = Arc::new(catalog);
        let computed = compute(server, key, database, rules, kept, &catalog, Some(baseline)).await?;
        let (desired, Some(baseline)) = (computed.desired, computed.baseline) else { return Ok(None) };
        if !desired.iter().all(|desired| is_in_place(desired, &catalog)) {
            return Ok(None);
        }
        let mut retry = false;
        let outcomes = self.apply(&desired, &catalog, &mut retry).await?;
        if !outcomes.iter().all(|outcome| outcome.is_complete() && outcome.connects && !outcome.busy) {
            return Ok(None);
        }
        for (role, counts) in baseline.counts() {
            let contents = SetContents { counts, incomplete: None };
            report(shared, key, role, SetState::Ready(Arc::new(contents)));
        }
        Ok(Some(Updated { baseline, retry }))
    }
}

/// Is the set there, and ours?
fn is_in_place(desired: &DesiredSet, catalog: &Catalog) -> bool {
    let state = catalog.sets.get(&desired.role);
    state.is_some_and(|state| state.connects && state.record.as_ref() == Some(&desired.record))
}
