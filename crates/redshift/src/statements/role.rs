//! Roles and memberships. There is no IF NOT EXISTS: whoever creates a role has looked before.

use rolecall_engine::AccountName;

use super::{Needs, Statement};
use crate::quote::identifier;

/// Creates a role, which gives nothing.
pub(crate) fn create(role: &str) -> Statement {
    Statement::new(format!("creating the role {role:?}"), format!("CREATE ROLE {}", identifier(role)))
        .needing(Needs::Users)
}

/// Drops a role that nobody has.
pub(crate) fn drop(role: &str) -> Statement {
    Statement::new(format!("dropping the role {role:?}"), format!("DROP ROLE {}", identifier(role)))
        .needing(Needs::Role(role.to_owned()))
}

/// Gives a role to an account.
pub(crate) fn grant(role: &str, account: &AccountName) -> Statement {
    Statement::new(
        format!("granting the role {role:?} to {:?}", account.as_str()),
        format!("GRANT ROLE {} TO {}", identifier(role), identifier(account.as_str())),
    )
    .needing(Needs::Role(role.to_owned()))
}

/// Takes a role from an account.
pub(crate) fn revoke(role: &str, account: &AccountName) -> Statement {
    Statement::new(
        format!("revoking the role {role:?} from {:?}", account.as_str()),
        format!("REVOKE ROLE {} FROM {}", identifier(role), identifier(account.as_str())),
    )
    .needing(Needs::Role(role.to_owned()))
}

/// Gives a role to a role.
pub(crate) fn grant_to_role(role: &str, member: &str) -> Statement {
    Statement::new(
        format!("granting the role {role:?} to the role {member:?}"),
        format!("GRANT ROLE {} TO ROLE {}", identifier(role), identifier(member)),
    )
    .needing(Needs::Role(role.to_owned()))
}

/// Takes a role from a role.
pub(crate) fn revoke_from_role(role: &str, member: &str) -> Statement {
    Statement::new(
        format!("revoking the role {role:?} from the role {member:?}"),
        format!("REVOKE ROLE {} FROM ROLE {}", identifier(role), identifier(member)),
    )
    .needing(Needs::Role(role.to_owned()))
}
