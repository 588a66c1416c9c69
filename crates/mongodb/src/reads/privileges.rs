//! What the admin user may do.

use std::collections::BTreeSet;

use mongodb::bson::{Bson, Document, doc};
use rolecall_engine::dialect::mongodb::EXTERNAL;

use crate::statements::role;
use crate::statements::user::documents;
use crate::transport::request::Request;

/// Every privilege of the admin user, through whichever role.
#[derive(Clone, Debug, Default)]
pub(crate) struct Privileges {
    list: Vec<(Resource, BTreeSet<String>)>,
    /// A custom role of the database `admin` that it has, where more privileges can be added.
    pub(crate) role: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Resource {
    Cluster,
    Anything,
    /// A database as a whole; all of them where the name is empty.
    Database(String),
    /// Single collections and the like.
    Other,
}

/// Anybody may ask this about themselves.
pub(crate) fn connection_status() -> Request {
    let command = doc! { "connectionStatus": 1, "showPrivileges": true };
    Request::new("reading what the admin user may do", "admin", command)
}

impl Privileges {
    pub(crate) fn read(answer: &Document) -> Self {
        let Ok(info) = answer.get_document("authInfo") else { return Self::default() };
        let list = documents(info, "authenticatedUserPrivileges")
            .filter_map(|privilege| {
                let resource = resource(privilege.get_document("resource").ok()?);
                let actions = privilege.get_array("actions").ok()?.iter().filter_map(Bson::as_str);
                Some((resource, actions.map(str::to_owned).collect()))
            })
            .collect();
        let role = documents(info, "authenticatedUserRoles")
            .filter_map(role::read)
            .find(|name| name.database == "admin" && !name.is_built_in())
            .map(|name| name.role);
        Self { list, role }
    }

    pub(crate) fn on_cluster(&self, action: &str) -> bool {
        self.any(action, |resource| matches!(resource, Resource::Cluster | Resource::Anything))
    }

    /// On a database as a whole; on every one where the name is empty.
    pub(crate) fn on_database(&self, database: &str, action: &str) -> bool {
        self.any(action, |resource| match resource {
            Resource::Anything => true,
            Resource::Database(name) => name.is_empty() || name == database,
            Resource::Cluster | Resource::Other => false,
        })
    }

    /// The databases on which an action is given by name; and whether it is given on every one.
    pub(crate) fn databases(&self, action: &str) -> (BTreeSet<String>, bool) {
        let given =
            self.list.iter().filter(|(_, actions)| actions.contains(action) || actions.contains("anyAction"));
        let (mut names, mut everywhere) = (BTreeSet::new(), false);
        for (resource, _) in given {
            match resource {
                Resource::Database(name) if !name.is_empty() => drop(names.insert(name.clone())),
                Resource::Database(_) | Resource::Anything => everywhere = true,
                Resource::Cluster | Resource::Other => {}
            }
        }
        (names, everywhere)
    }

    /// What is missing of what every account needs, by resource.
    pub(crate) fn missing(&self) -> Vec<(&'static str, Document, Vec<&'static str>)> {
        let lacking = |actions: &[&'static str], has: &dyn Fn(&str) -> bool| -> Vec<&'static str> {
            actions.iter().copied().filter(|action| !has(action)).collect()
        };
        let all = [
            (
                EXTERNAL,
                doc! { "db": EXTERNAL, "collection": "" },
                lacking(&USER_ACTIONS, &|action| self.on_database(EXTERNAL, action)),
            ),
            (
                "every database",
                doc! { "db": "", "collection": "" },
                lacking(&["revokeRole"], &|action| self.on_database("", action)),
            ),
            (
                "the cluster",
                doc! { "cluster": true },
                lacking(&["inprog"], &|action| self.on_cluster(action)),
            ),
        ];
        all.into_iter().filter(|(_, _, actions)| !actions.is_empty()).collect()
    }

    fn any(&self, action: &str, fits: impl Fn(&Resource) -> bool) -> bool {
        self.list.iter().any(|(resource, actions)| {
            fits(resource) && (actions.contains(action) || actions.contains("anyAction"))
        })
    }
}

/// What users need to be made, changed, seen and dropped.
const USER_ACTIONS: [&str; 6] =
    ["createUser", "updateUser", "dropUser", "viewUser", "setAuthenticationRestriction", "changeCustomData"];

fn resource(resource: &Document) -> Resource {
    if resource.get_bool("anyResource").unwrap_or(false) {
        return Resource::Anything;
    }
    if resource.get_bool("cluster").unwrap_or(false) {
        return Resource::Cluster;
    }
    match (resource.get_str("db"), resource.get_str("collection")) {
        (Ok(database), Ok("")) => Resource::Database(database.to_owned()),
        _ => Resource::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privileges(list: Vec<Document>) -> Privileges {
        Privileges::read(&doc! { "authInfo": {
            "authenticatedUserRoles": [{ "role": "root", "db": "admin" }, { "role": "ours", "db": "admin" }],
            "authenticatedUserPrivileges": list,
        } })
    }

    fn documented() -> Vec<Document> {
        vec![
            doc! { "resource": { "cluster": true }, "actions": ["inprog"] },
            doc! { "resource": { "db": "", "collection": "" }, "actions": ["revokeRole"] },
            doc! { "resource": { "db": "shop", "collection": "" }, "actions": ["grantRole"] },
            doc! { "resource": { "db": EXTERNAL, "collection": "" }, "actions": USER_ACTIONS.to_vec() },
        ]
    }

    #[test]
    fn what_the_documentation_asks_for_is_enough_and_each_part_is_needed() {
        let all = privileges(documented());
        assert_eq!(all.missing(), []);
        assert_eq!(all.role.as_deref(), Some("ours"));
        assert!(all.on_database("shop", "grantRole") && !all.on_database("hr", "grantRole"));
        assert!(!all.on_cluster("killop"));
        for (index, missing) in [(0, "the cluster"), (1, "every database"), (3, EXTERNAL)] {
            let mut list = documented();
            list.remove(index);
            let found: Vec<&str> = privileges(list).missing().iter().map(|(name, _, _)| *name).collect();
            assert_eq!(found, [missing]);
        }
    }

    #[test]
    fn rights_on_everything_are_enough_and_those_on_collections_are_not() {
        let everything = vec![doc! { "resource": { "anyResource": true }, "actions": ["anyAction"] }];
        assert_eq!(privileges(everything).missing(), []);
        let collections =
            vec![doc! { "resource": { "db": "", "collection": "x" }, "actions": ["revokeRole"] }];
        assert!(!privileges(collections).on_database("", "revokeRole"));
    }
}
