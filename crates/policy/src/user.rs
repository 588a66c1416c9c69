//! A user with its roles, templates expanded.

use crate::decision::{Decision, Denial, Origin, Provisioning};
use crate::mode::Mode;
use crate::object::Database;
use crate::role::Roles;
use crate::spec::UserSpec;
use std::sync::Arc;

/// A user and the roles that it names, with all templates expanded: made once, asked many times.
#[derive(Debug)]
pub struct User {
    name: String,
}

impl User {
    /// Joins a user with its roles.
    ///
    /// Never fails: where a role is missing or not valid, every decision about the user says so.
    pub fn resolve(_spec: &UserSpec, _roles: &Roles) -> Self {
        todo!()
    }

    /// The database user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why no decision about the user can be made: a role that it names does not exist or is not valid.
    pub fn unresolved(&self) -> Option<&Denial> {
        todo!()
    }
}

/// Decides everything but object permissions: access, then mode, then database roles and the entries in force.
///
/// `database_name` is the logical database. It may be left out for MongoDB, where only a denied `*` then
/// matters. `requested` names the database roles that the session wants; empty means all that it may have.
pub fn decide_access(
    _user: &User,
    _database: &Database,
    _database_name: Option<&str>,
    _requested: &[String],
) -> Decision {
    todo!()
}

/// Whether the user may connect, mode and database roles aside: first every role's deny, then some role's
/// allow. Returns the roles that allow.
///
/// # Errors
///
/// Why not.
pub fn check_access(
    _user: &User,
    _database: &Database,
    _database_name: Option<&str>,
) -> Result<Vec<Origin>, Denial> {
    todo!()
}

/// What the user gets on the database, supposing that it may connect: mode, database roles, entries in force.
///
/// # Errors
///
/// [`Reason::AccessDenied`](crate::Reason::AccessDenied) where a requested database role is not among the
/// allowed ones, in which case the mode is still told; other reasons where no decision can be made.
pub fn decide_provisioning(
    _user: &User,
    _database: &Database,
    _requested: &[String],
) -> Result<Provisioning, Refusal> {
    todo!()
}

/// Why nothing can be provisioned as asked.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The mode that holds nevertheless.
    pub mode: Mode,
    /// Why not.
    pub denial: Denial,
}

/// What a user may do with one of many databases.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Why the user cannot reach it; `None`: it can reach some logical database.
    pub denial: Option<Denial>,
    /// How it is provisioned.
    pub mode: Mode,
    /// The logical databases.
    pub database_names: DatabaseNames,
    /// The database roles, sorted.
    pub db_roles: Vec<String>,
}

/// Logical databases that a user may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseNames {
    /// All but these.
    AllExcept(Vec<String>),
    /// These.
    Only(Vec<String>),
}

/// Which of many databases a user may reach, in the order in which they are given. Databases that look alike
/// to the user's roles share one answer.
pub fn list_reach<'a>(_user: &User, _databases: impl IntoIterator<Item = &'a Database>) -> Vec<Arc<Reach>> {
    todo!()
}
