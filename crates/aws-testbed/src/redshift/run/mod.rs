//! Statements that change something: who may, what it refuses, and the changes.

mod objects;
mod roles;
mod users;

use super::catalog::{Catalog, Identity};
use super::change::{Change, On, Resource};
use super::error::{SqlError, SqlResult};
use super::sql::{Grantee, Statement};

/// Who runs a statement, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actor<'a> {
    pub(super) user: u32,
    pub(super) database: &'a str,
}

/// What a statement changes, to be claimed before it is looked at.
pub(super) fn resources(statement: &Statement, database: &str) -> Vec<Resource> {
    let user = |name: &String| Resource::User(name.clone());
    let role = |name: &String| Resource::Role(name.clone());
    match statement {
        Statement::CreateUser { name, .. } | Statement::AlterUser { name, .. } => vec![user(name)],
        Statement::DropUser { names, .. } => names.iter().map(user).collect(),
        Statement::CreateRole { name }
        | Statement::DropRole { name, .. }
        | Statement::AlterRoleOwner { name, .. } => vec![role(name)],
        Statement::GrantRole { roles, to: grantees, .. }
        | Statement::RevokeRole { roles, from: grantees, .. } => {
            roles.iter().map(role).chain(grantees.iter().filter_map(grantee_resource)).collect()
        }
        Statement::GrantSystem { to: grantees, .. } | Statement::RevokeSystem { from: grantees, .. } => {
            grantees.iter().filter_map(grantee_resource).collect()
        }
        Statement::Grant { on, to: grantees, .. } | Statement::Revoke { on, from: grantees, .. } => {
            let targets = objects::keys(on).into_iter().map(|key| {
                Resource::Acl(match key {
                    Ok(key) => On::Object(database.to_owned(), key),
                    Err(name) => On::Database(name),
                })
            });
            targets.chain(grantees.iter().filter_map(grantee_resource)).collect()
        }
        Statement::SetOwner { of, owner } => {
            let targets = objects::keys(of).into_iter().filter_map(Result::ok);
            let objects = targets.map(|key| Resource::Acl(On::Object(database.to_owned(), key)));
            objects.chain([Resource::User(owner.clone())]).collect()
        }
        _ => Vec::new(),
    }
}

fn grantee_resource(grantee: &Grantee) -> Option<Resource> {
    match grantee {
        Grantee::User(name) => Some(Resource::User(name.clone())),
        Grantee::Role(name) => Some(Resource::Role(name.clone())),
        Grantee::Public => None,
    }
}

/// The changes of a statement. `new_id` is the id of what it creates.
///
/// # Errors
/// What the server refuses.
pub(super) fn changes(
    catalog: &Catalog,
    actor: Actor<'_>,
    statement: &Statement,
    new_id: u32,
) -> SqlResult<Vec<Change>> {
    match statement {
        Statement::CreateUser { name, options } => users::create(catalog, actor, name, options, new_id),
        Statement::AlterUser { name, options } => users::alter(catalog, actor, name, options),
        Statement::DropUser { names, if_exists } => users::drop(catalog, actor, names, *if_exists),
        Statement::CreateRole { name } => roles::create(catalog, actor, name, new_id),
        Statement::AlterRoleOwner { name, owner } => roles::set_owner(catalog, actor, name, owner),
        Statement::DropRole { name, force } => roles::drop(catalog, actor, name, *force),
        Statement::GrantRole { roles, to, admin_option } => {
            roles::grant(catalog, actor, roles, to, *admin_option)
        }
        Statement::RevokeRole { roles, from, admin_option_only } => {
            roles::revoke(catalog, actor, roles, from, *admin_option_only)
        }
        Statement::GrantSystem { privileges, to } => roles::system(catalog, actor, privileges, to, true),
        Statement::RevokeSystem { privileges, from } => {
            roles::system(catalog, actor, privileges, from, false)
        }
        Statement::Grant { privileges, on, to, grant_option } => {
            objects::grant(catalog, actor, privileges, on, to, *grant_option)
        }
        Statement::Revoke { privileges, on, from, grant_option_only } => {
            objects::revoke(catalog, actor, privileges, on, from, *grant_option_only)
        }
        Statement::SetOwner { of, owner } => objects::set_owner(catalog, actor, of, owner),
        _ => Ok(Vec::new()),
    }
}

/// # Errors
/// 42501.
fn need(catalog: &Catalog, actor: Actor<'_>, privilege: &str, what: &str) -> SqlResult<()> {
    if catalog.may(actor.user, privilege) {
        return Ok(());
    }
    Err(SqlError::denied(format!("permission denied to {what}")))
}

/// # Errors
/// 42704 for whom there is not, and 0A000 for what belongs to a datashare.
fn identity(catalog: &Catalog, grantee: &Grantee) -> SqlResult<Identity> {
    match grantee {
        Grantee::User(name) | Grantee::Role(name) if name.starts_with("ds:") => {
            Err(SqlError::new("0A000", format!("\"{name}\" belongs to a datashare")))
        }
        Grantee::User(name) => catalog
            .user(name)
            .map(|user| Identity::User(user.id))
            .ok_or_else(|| SqlError::unknown("user", name)),
        Grantee::Role(name) => catalog
            .role(name)
            .map(|role| Identity::Role(role.id))
            .ok_or_else(|| SqlError::unknown("role", name)),
        Grantee::Public => Ok(Identity::Public),
    }
}
