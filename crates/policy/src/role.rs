//! ProvisioningRoles, compiled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::fault::Fault;
use crate::mode::Mode;
use crate::spec::RoleSpec;

/// A role, ready to be evaluated.
#[derive(Debug)]
pub struct Role {
    name: String,
    mode: Mode,
    max_session_ttl: Option<Duration>,
}

impl Role {
    /// Compiles a role.
    ///
    /// # Errors
    ///
    /// All faults of the role: see the crate's documentation for what is one.
    pub fn compile(_name: &str, _spec: &RoleSpec) -> Result<Self, Vec<Fault>> {
        todo!()
    }

    /// The role's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The role's provisioning mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The role's limit of a session's length.
    pub fn max_session_ttl(&self) -> Option<Duration> {
        self.max_session_ttl
    }
}

/// The roles of a namespace, with those that are not valid.
#[derive(Clone, Debug, Default)]
pub struct Roles(BTreeMap<String, Result<Arc<Role>, Arc<[Fault]>>>);

impl Roles {
    /// No roles.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compiles a role and keeps the outcome; a role of the same name is replaced.
    pub fn insert(&mut self, name: &str, spec: &RoleSpec) {
        let compiled = Role::compile(name, spec).map(Arc::new).map_err(Arc::from);
        self.insert_compiled(name, compiled);
    }

    /// Keeps the outcome of [`Role::compile`]; a role of the same name is replaced.
    pub fn insert_compiled(&mut self, name: &str, compiled: Result<Arc<Role>, Arc<[Fault]>>) {
        self.0.insert(name.to_owned(), compiled);
    }

    /// Forgets a role.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The role of that name: `None` where there is none, its faults where it is not valid.
    pub fn get(&self, name: &str) -> Option<&Result<Arc<Role>, Arc<[Fault]>>> {
        self.0.get(name)
    }
}
