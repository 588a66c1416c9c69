//! Commands that a person can paste into mongosh. They never run from here.

use serde_json::{Value, json};

use super::{EXTERNAL, NOWHERE, RECORD, RoleName, user_name_of};
use crate::{AccountName, MARKER, Owner};

/// `db.getSiblingDB(database).runCommand(command)`. The name of the command must come first, and it does where it is the
/// first in the alphabet, too.
pub fn run(database: &str, command: &Value) -> String {
    format!("db.getSiblingDB({}).runCommand({command})", json!(database))
}

/// Creates a role without privileges.
pub fn create_role(role: &str) -> String {
    match RoleName::parse(role) {
        Ok(name) => run(&name.database, &json!({"createRole": name.role, "privileges": [], "roles": []})),
        Err(_) => format!("createRole for {role:?}"),
    }
}

/// Drops a role.
pub fn drop_role(role: &str) -> String {
    match RoleName::parse(role) {
        Ok(name) => run(&name.database, &json!({"dropRole": name.role})),
        Err(_) => format!("dropRole for {role:?}"),
    }
}

/// Drops a user.
pub fn drop_user(account: &AccountName) -> String {
    run(EXTERNAL, &json!({"dropUser": user_name_of(account.as_str())}))
}

/// Takes the roles of a user away, and lets it in from nowhere.
pub fn lock_user(account: &AccountName) -> String {
    let user = json!(user_name_of(account.as_str()));
    let change = json!({"authenticationRestrictions": [{"clientSource": [NOWHERE]}], "roles": []});
    format!("db.getSiblingDB({}).updateUser({user}, {change})", json!(EXTERNAL))
}

/// Takes marker and record away from a user.
pub fn forget_user(account: &AccountName) -> String {
    let user = json!(user_name_of(account.as_str()));
    format!("db.getSiblingDB({}).updateUser({user}, {{\"customData\": {{}}}})", json!(EXTERNAL))
}

/// Gives a user marker and record again. Anything else in its customData must be kept by hand.
pub fn own_user(account: &AccountName, owner: &Owner) -> String {
    let user = json!(user_name_of(account.as_str()));
    let Owner { uid, admin, cluster, .. } = owner;
    let data = json!({MARKER: true, RECORD: {"uid": uid, "admin": admin, "cluster": cluster}});
    let change = json!({"customData": data});
    format!("db.getSiblingDB({}).updateUser({user}, {change})", json!(EXTERNAL))
}

/// Lets the admin user grant the roles of the database that `role` belongs to.
pub fn may_grant(role: &str, admin_user: &str, admin_role: Option<&str>) -> String {
    format!("run {}", may_grant_commands(role, admin_user, admin_role).join("; "))
}

/// The same, one command each.
pub fn may_grant_commands(role: &str, admin_user: &str, admin_role: Option<&str>) -> Vec<String> {
    let database = RoleName::parse(role).map_or_else(|_| String::new(), |name| name.database);
    let resource = json!({"db": database, "collection": ""});
    give_commands(&[(resource, &["grantRole"])], admin_user, admin_role)
}

/// Gives the admin user privileges: through the custom role that it has, else through a new one.
pub fn give(privileges: &[(Value, &[&str])], admin_user: &str, admin_role: Option<&str>) -> String {
    give_commands(privileges, admin_user, admin_role).join("; ")
}

/// The same, one command each.
pub fn give_commands(
    privileges: &[(Value, &[&str])],
    admin_user: &str,
    admin_role: Option<&str>,
) -> Vec<String> {
    let privileges: Vec<Value> = privileges
        .iter()
        .map(|(resource, actions)| json!({"resource": resource, "actions": actions}))
        .collect();
    match admin_role {
        Some(role) => vec![run("admin", &json!({"grantPrivilegesToRole": role, "privileges": privileges}))],
        None => {
            let user = user_name_of(admin_user);
            // The name depends on the privileges, so that two such commands do not conflict.
            let role = format!("rolecall-{}", actions(&privileges));
            let create = json!({"createRole": role, "privileges": privileges, "roles": []});
            let grant = json!({"grantRolesToUser": user, "roles": [{"role": role, "db": "admin"}]});
            vec![run("admin", &create), run(EXTERNAL, &grant)]
        }
    }
}

fn actions(privileges: &[Value]) -> String {
    let parts: Vec<String> = privileges
        .iter()
        .map(|privilege| {
            let database = privilege["resource"]["db"].as_str().filter(|database| !database.is_empty());
            let first = privilege["actions"][0].as_str().unwrap_or_default();
            database.map_or_else(|| first.to_owned(), |database| format!("{first}-{database}"))
        })
        .collect();
    parts.join("-")
}
