//! Which of many databases a user may reach.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::bound::{BoundRole, Matched};
use crate::decision::{Denial, Reason};
use crate::mode::Mode;
use crate::object::Database;
use crate::provisioning::provision;
use crate::spec::Labels;
use crate::user::User;

/// What a user may do with one of many databases.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Why the user cannot reach it, or is not provisioned on it; `None`: it can reach some logical database.
    pub denial: Option<Denial>,
    /// How it is provisioned.
    pub mode: Mode,
    /// The logical databases that it may connect to.
    pub database_names: DatabaseNames,
    /// The database roles that it may have, sorted.
    pub db_roles: Vec<String>,
    /// The role that gets what the user owns before it is dropped.
    pub reassign_to: Option<String>,
}

/// Logical databases that a user may connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DatabaseNames {
    /// All but these.
    AllExcept(Vec<String>),
    /// These.
    Only(Vec<String>),
}

/// Which of many databases a user may reach, in the order in which they are given.
///
/// It agrees with what [`decide_access`](crate::decide_access) says about each database and logical database.
/// Databases that the user's roles cannot distinguish share one answer.
pub fn list_reach<'a>(user: &User, databases: impl IntoIterator<Item = &'a Database>) -> Vec<Arc<Reach>> {
    let mut by_labels: HashMap<Seen<'a>, Arc<Reach>> = HashMap::new();
    let mut by_match: HashMap<(Vec<Matched>, bool), Arc<Reach>> = HashMap::new();
    let reach = |database: &'a Database| {
        let needs_name = database.protocol.needs_database_name();
        let seen = Seen { needs_name, labels: see(user, &database.labels) };
        let reach =
            by_labels.entry(seen).or_insert_with(|| {
                let matched = user.matched(database);
                let reach = by_match.entry((matched, needs_name));
                Arc::clone(reach.or_insert_with_key(|(matched, needs_name)| {
                    Arc::new(reach_of(user, matched, *needs_name))
                }))
            });
        Arc::clone(reach)
    };
    databases.into_iter().map(reach).collect()
}

/// What a user's roles see of a database.
#[derive(PartialEq, Eq, Hash)]
struct Seen<'a> {
    needs_name: bool,
    labels: SeenLabels<'a>,
}

#[derive(PartialEq, Eq, Hash)]
enum SeenLabels<'a> {
    /// Values of the keys that some role uses.
    Some(Vec<Option<&'a str>>),
    /// Some role may use any label.
    All(&'a Labels),
}

fn see<'a>(user: &User, labels: &'a Labels) -> SeenLabels<'a> {
    match user.label_keys() {
        Some(keys) => SeenLabels::Some(keys.iter().map(|key| labels.get(key).map(String::as_str)).collect()),
        None => SeenLabels::All(labels),
    }
}

fn reach_of(user: &User, matched: &[Matched], needs_name: bool) -> Reach {
    let denial = |reason, message: String| Some(Denial::new(reason, &message, Vec::new()));
    let nothing = |denial| Reach {
        denial,
        mode: Mode::Disabled,
        database_names: DatabaseNames::Only(Vec::new()),
        db_roles: Vec::new(),
        reassign_to: None,
    };
    if let Some(unresolved) = user.unresolved() {
        return nothing(Some(unresolved.clone()));
    }
    let roles = || user.roles().iter().zip(matched);
    if let Some((role, _)) = roles().find(|(_, matched)| matched.deny) {
        let message = format!("role {} denies databases like this one", role.role.name());
        return nothing(denial(Reason::AccessDenied, message));
    }
    let allowing: Vec<&BoundRole> =
        roles().filter(|(_, matched)| matched.allow).map(|(role, _)| role).collect();
    let database_names = database_names(user.roles(), &allowing);
    let denies_all = user.roles().iter().any(|role| role.deny.names.iter().any(|item| item.value == "*"));
    // Without a logical database it is enough that some role selects the database.
    let reachable = if needs_name {
        database_names != DatabaseNames::Only(Vec::new())
    } else {
        !allowing.is_empty() && !denies_all
    };
    if !reachable {
        return nothing(denial(Reason::AccessDenied, "no role allows a logical database of it".to_owned()));
    }
    let (provisioning, _) = provision(user, matched);
    let disabled = "no role that selects it provisions users".to_owned();
    Reach {
        denial: if provisioning.mode.is_enabled() {
            None
        } else {
            denial(Reason::ProvisioningDisabled, disabled)
        },
        mode: provisioning.mode,
        database_names,
        db_roles: provisioning.db_roles.into_iter().map(|role| role.name).collect(),
        reassign_to: provisioning.owned_objects.reassign_to,
    }
}

/// What allow gives, without what the deny of any role takes.
fn database_names(all: &[BoundRole], allowing: &[&BoundRole]) -> DatabaseNames {
    let denied: BTreeSet<&str> =
        all.iter().flat_map(|role| &role.deny.names).map(|item| item.value.as_str()).collect();
    let allowed: BTreeSet<&str> =
        allowing.iter().flat_map(|role| &role.allow.names).map(|item| item.value.as_str()).collect();
    let owned = |names: Vec<&&str>| names.into_iter().map(|name| (*name).to_owned()).collect();
    if denied.contains("*") {
        DatabaseNames::Only(Vec::new())
    } else if allowed.contains("*") {
        DatabaseNames::AllExcept(owned(denied.iter().collect()))
    } else {
        DatabaseNames::Only(owned(allowed.difference(&denied).collect()))
    }
}
