//! One pass over the objects of a logical database: they are read and labelled, its sets get what they should have, and
//! the accounts are triggered.

use std::collections::BTreeSet;
use std::sync::Arc;

use rolecall_api::reasons;
use rolecall_engine::plan;
use rolecall_engine::sets::{DesiredSet, SetRecord, SyncedSet, plan_set};
use rolecall_engine::{AccountName, Catalog, CatalogQuery, Class};
use rolecall_policy::{
    CanonicalPermissions, ImportRules, PermissionEntries, Privilege, compute_permissions, label_objects,
};

use super::baseline::{Baseline, Basis};
use super::outcome::state;
use super::{Imported, SetContents, SetState, report};
use crate::Shared;
use crate::model::{Blocker, DatabaseKey};
use crate::servers::Server;

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Reconciliation<'a> {
    pub(super) shared: &'a Shared,
    pub(super) key: &'a DatabaseKey,
    pub(super) server: &'a Server,
    /// The objects could not be read for so long that it is no longer known what the sets give.
    pub(super) overdue: bool,
}

/// The result of a pass.
pub(super) struct Reconciled {
    pub(super) imported: Imported,
    /// Sets that were not there.
    pub(super) made: Vec<String>,
    /// The database announces changes of its objects.
    pub(super) announced: bool,
    /// Something failed that may succeed soon.
    pub(super) retry: bool,
    /// All sets have the privileges that they should have.
    pub(super) complete: bool,
    /// Some set could not be checked.
    pub(super) failed: bool,
    /// What a look at a few objects needs of this one, where changes are announced.
    pub(super) baseline: Option<Baseline>,
}

/// What policy says of the objects of a catalogue.
pub(super) struct Computed {
    /// The privileges that each set should have.
    pub(super) desired: Vec<DesiredSet>,
    imported: Imported,
    /// The baseline, with these objects.
    pub(super) baseline: Option<Baseline>,
}

impl Reconciliation<'_> {
    /// Gives the sets what they should have and triggers their accounts: first those that somebody waits for.
    ///
    /// # Errors
    ///
    /// Why the objects could not be read.
    pub(super) async fn run(
        self,
        basis: Basis,
        kept: &[(String, Arc<PermissionEntries>)],
    ) -> Result<Reconciled, Blocker> {
        let Self { shared, key, server, .. } = self;
        let query = CatalogQuery {
            database: key.database.to_string(),
            sets: kept.iter().map(|(role, _)| role.clone()).collect(),
        };
        let catalog = server.engine.read_objects(&query).await.map_err(|error| Blocker::from(&error))?;
        let catalog = Arc::new(catalog);
        let (database, rules) = (basis.database.clone(), basis.rules.clone());
        let baseline = (catalog.announced && catalog.crowded.is_empty()).then(|| Baseline::new(basis));
        let Computed { desired, imported, baseline } =
            compute(server, key, &database, rules, kept, &catalog, baseline).await?;
        let (waited_for, others): (Vec<DesiredSet>, Vec<DesiredSet>) = desired
            .into_iter()
            .partition(|desired| shared.sets.state(key, &desired.role) == SetState::Pending);
        let mut reconciled = Reconciled {
            imported,
            made: query.sets.into_iter().filter(|role| !catalog.sets.contains_key(role)).collect(),
            announced: catalog.announced,
            retry: false,
            complete: true,
            failed: false,
            baseline,
        };
        for desired in [waited_for, others] {
            self.sync(&desired, &catalog, &mut reconciled).await?;
        }
        Ok(reconciled)
    }

    async fn sync(
        self,
        desired: &[DesiredSet],
        catalog: &Catalog,
        reconciled: &mut Reconciled,
    ) -> Result<(), Blocker> {
        let Self { shared, key, .. } = self;
        let outcomes = self.apply(desired, catalog, &mut reconciled.retry).await?;
        for outcome in &outcomes {
            match &outcome.failure {
                Some(error) if error.class == Class::Transient => {
                    self.report_failure(&outcome.role, &Blocker::from(error));
                    (reconciled.retry, reconciled.failed) = (true, true);
                }
                _ => {
                    let state = state(outcome);
                    // What only a person can fix may be fixed at any moment, and an account may be waiting for it.
                    reconciled.retry |= outcome.busy || matches!(state, SetState::Failed(_));
                    report(shared, key, &outcome.role, state);
                }
            }
        }
        reconciled.complete &= outcomes.iter().all(SyncedSet::is_complete);
        Ok(())
    }

    /// Gives the sets what they should have, and ends the connections of those who lost functions by it; `retry`: not all
    /// of them yet.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached any more.
    pub(super) async fn apply(
        self,
        desired: &[DesiredSet],
        catalog: &Catalog,
        retry: &mut bool,
    ) -> Result<Vec<SyncedSet>, Blocker> {
        let Self { shared, key, server, .. } = self;
        let losing = desired.iter().filter(|desired| loses_functions(desired, catalog));
        let losing: BTreeSet<&str> = losing.map(|desired| desired.role.as_str()).collect();
        let outcomes = match server.engine.sync_sets(desired, catalog).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                // It is not known how much of it was done.
                losing.iter().for_each(|role| shared.sets.disconnect_members(key, role));
                return Err(Blocker::from(&error));
            }
        };
        for outcome in &outcomes {
            let lost = outcome.revoked.contains_key(&Privilege::Execute);
            if lost || (outcome.failure.is_some() && losing.contains(outcome.role.as_str())) {
                shared.sets.disconnect_members(key, &outcome.role);
            }
        }
        // A lost function is reported only when nobody can call it any more.
        *retry |= !self.disconnect().await;
        Ok(outcomes)
    }

    /// A set could not be checked. What was in place counts until it is known to be otherwise; after a while it is
    /// reported as unknown.
    pub(super) fn report_failure(self, role: &str, blocker: &Blocker) {
        let Self { shared, key, .. } = self;
        let state = match shared.sets.state(key, role) {
            SetState::Ready(_) if !self.overdue && !blocker.stalled => return,
            SetState::Ready(contents) => SetState::Ready(Arc::new(SetContents {
                counts: contents.counts.clone(),
                incomplete: Some(blocker.clone()),
            })),
            _ => SetState::Failed(blocker.clone()),
        };
        report(shared, key, role, state);
    }

    /// Ends the connections of those whose set lost functions: plans of inlined functions that they cached outlive the
    /// loss of `EXECUTE`. False where that failed; it is retried then.
    pub(super) async fn disconnect(self) -> bool {
        let Self { shared, key, server, .. } = self;
        let mut done = true;
        for (role, member) in shared.sets.to_disconnect(key) {
            if let Ok(account) = AccountName::new(&*member.username) {
                let database = Some(key.database.to_string());
                let end = plan::disconnect(account, &server.owner.uid, database);
                match server.engine.apply(&end).await {
                    Ok(_) => {}
                    // It was dropped, or belongs to somebody else by now: its connections are not ours to end. One that
                    // a session still has may only have lost its record, and gets it back.
                    Err(error)
                        if error.is_of_changed_account()
                            && !shared.sets.members(key, &role).contains(&member) => {}
                    Err(error) => {
                        tracing::warn!(account = %member, %error, "connections that lost a function could not be ended yet");
                        done = false;
                        continue;
                    }
                }
            }
            shared.sets.disconnected(key, &role, &member);
        }
        done
    }
}

