//! What makes a database role powerful: whoever has it can reach beyond data, to users or to the whole server.

use std::collections::BTreeSet;

use mongodb::bson::{Bson, Document};

use crate::statements::user::documents;

/// Actions that make whoever has them powerful, on whatever they are given.
const ACTIONS: &[&str] = &[
    // Everything.
    "anyAction",
    "internal",
    // Users and roles.
    "createUser",
    "updateUser",
    "dropUser",
    "changePassword",
    "changeCustomData",
    "changeOwnCustomData",
    "setAuthenticationRestriction",
    "createRole",
    "updateRole",
    "dropRole",
    "grantRole",
    "revokeRole",
    "authSchemaUpgrade",
    "impersonate",
    // What others run.
    "killop",
    "killAnyCursor",
    "killAnySession",
    "dropConnections",
    // The server, the replica set, the cluster.
    "addShard",
    "bypassWriteBlockingMode",
    "cpuProfiler",
    "flushRouterConfig",
    "forceUUID",
    "fsync",
    "invalidateUserCache",
    "logRotate",
    "oidReset",
    "removeShard",
    "replSetConfigure",
    "replSetResizeOplog",
    "replSetStateChange",
    "resync",
    "rotateCertificates",
    "setClusterParameter",
    "setDefaultRWC",
    "setFeatureCompatibilityVersion",
    "setParameter",
    "setUserWriteBlockMode",
    "shutdown",
    "unlock",
];

/// Actions that make users and roles where they are given on the collections that contain them.
const WRITES: [&str; 3] = ["insert", "update", "remove"];
/// The collections of users and roles, in the database `admin`.
const KEPT_IN: [&str; 2] = ["system.users", "system.roles"];

/// What makes a role powerful, of a role as `rolesInfo` shows it with privileges.
pub(crate) fn powers(role: &Document) -> Vec<String> {
    let privileges: Vec<&Document> =
        documents(role, "inheritedPrivileges").chain(documents(role, "privileges")).collect();
    let mut granted: BTreeSet<&str> = BTreeSet::new();
    let mut writes: BTreeSet<&str> = BTreeSet::new();
    for privilege in privileges {
        let actions = privilege.get_array("actions").ok().into_iter().flatten().filter_map(Bson::as_str);
        let reaches_users = privilege.get_document("resource").is_ok_and(holds_users);
        for action in actions {
            granted.insert(action);
            if reaches_users {
                writes.insert(action);
            }
        }
    }
    let actions =
        ACTIONS.iter().filter(|action| granted.contains(*action)).map(|action| (*action).to_owned());
    let writes = WRITES.iter().filter(|action| writes.contains(*action));
    actions.chain(writes.map(|action| format!("{action} on the users and roles of the server"))).collect()
}

/// Are the server's users or roles among it? Rights on a database as a whole do not reach its system collections.
fn holds_users(resource: &Document) -> bool {
    let any = resource.get_bool("anyResource").unwrap_or(false);
    let database = resource.get_str("db").is_ok_and(|is| matches!(is, "admin" | ""));
    any || database && resource.get_str("collection").is_ok_and(|is| KEPT_IN.contains(&is))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    fn of(resource: Document, actions: &[&str]) -> Vec<String> {
        let privilege = doc! { "resource": resource, "actions": actions.to_vec() };
        let direct = powers(&doc! { "privileges": [privilege.clone()] });
        assert_eq!(direct, powers(&doc! { "inheritedPrivileges": [privilege] }));
        direct
    }

    #[test]
    fn power_over_users_and_the_server_is_recognized() {
        for action in ["changeCustomData", "setAuthenticationRestriction", "dropUser", "revokeRole"] {
            assert_eq!(of(doc! { "db": "$external", "collection": "" }, &["find", action]), [action]);
        }
        for action in ["shutdown", "replSetConfigure", "killAnySession", "setParameter", "killop"] {
            assert_eq!(of(doc! { "cluster": true }, &[action, "inprog"]), [action]);
        }
        assert_eq!(of(doc! { "anyResource": true }, &["anyAction"]), ["anyAction"]);
    }

    #[test]
    fn writing_users_and_roles_is_power_and_writing_data_is_none() {
        let power = |action: &str| vec![format!("{action} on the users and roles of the server")];
        for resource in [
            doc! { "anyResource": true },
            doc! { "db": "admin", "collection": "system.users" },
            doc! { "db": "admin", "collection": "system.roles" },
            doc! { "db": "", "collection": "system.users" },
        ] {
            for action in WRITES {
                assert_eq!(of(resource.clone(), &["find", action]), power(action), "{resource}");
            }
            assert!(of(resource, &["find", "listIndexes"]).is_empty());
        }
        for resource in [
            doc! { "db": "", "collection": "" },
            doc! { "db": "admin", "collection": "" },
            doc! { "db": "shop", "collection": "system.users" },
            doc! { "db": "shop", "collection": "system.js" },
            doc! { "db": "shop", "system_buckets": "load" },
        ] {
            assert!(of(resource.clone(), &["find", "insert", "update", "remove"]).is_empty(), "{resource}");
        }
    }
}
