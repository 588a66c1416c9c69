//! What a user gets on a database: mode, database roles and the permission entries in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::bound::{BoundRole, ListField, Matched};
use crate::decision::{
    Contribution, Denial, GivenRole, Provisioning, Reason, RequiredApproval, SessionLimit, SessionQuota,
    WithheldRole,
};
use crate::effect::Effect;
use crate::mode::Mode;
use crate::object::Database;
use crate::one_line::Few;
use crate::origin::Origin;
use crate::owned_objects::{OwnedObjectsDecision, OwnedObjectsOption};
use crate::permission::PermissionEntries;
use crate::user::User;

/// Why nothing can be provisioned as asked.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The mode, which applies nevertheless.
    pub mode: Mode,
    /// Why not.
    pub denial: Denial,
}

/// What the user gets on the database, supposing that it may connect.
///
/// Roles contribute that provision users and whose allow selects the database. The strongest of their modes
/// applies. Database roles are those that they give, without the ones that any role's `deny.dbRoles` in force takes
/// away (`*`: all). Deny lists are in force where their role's deny has no selector or selects the database,
/// whether or not that role provisions. Without a contributing role there is nothing, and `requested` is
/// ignored.
///
/// # Errors
///
/// [`Reason::AccessDenied`] where a requested database role is not among the allowed ones;
/// [`Reason::RoleNotFound`] and [`Reason::RoleInvalid`] where no decision can be made.
pub fn decide_provisioning(
    user: &User,
    database: &Database,
    requested: &[String],
) -> Result<Provisioning, Refusal> {
    if let Some(denial) = user.unresolved() {
        return Err(Refusal { mode: Mode::Disabled, denial: denial.clone() });
    }
    let (mut provisioning, denied) = provision(user, &user.matched(database));
    if provisioning.mode.is_enabled() && !requested.is_empty() {
        restrict(&mut provisioning, denied, requested).map_err(|(role, denied_by)| {
            let why = match denied_by.as_slice() {
                [] => format!("allowed are [{}]", provisioning.db_role_names().join(", ")),
                denied_by => format!("taken by {}", Few(denied_by)),
            };
            let message = format!(
                "user {} may not have database role {role} on database {}: {why}",
                user.name(),
                database.name
            );
            Refusal {
                mode: provisioning.mode,
                denial: Denial::new(Reason::AccessDenied, &message, denied_by),
            }
        })?;
    }
    Ok(provisioning)
}

/// What the user gets where its roles' selectors match like this; and the entries that deny all database roles.
pub(crate) fn provision(user: &User, matched: &[Matched]) -> (Provisioning, Vec<Origin>) {
    let roles = || user.roles().iter().zip(matched);
    let contributing: Vec<&BoundRole> =
        roles().filter(|(role, m)| m.allow && role.role.mode().is_enabled()).map(|(role, _)| role).collect();
    let denying: Vec<&BoundRole> = roles().filter(|(_, m)| m.deny_lists).map(|(role, _)| role).collect();
    let mode = Mode::strongest(contributing.iter().map(|role| role.role.mode()));
    if !mode.is_enabled() {
        return (Provisioning::default(), Vec::new());
    }

    let given = entries(&contributing, Effect::Allow);
    let taken = entries(&denying, Effect::Deny);
    let all_taken = taken.get("*").cloned().unwrap_or_default();
    let mut db_roles = Vec::new();
    let mut withheld_db_roles = Vec::new();
    for (name, given_by) in given {
        let name = name.to_owned();
        let mut taken_by = taken.get(name.as_str()).cloned().unwrap_or_default();
        if name != "*" {
            taken_by.extend(all_taken.iter().cloned());
        }
        if taken_by.is_empty() {
            db_roles.push(GivenRole { name, given_by });
        } else {
            withheld_db_roles.push(WithheldRole { name, given_by, taken_by });
        }
    }

    let contributions = contributing
        .iter()
        .map(|role| Contribution { role: role.role.name().to_owned(), mode: role.role.mode() })
        .collect();
    let limits = contributing.iter().filter_map(|role| {
        role.role.max_session_ttl().map(|ttl| SessionLimit { ttl, role: role.role.name().to_owned() })
    });
    let owned_objects = contributing.iter().filter_map(|role| {
        role.role.owned_objects().map(|owned_objects| OwnedObjectsOption {
            role: role.role.name().to_owned(),
            owned_objects: owned_objects.clone(),
        })
    });
    let permissions = PermissionEntries {
        allow: contributing
            .iter()
            .flat_map(|role| role.role.allow().permissions.iter().map(Arc::clone))
            .collect(),
        deny: denying.iter().flat_map(|role| role.role.deny().permissions.iter().map(Arc::clone)).collect(),
    };
    // Also of roles that only let the user in, to a logical database for example: what they give takes all of them.
    let selecting = || roles().filter(|(_, matched)| matched.allow).map(|(role, _)| &role.role);
    let approvals = selecting().filter_map(|role| {
        let approval = role.approval()?.clone();
        Some(RequiredApproval { role: role.name().to_owned(), approval })
    });
    let session_quotas = selecting().filter_map(|role| {
        let sessions = role.max_sessions()?;
        Some(SessionQuota { role: role.name().to_owned(), sessions })
    });
    let provisioning = Provisioning {
        mode,
        contributing: contributions,
        max_session_ttl: limits.min_by_key(|limit| limit.ttl),
        owned_objects: OwnedObjectsDecision::combine(owned_objects.collect()),
        db_roles,
        withheld_db_roles,
        permissions,
        approvals: approvals.collect(),
        session_quotas: session_quotas.collect(),
    };
    (provisioning, all_taken)
}

/// The values of `dbRoles` of some roles, each with the entries that it comes from.
fn entries<'a>(roles: &[&'a BoundRole], effect: Effect) -> BTreeMap<&'a str, Vec<Origin>> {
    let mut entries: BTreeMap<&str, Vec<Origin>> = BTreeMap::new();
    for role in roles {
        let bound = match effect {
            Effect::Allow => &role.allow,
            Effect::Deny => &role.deny,
        };
        for item in &bound.roles {
            let origin = role.entry_origin(effect, ListField::Roles, item.entry);
            entries.entry(&item.value).or_default().push(origin);
        }
    }
    entries
}

/// Leaves only the requested database roles.
///
/// # Errors
///
/// The first requested role that is not allowed, and what takes it away if anything does.
fn restrict(
    provisioning: &mut Provisioning,
    all_taken: Vec<Origin>,
    requested: &[String],
) -> Result<(), (String, Vec<Origin>)> {
    let wanted: BTreeSet<&str> = requested.iter().map(String::as_str).collect();
    let allowed: BTreeSet<&str> = provisioning.db_role_names().into_iter().collect();
    if let Some(role) = wanted.iter().find(|role| !allowed.contains(**role)) {
        let withheld = provisioning.withheld_db_roles.iter().find(|withheld| withheld.name == **role);
        return Err(((*role).to_owned(), withheld.map_or(all_taken, |withheld| withheld.taken_by.clone())));
    }
    let (kept, left) = std::mem::take(&mut provisioning.db_roles)
        .into_iter()
        .partition(|role| wanted.contains(role.name.as_str()));
    provisioning.db_roles = kept;
    let left: Vec<GivenRole> = left;
    provisioning.withheld_db_roles.extend(left.into_iter().map(|role| WithheldRole {
        name: role.name,
        given_by: role.given_by,
        taken_by: Vec::new(),
    }));
    provisioning.withheld_db_roles.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}
