//! ProvisioningRoles, compiled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::conditions::Conditions;
use crate::effect::Effect;
use crate::fault::{Fault, Faults};
use crate::mode::Mode;
use crate::owned_objects::OwnedObjects;
use crate::spec::{ApprovalSpec, RoleSpec};

/// A valid role, ready to be evaluated.
#[derive(Debug)]
pub struct Role {
    name: String,
    mode: Mode,
    max_session_ttl: Option<Duration>,
    owned_objects: Option<OwnedObjects>,
    approval: Option<ApprovalSpec>,
    max_sessions: Option<u32>,
    allow: Conditions,
    deny: Conditions,
}

impl Role {
    /// Compiles a role.
    ///
    /// # Errors
    ///
    /// All faults of the role, each with the path of its field: malformed templates, patterns and expressions;
    /// `*` where it has no meaning (as a selector's key with other values than `["*"]`, in `allow.dbRoles`, in
    /// permissions of allow); entries of `dbPermissions` without a privilege or with one that no kind of object
    /// has; a session length or a time for approvals of zero, an approval by nobody, room for no session; objects that go to
    /// another role where no user is dropped.
    pub fn compile(name: &str, spec: &RoleSpec) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::new();
        if spec.options.max_session_ttl.is_some_and(|ttl| ttl.is_zero()) {
            faults.add("options.maxSessionTtl", "must be longer than 0s");
        }
        let owned_objects = spec.options.owned_objects.clone();
        if let Some(OwnedObjects::ReassignTo { role }) = &owned_objects {
            if role.is_empty() {
                faults.add("options.ownedObjects.role", "must name a role");
            }
            if spec.options.mode() != Mode::BestEffortDrop {
                faults.add(
                    "options.ownedObjects.policy",
                    "ReassignTo needs createDbUserMode: BestEffortDrop; a user that is not dropped keeps what it owns",
                );
            }
        }
        if let Some(approval) = &spec.options.approval {
            if approval.count == 0 {
                faults.add("options.approval.count", "must be at least 1");
            }
            if approval.timeout.is_zero() {
                faults.add("options.approval.timeout", "must be longer than 0s");
            }
        }
        if spec.options.max_sessions == Some(0) {
            faults
                .add("options.maxSessions", "must be at least 1; to give nothing, let nobody have the role");
        }
        let role = Self {
            name: name.to_owned(),
            mode: spec.options.mode(),
            max_session_ttl: spec.options.max_session_ttl,
            owned_objects,
            approval: spec.options.approval.clone(),
            max_sessions: spec.options.max_sessions,
            allow: Conditions::read(name, Effect::Allow, &spec.allow, &mut faults),
            deny: Conditions::read(name, Effect::Deny, &spec.deny, &mut faults),
        };
        if faults.is_empty() { Ok(role) } else { Err(faults.into_vec()) }
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

    /// What the role says about what a user owns that is dropped.
    pub fn owned_objects(&self) -> Option<&OwnedObjects> {
        self.owned_objects.as_ref()
    }

    /// The approval that the role asks for.
    pub fn approval(&self) -> Option<&ApprovalSpec> {
        self.approval.as_ref()
    }

    /// How many sessions that are not over a user may have by the role.
    pub fn max_sessions(&self) -> Option<u32> {
        self.max_sessions
    }

    /// What the role gives.
    pub fn allow(&self) -> &Conditions {
        &self.allow
    }

    /// What the role takes away.
    pub fn deny(&self) -> &Conditions {
        &self.deny
    }
}

/// The outcome of compiling a stored role.
pub type CompiledRole = Result<Arc<Role>, Arc<[Fault]>>;

/// The roles of a namespace, with those that are not valid.
#[derive(Clone, Debug, Default)]
pub struct Roles(BTreeMap<String, CompiledRole>);

impl Roles {
    /// No roles.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compiles a role and keeps the outcome; a role of the same name is replaced.
    pub fn insert(&mut self, name: &str, spec: &RoleSpec) {
        self.insert_compiled(name, Role::compile(name, spec).map(Arc::new).map_err(Arc::from));
    }

    /// Keeps the outcome of [`Role::compile`]; a role of the same name is replaced.
    pub fn insert_compiled(&mut self, name: &str, compiled: CompiledRole) {
        self.0.insert(name.to_owned(), compiled);
    }

    /// Forgets a role.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The role of that name: `None` where there is none, its faults where it is not valid.
    pub fn get(&self, name: &str) -> Option<&CompiledRole> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{PermissionSpec, RoleConditions};

    #[test]
    fn all_faults_are_reported_with_their_paths() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let permission = |privileges: &[&str]| PermissionSpec {
            matching: [("*".to_owned(), texts(&["x"]))].into(),
            permissions: texts(privileges),
        };
        let mut spec = RoleSpec {
            allow: RoleConditions {
                db_labels_expression: Some("nope".to_owned()),
                db_names: texts(&["ok", "{{bad"]),
                db_users: texts(&["}}"]),
                db_roles: texts(&["reader", "*"]),
                db_permissions: vec![permission(&["*", "", "FROBNICATE"])],
                ..RoleConditions::default()
            },
            deny: RoleConditions { db_permissions: vec![permission(&[])], ..RoleConditions::default() },
            ..RoleSpec::default()
        };
        spec.options.max_session_ttl = Some(Duration::ZERO);
        spec.options.owned_objects = Some(OwnedObjects::ReassignTo { role: String::new() });
        let faults = Role::compile("r", &spec).expect_err("faulty");
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "options.maxSessionTtl",
                "options.ownedObjects.role",
                "options.ownedObjects.policy",
                "allow.dbLabelsExpression",
                "allow.dbNames[1]",
                "allow.dbUsers[0]",
                "allow.dbRoles[1]",
                "allow.dbPermissions[0].match[\"*\"]",
                "allow.dbPermissions[0].permissions[0]",
                "allow.dbPermissions[0].permissions[1]",
                "allow.dbPermissions[0].permissions[2]",
                "deny.dbPermissions[0].match[\"*\"]",
                "deny.dbPermissions[0].permissions",
            ]
        );
    }
}
