//! On which objects privileges are gained and lost.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rolecall_policy::{
    DbObject, LabelledObjects, ObjectPermissions, PrivilegeSet, decide_objects, label_objects,
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

/// The objects of a server with the labels that they have on one side, computed once.
#[derive(Debug, Default)]
pub(super) struct Labelled(HashMap<(bool, String), Arc<LabelledObjects>>);

/// The objects on which privileges differ; `None` where no objects of the server are known.
pub(super) fn differences(
    known: &[KnownObjects],
    pair: &Pair<'_>,
    before: &Decided,
    after: &Decided,
    labelled: &mut Labelled,
) -> Option<Vec<ObjectDifference>> {
    let database = pair.database;
    let of_server =
        known.iter().filter(|known| known.database.as_deref().is_none_or(|name| name == database));
    let list: Arc<[DbObject]> = of_server.clone().flat_map(|known| known.list.iter().cloned()).collect();
    of_server.clone().next()?;
    let (had, has) =
        (permissions(labelled, false, pair, &list, before), permissions(labelled, true, pair, &list, after));
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

fn permissions(
    labelled: &mut Labelled,
    afterwards: bool,
    pair: &Pair<'_>,
    list: &Arc<[DbObject]>,
    decided: &Decided,
) -> Option<ObjectPermissions> {
    let (policy, _, admin): (&Policy<'_>, _, _) = if afterwards { pair.after } else { pair.before };
    let (access, database) = (decided.as_ref().ok()?, rolecall_resolve::database(admin?));
    let key = (afterwards, pair.database.to_owned());
    let labelled = labelled
        .0
        .entry(key)
        .or_insert_with(|| Arc::new(label_objects(policy.rules(), &database, Arc::clone(list))));
    // An import rule that is not valid gives nothing.
    decide_objects(policy.rules(), &database, None, &access.provisioning.permissions, labelled).ok()
}
