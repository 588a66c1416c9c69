//! A user with its roles, templates expanded.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::bound::{BoundRole, Matched};
use crate::decision::{Denial, Reason};
use crate::object::Database;
use crate::one_line::Few;
use crate::role::{Role, Roles};
use crate::spec::{Traits, UserSpec};

/// A user and the roles that it names, with all templates expanded: made once, asked many times.
#[derive(Debug)]
pub struct User {
    name: String,
    traits: Traits,
    roles: Vec<BoundRole>,
    unresolved: Option<Denial>,
    label_keys: Option<BTreeSet<String>>,
}

impl User {
    /// Joins a user with its roles. A role that is named twice counts once, and the order does not matter.
    ///
    /// Never fails: where a role is missing or not valid, every decision about the user says so, because what
    /// that role would deny is not known.
    pub fn resolve(spec: &UserSpec, roles: &Roles) -> Self {
        let names: BTreeSet<&str> = spec.roles.iter().map(String::as_str).collect();
        let mut found: Vec<&Arc<Role>> = Vec::with_capacity(names.len());
        let (mut missing, mut invalid) = (None, None);
        for name in names {
            match roles.get(name) {
                Some(Ok(role)) => found.push(role),
                Some(Err(faults)) => invalid = invalid.or(Some((name, faults))),
                None => missing = missing.or(Some(name)),
            }
        }
        // What does not exist is reported first: it is the likelier mistake.
        let unresolved = match (missing, invalid) {
            (Some(name), _) => {
                let message = format!("role {name} of user {} does not exist", spec.username);
                Some(Denial::new(Reason::RoleNotFound, &message, Vec::new()))
            }
            (None, Some((name, faults))) => {
                let message = format!("role {name} of user {} is not valid: {}", spec.username, Few(faults));
                Some(Denial::new(Reason::RoleInvalid, &message, Vec::new()))
            }
            (None, None) => None,
        };
        let roles: Vec<BoundRole> =
            found.into_iter().map(|role| BoundRole::new(role, &spec.traits)).collect();
        let label_keys = roles
            .iter()
            .try_fold(BTreeSet::new(), |mut keys, role| role.add_label_keys(&mut keys).then_some(keys));
        Self { name: spec.username.clone(), traits: spec.traits.clone(), roles, unresolved, label_keys }
    }

    /// The database user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why no decision about the user can be made: a role that it names does not exist or is not valid.
    pub fn unresolved(&self) -> Option<&Denial> {
        self.unresolved.as_ref()
    }

    /// The roles that the user names and that could be resolved, by name.
    pub(crate) fn roles(&self) -> &[BoundRole] {
        &self.roles
    }

    /// What each role's selectors say about a database.
    pub(crate) fn matched(&self, database: &Database) -> Vec<Matched> {
        self.roles.iter().map(|role| role.matched(&database.labels, &self.traits)).collect()
    }

    /// The roles whose allow selects a database.
    pub fn roles_selecting(&self, database: &Database) -> Vec<&str> {
        let matched = self.matched(database);
        let selecting = self.roles.iter().zip(matched).filter(|(_, matched)| matched.allow);
        selecting.map(|(role, _)| role.role.name()).collect()
    }

    pub(crate) fn traits(&self) -> &Traits {
        &self.traits
    }

    /// The label keys that can make a difference to the user; `None`: possibly all.
    pub(crate) fn label_keys(&self) -> Option<&BTreeSet<String>> {
        self.label_keys.as_ref()
    }
}