/// Does making the set right take functions from it?
fn loses_functions(desired: &DesiredSet, catalog: &Catalog) -> bool {
    let grants = catalog.sets.get(&desired.role).into_iter().flat_map(|state| &state.grants);
    let has_functions = grants.into_iter().any(|grant| grant.privileges.contains(Privilege::Execute));
    let revokes = |group: &rolecall_engine::sets::RevokeGroup| group.privileges.contains(Privilege::Execute);
    has_functions && plan_set(desired, catalog).revokes.iter().any(revokes)
}

/// The privileges that each set should have, and the baseline with these objects. For tens of thousands of objects this takes some CPU time, so it runs on a
/// blocking thread and does not delay the end of an access.
pub(super) async fn compute(
    server: &Server,
    key: &DatabaseKey,
    database: &rolecall_policy::Database,
    rules: ImportRules,
    kept: &[(String, Arc<PermissionEntries>)],
    catalog: &Arc<Catalog>,
    mut baseline: Option<Baseline>,
) -> Result<Computed, Blocker> {
    let (database, catalog, kept) = (database.clone(), Arc::clone(catalog), kept.to_vec());
    let (owner, name) = (server.owner.clone(), Arc::clone(&key.database));
    let dialect = server.engine.dialect();
    let computed = tokio::task::spawn_blocking(move || {
        let labelled = Arc::new(label_objects(&rules, &database, Arc::clone(&catalog.objects)));
        let desired: Vec<DesiredSet> = kept
            .into_iter()
            .map(|(role, entries)| {
                let permissions = compute_permissions(&entries, &labelled, Some(&name));
                let canonical: CanonicalPermissions = entries.canonical();
                let record = dialect.kept_record(SetRecord::new(&owner, &name, &canonical));
                DesiredSet::new(role, record, &permissions)
            })
            .collect();
        if let Some(baseline) = &mut baseline {
            baseline.add(&catalog, &labelled, &desired);
        }
        let imported = Imported {
            objects: count(labelled.imported()),
            by_rule: labelled
                .imported_per_rule()
                .into_iter()
                .map(|(rule, objects)| (rule.to_owned(), count(objects)))
                .collect(),
            crowded: catalog
                .crowded
                .keys()
                .filter_map(|index| catalog.objects.get(*index))
                .map(|object| format!("{}.{}.{}", object.database, object.schema, object.name))
                .collect(),
        };
        Computed { desired, imported, baseline }
    });
    computed
        .await
        .map_err(|error| Blocker::passing(reasons::PENDING, format!("labelling the objects failed: {error}")))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
