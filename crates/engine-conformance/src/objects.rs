//! Objects as the suite needs them, and permission sets that are synced.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rolecall_engine::sets::plan_set;
use rolecall_engine::{Catalog, CatalogQuery, DesiredSet, Dialect, OWN_ROLE_PREFIX, SetRecord, SyncedSet};
use rolecall_policy::{ObjectKind, Privilege, PrivilegeSet};

use super::desired::owner;
use super::{Harness, check, check_eq};

/// The objects of a server, set up by hand and inspected without the engine.
#[async_trait]
pub trait Objects: Send + Sync {
    /// What the suite takes for an object here.
    fn sort(&self) -> Sort;

    /// Does the server keep names of objects in lower case, however they are written?
    fn folds_names(&self) -> bool {
        false
    }

    /// Creates a logical database to which only the admin user may connect, and may let others.
    async fn database(&self, base: &str) -> String;

    /// Creates an object that the admin user may grant.
    async fn create(&self, database: &str, object: &str);

    /// Creates an object that the admin user may not grant. False where there is no such thing.
    async fn create_foreign(&self, database: &str, object: &str) -> bool;

    /// Renames an object.
    async fn rename(&self, database: &str, from: &str, to: &str);

    /// Drops an object.
    async fn drop(&self, database: &str, object: &str);

    /// Gives a permission set a privilege on an object. The admin user may take it away.
    async fn grant(&self, database: &str, object: &str, privilege: Privilege, set: &str);

    /// Takes from a permission set what the engine gave it.
    async fn revoke(&self, database: &str, object: &str, privilege: Privilege, set: &str);

    /// The privileges of a permission set on the objects of a logical database.
    async fn privileges_of(&self, database: &str, set: &str) -> SetPrivileges;

    /// Logs in as the user, and tries what this privilege allows.
    async fn can(&self, user: &str, database: &str, object: &str, privilege: Privilege) -> bool;
}

/// Names of objects, each with a privilege.
pub type SetPrivileges = BTreeSet<(String, Privilege)>;

/// A kind of objects, and two of its privileges.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    /// The kind.
    pub kind: ObjectKind,
    /// To read what is in an object.
    pub read: Privilege,
    /// To add to it.
    pub write: Privilege,
}

/// A permission set under test.
pub(super) struct Set<'a> {
    pub(super) harness: &'a dyn Harness,
    pub(super) role: String,
    pub(super) database: String,
    pub(super) uid: &'static str,
}

impl<'a> Set<'a> {
    /// A set of ours that nobody has asked for yet.
    pub(super) fn new(harness: &'a dyn Harness, database: &str) -> Self {
        let role = format!("{OWN_ROLE_PREFIX}{}", harness.name("set"));
        let role = match harness.engine().dialect() {
            Dialect::PostgreSql => role,
            Dialect::MongoDb => format!("{role}@{database}"),
            Dialect::Redshift => role.replace(':', "_"),
        };
        Self { harness, role, database: database.to_owned(), uid: "us" }
    }

    pub(super) async fn read(&self) -> Result<Catalog, String> {
        read(self.harness, &self.database, &[self]).await
    }

    pub(super) fn record(&self) -> SetRecord {
        let owner = owner(self.uid);
        self.harness.engine().dialect().kept_record(SetRecord {
            uid: owner.uid,
            admin: owner.admin,
            cluster: owner.cluster,
            database: self.database.clone(),
            permissions: "what the suite wants".to_owned(),
        })
    }

    /// The desired set with these privileges on objects of these names.
    pub(super) fn desired(&self, catalog: &Catalog, wanted: &[(&str, Privilege)]) -> DesiredSet {
        let kind = self.harness.objects().sort().kind;
        let objects = catalog.objects.iter().enumerate().filter(|(_, object)| object.kind == kind);
        let of = |name: &str| -> PrivilegeSet {
            wanted.iter().filter(|(object, _)| *object == name).map(|(_, privilege)| *privilege).collect()
        };
        let wanted = objects.map(|(i, object)| (i, of(&object.name)));
        DesiredSet {
            role: self.role.clone(),
            record: self.record(),
            wanted: wanted.filter(|(_, privileges)| !privileges.is_empty()).collect(),
        }
    }

    /// Reads and syncs, whatever comes of it.
    pub(super) async fn sync(&self, wanted: &[(&str, Privilege)]) -> Result<SyncedSet, String> {
        let catalog = self.read().await?;
        let outcomes = sync(self.harness, &[self.desired(&catalog, wanted)], &catalog).await?;
        outcomes.into_iter().next().ok_or_else(|| "there is no outcome".to_owned())
    }

    /// Reads and syncs, and checks without the engine that the set has just that and that nothing is left to do.
    pub(super) async fn must(&self, wanted: &[(&str, Privilege)]) -> Result<SyncedSet, String> {
        let outcome = self.sync(wanted).await?;
        check!(outcome.is_complete(), "{outcome:#?}");
        check_eq!(self.privileges().await, expected(wanted));
        let catalog = self.read().await?;
        let left = plan_set(&self.desired(&catalog, wanted), &catalog);
        check!(left.is_nothing(), "{left}");
        Ok(outcome)
    }

    pub(super) async fn privileges(&self) -> SetPrivileges {
        self.harness.objects().privileges_of(&self.database, &self.role).await
    }
}

/// Reads the objects of a logical database, and the grants of these sets.
pub(super) async fn read(h: &dyn Harness, database: &str, sets: &[&Set<'_>]) -> Result<Catalog, String> {
    let sets = sets.iter().map(|set| set.role.clone()).collect();
    let query = CatalogQuery { database: database.to_owned(), sets };
    h.engine().read_objects(&query).await.map_err(|error| error.to_string())
}

/// Syncs sets of one logical database.
pub(super) async fn sync(
    h: &dyn Harness,
    desired: &[DesiredSet],
    catalog: &Catalog,
) -> Result<Vec<SyncedSet>, String> {
    let outcomes = h.engine().sync_sets(desired, catalog).await.map_err(|error| error.to_string())?;
    check_eq!(outcomes.len(), desired.len());
    for (outcome, desired) in outcomes.iter().zip(desired) {
        check_eq!(outcome.role, desired.role);
    }
    Ok(outcomes)
}

/// What [`Objects::privileges_of`] should return.
pub(super) fn expected(wanted: &[(&str, Privilege)]) -> SetPrivileges {
    wanted.iter().map(|(name, privilege)| ((*name).to_owned(), *privilege)).collect()
}
