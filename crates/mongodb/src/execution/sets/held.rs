//! Privileges of a set: as the server has them, and as they should be.

use std::collections::HashMap;
use std::sync::Arc;

use mongodb::bson::{Bson, Document, doc};
use rolecall_engine::objects::{Catalog, Held, SetState};
use rolecall_engine::sets::{DesiredSet, SetRecord};
use rolecall_engine::{Class, Error, Reason};
use rolecall_policy::{Privilege, PrivilegeSet};

use super::marker;
use crate::reads::objects::Numbers;
use crate::statements::role;
use crate::statements::user::documents;

/// Collections in one set. The server compares each privilege of a user with all others when the user logs in, and
/// again after any role was changed: with 20,000 of them that takes close to a second, with 50,000 over ten.
pub(super) const MOST_COLLECTIONS: usize = 20_000;
/// Bytes that the privileges of a set may take. An answer holds at most 16 MiB, and tells them twice.
const MOST_BYTES: usize = 7 << 20;

/// The role of a set as the server has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SetRole {
    pub(super) record: Option<SetRecord>,
    /// Roles that it inherits from; a set does so from none.
    pub(super) inherits: Vec<String>,
    /// What it may do with collections of its logical database.
    collections: Vec<(String, PrivilegeSet)>,
    /// It has something else that no set has.
    foreign_grants: bool,
}

impl SetRole {
    /// Reads a role of `database` from `rolesInfo`.
    pub(super) fn read(role: &Document, database: &str) -> Self {
        let inherits = documents(role, "roles").filter_map(role::read).map(|name| name.to_string());
        let mut set = Self { inherits: inherits.collect(), ..Self::default() };
        for privilege in documents(role, "privileges") {
            match (collection(privilege, database), actions(privilege)) {
                (Some(collection), actions) if marker::is_marker(collection) => {
                    let known = marker::record(collection);
                    set.foreign_grants |=
                        set.record.is_some() || known.is_none() || actions != [marker::ACTION];
                    set.record = set.record.or(known);
                }
                (Some(collection), actions) if !collection.is_empty() => {
                    let known: Vec<Privilege> =
                        actions.iter().filter_map(|action| of_action(action)).collect();
                    set.foreign_grants |= known.len() < actions.len();
                    set.collections.push((collection.to_owned(), known.into_iter().collect()));
                }
                _ => set.foreign_grants = true,
            }
        }
        set
    }

    /// The state by the numbers of a catalogue. A privilege on a collection that is not in it is nothing that a set
    /// should have: the collection was dropped, and whoever makes one of that name decides anew.
    pub(super) fn state(self, numbers: &Numbers<'_>) -> SetState {
        let nobody: Arc<str> = "".into();
        let mut foreign_grants = self.foreign_grants || !self.inherits.is_empty();
        let held = self.collections.into_iter().filter_map(|(collection, privileges)| {
            let object = numbers.get(collection.as_str()).copied();
            foreign_grants |= object.is_none();
            let (grantor, grantable) = (Arc::clone(&nobody), PrivilegeSet::EMPTY);
            Some(Held { object: object?, grantor, privileges, grantable })
        });
        let held = held.collect();
        SetState { record: self.record, connects: true, held, foreign_grants }
    }
}

/// The privileges that a desired set amounts to, with its record.
///
/// # Errors
///
/// `Unsupported` where there are more than a server can do with.
pub(super) fn wanted(desired: &DesiredSet, catalog: &Catalog) -> Result<Vec<Document>, Error> {
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
        let most = format!("a server can do with {MOST_COLLECTIONS}");
        return Err(too_much(desired, &format!("it would hold {collections} collections, and {most}")));
    }
    let bytes =
        mongodb::bson::serialize_to_vec(&doc! { "": &privileges }).map_or(usize::MAX, |all| all.len());
    if bytes > MOST_BYTES {
        let most = format!("a server can tell {} MiB", MOST_BYTES >> 20);
        return Err(too_much(desired, &format!("its privileges would take {} MiB, and {most}", bytes >> 20)));
    }
    Ok(privileges)
}

