//! The privileges of a permission set, as the documents that `createRole` and `updateRole` take.

use std::collections::HashMap;

use mongodb::bson::{Document, doc};
use rolecall_engine::objects::{Catalog, SetState};
use rolecall_engine::sets::DesiredSet;
use rolecall_engine::{Class, Error, Reason};
use rolecall_policy::{Privilege, PrivilegeSet};

use super::marker;

/// Collections in one set. The server compares each privilege of a user with all others when the user logs in, and
/// again after any role was changed: with 20,000 of them that takes close to a second, with 50,000 over ten.
pub(crate) const MOST_COLLECTIONS: usize = 20_000;
/// Bytes that the privileges of a set may take. An answer has at most 16 MiB, and contains them twice.
const MOST_BYTES: usize = 7 << 20;

/// The privileges that a desired set amounts to, with its record.
///
/// # Errors
///
/// `Unsupported` where there are more than a server can handle.
pub(crate) fn wanted(desired: &DesiredSet, catalog: &Catalog) -> Result<Vec<Document>, Error> {
    let mut privileges = vec![marker::privilege(&catalog.database, &desired.record)];
    for (object, wanted) in &desired.wanted {
        let Some(facts) = catalog.objects.get(*object) else { continue };
        let wanted = wanted.intersection(PrivilegeSet::of_kind(facts.kind)).difference(catalog.unknown);
        let actions: Vec<&str> = wanted.iter().filter_map(Privilege::mongodb_action).collect();
        if !actions.is_empty() {
            let resource = doc! { "db": &catalog.database, "collection": &*facts.name };
            privileges.push(doc! { "resource": resource, "actions": actions });
        }
    }
    let collections = privileges.len() - 1;
    if collections > MOST_COLLECTIONS {
        let most = format!("a server can handle {MOST_COLLECTIONS}");
        return Err(too_much(desired, &format!("it would have {collections} collections, and {most}")));
    }
    let bytes =
        mongodb::bson::serialize_to_vec(&doc! { "": &privileges }).map_or(usize::MAX, |all| all.len());
    if bytes > MOST_BYTES {
        let most = format!("a server can return {} MiB", MOST_BYTES >> 20);
        return Err(too_much(desired, &format!("its privileges would take {} MiB, and {most}", bytes >> 20)));
    }
    Ok(privileges)
}

/// Makes the role of a set, or replaces all that it has.
pub(crate) fn command(role: &str, exists: bool, privileges: &[Document]) -> Document {
    let verb = if exists { "updateRole" } else { "createRole" };
    doc! { verb: role, "privileges": privileges, "roles": [] }
}

/// The privileges of a set that should have more than a server can handle: those of its present ones that it should
/// have.
pub(crate) fn narrowed(desired: &DesiredSet, catalog: &Catalog, state: &SetState) -> Vec<Document> {
    let wanted: HashMap<usize, PrivilegeSet> =
        desired.wanted.iter().map(|(object, all)| (*object, *all)).collect();
    let mut privileges = vec![marker::privilege(&catalog.database, &desired.record)];
    for grant in &state.grants {
        let Some(facts) = catalog.objects.get(grant.object) else { continue };
        let kept =
            wanted.get(&grant.object).map_or(PrivilegeSet::EMPTY, |all| all.intersection(grant.privileges));
        let actions: Vec<&str> = kept.iter().filter_map(Privilege::mongodb_action).collect();
        if !actions.is_empty() {
            let resource = doc! { "db": &catalog.database, "collection": &*facts.name };
            privileges.push(doc! { "resource": resource, "actions": actions });
        }
    }
    privileges
}

fn too_much(desired: &DesiredSet, detail: &str) -> Error {
    Error {
        class: Class::Refused,
        reason: Reason::Unsupported,
        attempted: format!("making the permission set {:?}", desired.role),
        code: String::new(),
        detail: detail.to_owned(),
        remedy:
            "let dbPermissions or the DbObjectImportRules select fewer collections, or give a database role"
                .to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rolecall_engine::sets::SetRecord;
    use rolecall_policy::{DbObject, ObjectKind};

    use super::*;

    pub(crate) fn catalog(names: &[String]) -> Catalog {
        let object = |name: &String| DbObject::new(ObjectKind::Collection, "shop", "", name.as_str());
        Catalog {
            database: "shop".to_owned(),
            objects: names.iter().map(object).collect(),
            ids: (0..).take(names.len()).collect(),
            open: true,
            ..Catalog::default()
        }
    }

    pub(crate) fn desired(wanted: Vec<(usize, PrivilegeSet)>) -> DesiredSet {
        let record = SetRecord { uid: "us".to_owned(), database: "shop".to_owned(), ..SetRecord::default() };
        DesiredSet { role: "rolecall:1@shop".to_owned(), record, wanted }
    }

    #[test]
    fn more_than_a_server_can_do_with_is_refused() {
        let find = PrivilegeSet::from_iter([Privilege::Find]);
        let names: Vec<String> = (0..=MOST_COLLECTIONS).map(|i| format!("c{i}")).collect();
        let catalog = catalog(&names);
        let all = |count: usize| desired((0..count).map(|object| (object, find)).collect());
        assert_eq!(wanted(&all(MOST_COLLECTIONS), &catalog).unwrap().len(), MOST_COLLECTIONS + 1);
        let error = wanted(&all(MOST_COLLECTIONS + 1), &catalog).unwrap_err();
        assert_eq!((error.class, error.reason), (Class::Refused, Reason::Unsupported));
        assert!(error.detail.contains("20001 collections"), "{error}");

        let names: Vec<String> = (0..MOST_COLLECTIONS).map(|i| format!("{i:0240}")).collect();
        let everything = PrivilegeSet::of_kind(ObjectKind::Collection);
        let desired = desired((0..MOST_COLLECTIONS).map(|object| (object, everything)).collect());
        let error = wanted(&desired, &self::catalog(&names)).unwrap_err();
        assert!(error.detail.contains("MiB"), "{error}");
    }
}
