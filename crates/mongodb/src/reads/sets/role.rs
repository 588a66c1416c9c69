//! A permission set as the server has it: what `rolesInfo` says of its role.

use std::sync::Arc;

use mongodb::bson::{Bson, Document};
use rolecall_engine::objects::{ObjectGrant, SetState};
use rolecall_engine::sets::SetRecord;
use rolecall_policy::{Privilege, PrivilegeSet};

use crate::reads::objects::Numbers;
use crate::statements::user::documents;
use crate::statements::{marker, role};

/// The role of a set as the server has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SetRole {
    pub(crate) record: Option<SetRecord>,
    /// Roles that it inherits from; a set does so from none.
    pub(crate) inherits: Vec<String>,
    /// What it may do with collections of its logical database.
    collections: Vec<(String, PrivilegeSet)>,
    /// It has something else that no set has.
    foreign_grants: bool,
}

impl SetRole {
    /// Reads a role of `database` from `rolesInfo`.
    pub(crate) fn read(role: &Document, database: &str) -> Self {
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
    /// should have: the collection was dropped, and a new one of that name needs a new decision.
    pub(crate) fn state(self, numbers: &Numbers<'_>) -> SetState {
        let nobody: Arc<str> = "".into();
        let mut foreign_grants = self.foreign_grants || !self.inherits.is_empty();
        let grants = self.collections.into_iter().filter_map(|(collection, privileges)| {
            let object = numbers.get(collection.as_str()).copied();
            foreign_grants |= object.is_none();
            let (grantor, grantable) = (Arc::clone(&nobody), PrivilegeSet::EMPTY);
            Some(ObjectGrant { object: object?, grantor, privileges, grantable })
        });
        let grants = grants.collect();
        SetState { record: self.record, connects: true, grants, foreign_grants }
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
    use mongodb::bson::doc;

    use super::*;
    use crate::statements::set::tests::{catalog, desired};
    use crate::statements::set::wanted;

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
        let grants: Vec<_> = state.grants.iter().map(|grant| (grant.object, grant.privileges)).collect();
        assert_eq!(grants, [(0, both)]);
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
            assert!(state.grants.iter().all(|grant| grant.privileges.is_empty()), "{privilege}");
        }
        let role = doc! { "roles": [{ "role": "readWrite", "db": "shop" }], "privileges": [] };
        let role = SetRole::read(&role, "shop");
        assert_eq!(role.inherits, ["readWrite@shop"]);
        assert!(role.state(&Numbers::new()).foreign_grants);
        assert!(!read(vec![on(mine("orders"), "find")]).foreign_grants);
    }
}
