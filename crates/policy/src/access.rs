//! Whether a user may connect: deny before allow.

use crate::bound::{BoundRole, Item, ListField, Matched};
use crate::decision::{Decision, Denial, Provisioning, Reason};
use crate::effect::Effect;
use crate::object::Database;
use crate::one_line::Few;
use crate::origin::Origin;
use crate::provisioning::decide_provisioning;
use crate::user::User;

/// Decides everything but object permissions: access, then mode, then database roles and the entries in force.
///
/// `database_name` is the logical database. It may be left out for MongoDB, where only a denied `*` then
/// matters. `requested` names the database roles that the session wants; empty means all that it may have.
pub fn decide_access(
    user: &User,
    database: &Database,
    database_name: Option<&str>,
    requested: &[String],
) -> Decision {
    let denied = |denial, allowed_by| Decision {
        denial: Some(denial),
        allowed_by,
        provisioning: Provisioning::default(),
    };
    let allowed_by = match check_access(user, database, database_name) {
        Ok(allowed_by) => allowed_by,
        Err(denial) => return denied(denial, Vec::new()),
    };
    match decide_provisioning(user, database, requested) {
        Err(refusal) => denied(refusal.denial, allowed_by),
        Ok(provisioning) if !provisioning.mode.is_enabled() => {
            let message = format!(
                "user {} may connect to database {}, but no role that selects it provisions users \
                 (options.createDbUserMode)",
                user.name(),
                database.name
            );
            let denial = Denial::new(Reason::ProvisioningDisabled, &message, Vec::new());
            denied(denial, allowed_by)
        }
        Ok(provisioning) => Decision { denial: None, allowed_by, provisioning },
    }
}

/// Whether the user may connect, mode and database roles aside.
///
/// First every role's deny: one whose deny selects the database, or whose `deny.dbNames` covers the logical
/// database on whatever server, closes it. Then some single role must allow it: labels, expression and logical
/// database together. Returns the roles that do.
///
/// # Errors
///
/// Why not: [`Reason::AccessDenied`]; [`Reason::RoleNotFound`] and [`Reason::RoleInvalid`] where no decision can
/// be made; [`Reason::DatabaseNameRequired`] where the protocol needs a logical database and none is named.
pub fn check_access(
    user: &User,
    database: &Database,
    database_name: Option<&str>,
) -> Result<Vec<Origin>, Denial> {
    if let Some(denial) = user.unresolved() {
        return Err(denial.clone());
    }
    // Nothing is called by an empty name.
    let database_name = database_name.filter(|name| !name.is_empty());
    if database_name.is_none() && database.protocol.needs_database_name() {
        let message = format!("a session on database {} must name a logical database", database.name);
        return Err(Denial::new(Reason::DatabaseNameRequired, &message, Vec::new()));
    }
    let matched = user.matched(database);
    let mut denied_by = Vec::new();
    for (role, matched) in user.roles().iter().zip(&matched) {
        if matched.deny {
            denied_by.extend(role.deny_origins(&database.labels, user.traits()));
        }
        let names = role.deny.names.iter().filter(|item| covers(item, database_name));
        denied_by.extend(names.map(|item| role.entry_origin(Effect::Deny, ListField::Names, item.entry)));
    }
    if !denied_by.is_empty() {
        denied_by.dedup();
        let message = format!(
            "user {} is denied {}: {}",
            user.name(),
            target(database, database_name),
            Few(&denied_by)
        );
        return Err(Denial::new(Reason::AccessDenied, &message, denied_by));
    }
    let roles = user.roles().iter().zip(&matched);
    let allowed_by: Vec<Origin> =
        roles.filter_map(|(role, matched)| allows(role, *matched, database, database_name)).collect();
    if allowed_by.is_empty() {
        let message = format!(
            "no role of user {} allows {}{}",
            user.name(),
            target(database, database_name),
            nearly(user, &matched)
        );
        return Err(Denial::new(Reason::AccessDenied, &message, Vec::new()));
    }
    Ok(allowed_by)
}

/// Whether an entry of `dbNames` covers the logical database. Names are exact. Without one only `*` does.
pub(crate) fn covers(item: &Item, database_name: Option<&str>) -> bool {
    item.value == "*" || database_name.is_some_and(|name| item.value == name)
}

fn allows(
    role: &BoundRole,
    matched: Matched,
    database: &Database,
    database_name: Option<&str>,
) -> Option<Origin> {
    if !matched.allow {
        return None;
    }
    let mut text = role.allow_text(&database.labels);
    // Without a logical database there is no name to find.
    if let Some(name) = database_name {
        let item = role.allow.names.iter().find(|item| covers(item, database_name))?;
        let entry = role.entry_origin(Effect::Allow, ListField::Names, item.entry);
        text.push_str(&format!("; {name} in {}: {}", entry.path, entry.text));
    }
    Some(role.origin("allow".to_owned(), text))
}

fn target(database: &Database, database_name: Option<&str>) -> String {
    match database_name {
        Some(name) => format!("logical database {name} of database {}", database.name),
        None => format!("database {}", database.name),
    }
}

/// Names roles that select the database and only lack the logical database.
fn nearly(user: &User, matched: &[Matched]) -> String {
    let roles = user.roles().iter().zip(matched).filter(|(_, matched)| matched.allow);
    let names: Vec<&str> = roles.map(|(role, _)| role.role.name()).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" (allow.dbNames of {} does not include it)", names.join(", "))
    }
}
