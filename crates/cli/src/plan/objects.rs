//! On which objects privileges are gained and lost.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rolecall_policy::{
    DbObject, LabelledObjects, ObjectPermissions, PermissionEntries, PrivilegeSet, decide_objects,
    label_objects,
};

use super::names;
use super::question::{Decided, KnownObjects, Pair};
use super::view::ObjectDifference;
use crate::access::Policy;
use crate::input::read_objects;

/// Reads `[DATABASE=]FILE`.
///
/// # Errors
///
/// A file that cannot be read.
pub(super) fn read(text: &str) -> anyhow::Result<KnownObjects> {
    // A file of that very name is meant, whatever it is called.
    let (database, file) = match text.split_once('=') {
        Some((database, file)) if !Path::new(text).exists() => (Some(database.to_owned()), file),
        _ => (None, text),
    };
    Ok(KnownObjects { database, list: read_objects(Path::new(file))?.into() })
}

/// One of the two states that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Before,
    After,
}

/// The objects of a server, or of one of its logical databases, with the labels that they have on one side, computed once.
#[derive(Debug, Default)]
pub(super) struct Labelled(HashMap<(Side, String, Option<String>), Arc<LabelledObjects>>);

impl Labelled {
    /// What entries give on objects. `list`: always the same for a server and logical database. None where an import
    /// rule is not valid, or there is no DatabaseAdmin.
    pub(super) fn permissions(
        &mut self,
        side: Side,
        pair: &Pair<'_>,
        logical: Option<&str>,
        list: &Arc<[DbObject]>,
        entries: &PermissionEntries,
    ) -> Option<ObjectPermissions> {
        let (policy, _, admin): (&Policy<'_>, _, _) = match side {
            Side::Before => pair.before,
            Side::After => pair.after,
        };
        let database = rolecall_resolve::database(admin?);
        let key = (side, pair.database.to_owned(), logical.map(str::to_owned));
        let label = || Arc::new(label_objects(policy.rules(), &database, Arc::clone(list)));
        let labelled = self.0.entry(key).or_insert_with(label);
        decide_objects(policy.rules(), &database, logical, entries, labelled).ok()
    }
}

/// The objects on which privileges differ; `None` where no objects of the server are known.
pub(super) fn differences(
    known: &[KnownObjects],
    pair: &Pair<'_>,
    before: &Decided,
    after: &Decided,
    labelled: &mut Labelled,
) -> Option<Vec<ObjectDifference>> {
    let database = pair.database;
    let mut of_server = KnownObjects::of_server(known, database).peekable();
    of_server.peek()?;
    let list: Arc<[DbObject]> = of_server.flat_map(|known| known.list.iter().cloned()).collect();
    let mut permissions = |side: Side, decided: &Decided| {
        let entries = &decided.as_ref().ok()?.provisioning.permissions;
        labelled.permissions(side, pair, None, &list, entries)
    };
    let (had, has) = (permissions(Side::Before, before), permissions(Side::After, after));
    let privileges = |permissions: &Option<ObjectPermissions>, decided: &Decided, index: usize| {
        let may_connect =
            decided.as_ref().is_ok_and(|access| names::has(&access.names, &list[index].database));
        match permissions {
            Some(permissions) if may_connect => permissions.privileges(index),
            _ => PrivilegeSet::EMPTY,
        }
    };
    let difference = |(index, object): (usize, &DbObject)| {
        let (had, has) = (privileges(&had, before, index), privileges(&has, after, index));
        (had != has).then(|| ObjectDifference {
            kind: object.kind,
            database: object.database.to_string(),
            schema: object.schema.to_string(),
            name: object.name.to_string(),
            gained: has.difference(had).iter().collect(),
            lost: had.difference(has).iter().collect(),
        })
    };
    Some(list.iter().enumerate().filter_map(difference).collect())
}
