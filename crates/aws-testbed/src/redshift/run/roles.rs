//! Roles, and who is in them.

use super::{Actor, identity, need};
use crate::redshift::catalog::{Catalog, Identity, Role};
use crate::redshift::change::Change;
use crate::redshift::error::{SqlError, SqlResult};
use crate::redshift::names;
use crate::redshift::sql::Grantee;

pub(super) fn create(catalog: &Catalog, actor: Actor<'_>, name: &str, id: u32) -> SqlResult<Vec<Change>> {
    need(catalog, actor, "CREATE ROLE", "create role")?;
    names::check_role(name)?;
    // A user's name differs in case only and is the same to a role.
    if catalog.role(name).is_some() || catalog.users.values().any(|user| user.name.to_lowercase() == name) {
        return Err(SqlError::new("42710", format!("role or user \"{name}\" already exists")));
    }
    Ok(vec![Change::Role(Role { id, name: name.to_owned(), owner: actor.user, system: Default::default() })])
}

pub(super) fn set_owner(
    catalog: &Catalog,
    actor: Actor<'_>,
    name: &str,
    owner: &str,
) -> SqlResult<Vec<Change>> {
    let role = find(catalog, name)?;
    if role.owner != actor.user && !catalog.is_superuser(actor.user) {
        return Err(SqlError::denied(format!("must be owner of role {name}")));
    }
    let owner = catalog.user(owner).ok_or_else(|| SqlError::unknown("user", owner))?.id;
    Ok(vec![Change::Role(Role { owner, ..role.clone() })])
}

/// Without FORCE it fails while the role is granted, and while it has rights in this database.
pub(super) fn drop(catalog: &Catalog, actor: Actor<'_>, name: &str, force: bool) -> SqlResult<Vec<Change>> {
    let role = find(catalog, name)?;
    if name.starts_with("sys:") {
        return Err(SqlError::denied(format!("system role {name} cannot be dropped")));
    }
    if role.owner != actor.user {
        need(catalog, actor, "DROP ROLE", &format!("drop role {name}"))?;
    }
    let granted = catalog.members.keys().any(|(_, member_of)| *member_of == role.id)
        || catalog.nested.iter().any(|(outer, inner)| *outer == role.id || *inner == role.id);
    let has_rights = catalog.dependency(Identity::Role(role.id), actor.database).is_some();
    if !force && (granted || has_rights) {
        let why = if granted { "has been granted" } else { "has privileges on some object" };
        return Err(SqlError::new("2BP01", format!("cannot drop role {name} because it {why}")));
    }
    Ok(vec![Change::DropRole(role.id)])
}

pub(super) fn grant(
    catalog: &Catalog,
    actor: Actor<'_>,
    roles: &[String],
    to: &[Grantee],
    admin_option: bool,
) -> SqlResult<Vec<Change>> {
    let mut changes = Vec::new();
    for name in roles {
        let role = find(catalog, name)?.id;
        may_give(catalog, actor, name, role)?;
        for grantee in to {
            changes.push(match identity(catalog, grantee)? {
                Identity::User(user) => Change::Member { user, role, admin_option },
                Identity::Role(_) if admin_option => {
                    return Err(SqlError::new("0LP01", "only a user can have the admin option"));
                }
                Identity::Role(outer) if outer == role || reaches(catalog, role, outer) => {
                    return Err(SqlError::new("0LP01", format!("role {name} would be granted to itself")));
                }
                Identity::Role(outer) => Change::Nest { outer, inner: role },
                Identity::Public => return Err(SqlError::new("0LP01", "a role cannot be granted to public")),
            });
        }
    }
    Ok(changes)
}

pub(super) fn revoke(
    catalog: &Catalog,
    actor: Actor<'_>,
    roles: &[String],
    from: &[Grantee],
    admin_option_only: bool,
) -> SqlResult<Vec<Change>> {
    let mut changes = Vec::new();
    for name in roles {
        let role = find(catalog, name)?.id;
        may_give(catalog, actor, name, role)?;
        for grantee in from {
            match identity(catalog, grantee)? {
                Identity::User(user) => {
                    changes.push(Change::NoMember { user, role });
                    if admin_option_only && catalog.members.contains_key(&(user, role)) {
                        changes.push(Change::Member { user, role, admin_option: false });
                    }
                }
                Identity::Role(outer) => changes.push(Change::NoNest { outer, inner: role }),
                Identity::Public => {}
            }
        }
    }
    Ok(changes)
}

/// Gives rights on the system to roles, or takes them.
pub(super) fn system(
    catalog: &Catalog,
    actor: Actor<'_>,
    privileges: &[String],
    grantees: &[Grantee],
    give: bool,
) -> SqlResult<Vec<Change>> {
    if !catalog.is_superuser(actor.user) {
        return Err(SqlError::denied("must be superuser to change system privileges"));
    }
    let mut changes = Vec::new();
    for grantee in grantees {
        let Grantee::Role(name) = grantee else {
            return Err(SqlError::new("0LP01", "system privileges are granted to roles only"));
        };
        let mut role = find(catalog, name)?.clone();
        for privilege in privileges {
            if give {
                role.system.insert(privilege.clone());
            } else {
                role.system.remove(privilege);
            }
        }
        changes.push(Change::Role(role));
    }
    Ok(changes)
}

fn find<'a>(catalog: &'a Catalog, name: &str) -> SqlResult<&'a Role> {
    catalog.role(name).ok_or_else(|| SqlError::unknown("role", name))
}

/// By the right to grant roles, as its owner, or with its admin option.
fn may_give(catalog: &Catalog, actor: Actor<'_>, name: &str, role: u32) -> SqlResult<()> {
    let owner = catalog.roles.get(&role).is_some_and(|role| role.owner == actor.user);
    let admin = catalog.members.get(&(actor.user, role)) == Some(&true);
    if owner || admin {
        return Ok(());
    }
    need(catalog, actor, "GRANT ROLE", &format!("grant role {name}"))
}

/// Whether one role has another one, directly or not.
fn reaches(catalog: &Catalog, from: u32, to: u32) -> bool {
    let next = catalog.nested.iter().filter(|(outer, _)| *outer == from).map(|(_, inner)| *inner);
    next.into_iter().any(|inner| inner == to || reaches(catalog, inner, to))
}
