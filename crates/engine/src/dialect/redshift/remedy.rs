//! Statements that fix things on Redshift, to be pasted by people.

use super::literal;
use super::record::owner_role;
use crate::dialect::sql::identifier;
use crate::{AccountName, MARKER, Owner};

/// Closes an account, and ends its sessions.
pub fn close_user(account: &AccountName) -> String {
    let user = identifier(account.as_str());
    format!(
        "ALTER USER {user} CONNECTION LIMIT 0, then SELECT pg_terminate_backend(N) for each process N of it in stv_sessions (named {account}, IAM:{account} or IAMA:{account} there)"
    )
}

/// Gives the marker to an account.
pub fn mark_user(account: &AccountName) -> String {
    format!("GRANT ROLE {} TO {}", identifier(MARKER), identifier(account.as_str()))
}

/// Gives an account the record of its owner.
pub fn own_user(account: &AccountName, owner: &Owner) -> String {
    format!("GRANT ROLE {} TO {}", identifier(owner_role(&owner.uid)), identifier(account.as_str()))
}

/// How to find the record that an account has.
pub fn forget_user(account: &AccountName) -> String {
    format!(
        "REVOKE ROLE \"rolecall_owner_...\" FROM {} (its name is in SELECT role_name FROM svv_user_grants WHERE user_name = {})",
        identifier(account.as_str()),
        literal(account.as_str())
    )
}

/// Lets the admin user manage users and hand out every role.
pub fn manage(admin_user: &str) -> String {
    format!("GRANT ROLE \"sys:superuser\" TO {}", identifier(admin_user))
}