/// What a set keeps that should hold more than a server can do with: of what it has, what it should have.
pub(super) fn narrowed(desired: &DesiredSet, catalog: &Catalog, state: &SetState) -> Vec<Document> {
    let wanted: HashMap<usize, PrivilegeSet> =
        desired.wanted.iter().map(|(object, all)| (*object, *all)).collect();
    let mut privileges = vec![marker::privilege(&catalog.database, &desired.record)];
    for held in &state.held {
        let Some(facts) = catalog.objects.get(held.object) else { continue };
        let kept =
            wanted.get(&held.object).map_or(PrivilegeSet::EMPTY, |all| all.intersection(held.privileges));
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

/// The collection of this database that a privilege is on; `""` for the database as a whole.
fn collection<'a>(privilege: &'a Document, database: &str) -> Option<&'a str> {
    let resource = privilege.get_document("resource").ok()?;
    let here = resource.get_str("db").is_ok_and(|is| is == database);
    resource.get_str("collection").ok().filter(|_| here)
}

fn actions(privilege: &Document) -> Vec<&str> {
    let actions = privilege.get_array("actions").ok().into_iter().flatten();
    actions.filter_map(Bson::as_str).collect()
}

fn of_action(action: &str) -> Option<Privilege> {
    Privilege::parse(action).filter(|privilege| privilege.mongodb_action() == Some(action))
}

#[cfg(test)]
mod tests {
    use rolecall_policy::{DbObject, ObjectKind};

    use super::*;

    fn catalog(names: &[String]) -> Catalog {
        let object = |name: &String| DbObject::new(ObjectKind::Collection, "shop", "", name.as_str());
        Catalog {
            database: "shop".to_owned(),
            objects: names.iter().map(object).collect(),
            ids: (0..).take(names.len()).collect(),
            open: true,
            ..Catalog::default()
        }
    }

    fn desired(wanted: Vec<(usize, PrivilegeSet)>) -> DesiredSet {
        let record = SetRecord { uid: "us".to_owned(), database: "shop".to_owned(), ..SetRecord::default() };
        DesiredSet { role: "rolecall:1@shop".to_owned(), record, wanted }
    }

    fn read(privileges: Vec<Document>) -> SetState {
        let role = doc! { "role": "rolecall:1", "db": "shop", "roles": [], "privileges": privileges };
        SetRole::read(&role, "shop").state(&Numbers::from([("orders", 0), ("payments", 1)]))
    }

    #[test]
    fn what_is_wanted_is_read_back_as_it_is_desired() {
        let catalog = catalog(&["orders".to_owned(), "payments".to_owned()]);
        let both = PrivilegeSet::from_iter([Privilege::Find, Privilege::RenameCollectionSameDb]);
        // What is no action on collections is left out.
        let select = PrivilegeSet::from_iter([Privilege::Select]);
        let desired = desired(vec![(0, both), (1, select)]);
        let state = read(wanted(&desired, &catalog).unwrap());
        assert_eq!(state.record, Some(desired.record.clone()));
        assert!(state.connects && !state.foreign_grants);
        let held: Vec<_> = state.held.iter().map(|held| (held.object, held.privileges)).collect();
        assert_eq!(held, [(0, both)]);
        let plan = rolecall_engine::sets::plan_from(&desired, &catalog, Some(&state));
        assert!(plan.is_nothing(), "{plan}");
    }

    #[test]
    fn what_no_set_has_is_seen() {
        let on = |resource: Document, action: &str| doc! { "resource": resource, "actions": [action] };
        let mine = |collection: &str| doc! { "db": "shop", "collection": collection };
        for privilege in [
            on(mine(""), "find"),
            on(mine("dropped"), "find"),
            on(mine("orders"), "anyAction"),
            on(doc! { "db": "crm", "collection": "orders" }, "find"),
            on(doc! { "cluster": true }, "killop"),
            on(doc! { "anyResource": true }, "anyAction"),
            on(mine("system.rolecall {"), marker::ACTION),
        ] {
            let state = read(vec![privilege.clone()]);
            assert!(state.foreign_grants, "{privilege}");
            assert!(state.held.iter().all(|held| held.privileges.is_empty()), "{privilege}");
        }
        let role = doc! { "roles": [{ "role": "readWrite", "db": "shop" }], "privileges": [] };
        let role = SetRole::read(&role, "shop");
        assert_eq!(role.inherits, ["readWrite@shop"]);
        assert!(role.state(&Numbers::new()).foreign_grants);
        assert!(!read(vec![on(mine("orders"), "find")]).foreign_grants);
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
