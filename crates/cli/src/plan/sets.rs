//! What the operator runs for a permission set, as far as the objects of its logical database are known.

use std::sync::Arc;

use rolecall_api::Protocol;
use rolecall_engine::objects::{Catalog, ObjectGrant, SetState};
use rolecall_engine::sets::{DesiredSet, SetRecord, plan_set};
use rolecall_engine::{Dialect, Owner};
use rolecall_policy::{DbObject, ObjectKind, ObjectPermissions, PermissionEntries, PrivilegeSet};
use rolecall_resolve::admin_user;

use super::objects::{Labelled, Side};
use super::question::{KnownObjects, Pair};

/// A permission set without its name, which follows from these and the DatabaseAdmin.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// The logical database.
    pub(super) database: String,
    /// What its members may do, whatever the objects are.
    pub(super) entries: Arc<PermissionEntries>,
}

/// From what the set has to what it should have. None where no objects of its logical database are known. `before`: the
/// same set where sessions had it already; another one shares the role with nobody, as far as is known here.
pub(super) fn statements(
    pair: &Pair<'_>,
    known: &[KnownObjects],
    labelled: &mut Labelled,
    role: &str,
    set: &Set,
    before: Option<&Set>,
    owner: &Owner,
) -> Vec<String> {
    let (database, Some(admin)) = (set.database.as_str(), pair.after.2) else { return Vec::new() };
    let objects: Arc<[DbObject]> = KnownObjects::of_server(known, pair.database)
        .flat_map(|known| known.list.iter().filter(|object| &*object.database == database).cloned())
        .collect();
    if objects.is_empty() {
        return Vec::new();
    }
    let (dialect, preview): (_, fn(&DesiredSet, &Catalog) -> Vec<String>) = match admin.spec.protocol {
        Protocol::Postgres => (Dialect::PostgreSql, rolecall_postgres::preview_set),
        Protocol::Mongodb => (Dialect::MongoDb, rolecall_mongodb::preview_set),
        Protocol::Redshift => (Dialect::Redshift, rolecall_redshift::preview_set),
    };
    let record = dialect.kept_record(SetRecord::new(owner, database, &set.entries.canonical()));
    let desired = |permissions: &ObjectPermissions| DesiredSet::new(role, record.clone(), permissions);
    let Some(after) = labelled.permissions(Side::After, pair, Some(database), &objects, &set.entries) else {
        return Vec::new();
    };
    let mut catalog = catalog(database, &objects);
    if let Some(before) = before {
        let had = labelled.permissions(Side::Before, pair, Some(database), &objects, &before.entries);
        let grantor = admin_user(admin).name.unwrap_or_default();
        let grants = had.map(|had| grants(&desired(&had), &catalog, &grantor)).unwrap_or_default();
        let state = SetState { record: Some(record.clone()), connects: true, grants, foreign_grants: false };
        catalog.sets.insert(role.to_owned(), state);
    }
    preview(&desired(&after), &catalog)
}

/// The objects of a logical database, with the schemas that they lie in: each is there, whether it was listed or not.
fn catalog(database: &str, objects: &Arc<[DbObject]>) -> Catalog {
    let mut all = objects.to_vec();
    let is_schema = |object: &&DbObject| object.kind == ObjectKind::Schema;
    let mut schemas: std::collections::BTreeSet<Arc<str>> =
        objects.iter().filter(|object| !is_schema(object)).map(|object| Arc::clone(&object.schema)).collect();
    for listed in objects.iter().filter(is_schema) {
        schemas.remove(&listed.schema);
    }
    let named = schemas.into_iter().filter(|schema| !schema.is_empty());
    all.extend(
        named.map(|schema| DbObject::new(ObjectKind::Schema, database, Arc::clone(&schema), &*schema)),
    );
    Catalog {
        database: database.to_owned(),
        ids: (0..).take(all.len()).collect(),
        objects: all.into(),
        ..Catalog::default()
    }
}

/// What a set has that has what it should.
fn grants(desired: &DesiredSet, catalog: &Catalog, grantor: &str) -> Vec<ObjectGrant> {
    let grantor: Arc<str> = grantor.into();
    let groups = plan_set(desired, catalog).grants;
    let of_group = |group: rolecall_engine::sets::GrantGroup| {
        let grantor = Arc::clone(&grantor);
        group.objects.into_iter().map(move |object| ObjectGrant {
            object,
            grantor: Arc::clone(&grantor),
            privileges: group.privileges,
            grantable: PrivilegeSet::EMPTY,
        })
    };
    groups.into_iter().flat_map(of_group).collect()
}
