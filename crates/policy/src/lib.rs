//! Who may do what on which database: pure decisions with their provenance.
//!
//! No clock, no network, no files: what goes in are the specs of roles, import rules and users, a database with its
//! labels, and objects; what comes out are decisions, and for everything in them the role and entry, the rule and
//! mapping, the label and pattern that gave it or took it away.
//!
//! 1. [`Role::compile`] and [`ImportRule::read`] compile what is stored, once. Everything that is wrong with an object
//!    is reported together, as [`Fault`]s with the path of the field. [`Roles`] and [`ImportRules`] contain those of a
//!    namespace, including the invalid ones.
//! 2. [`User::resolve`] joins a user with its roles and expands trait templates. Where a role is missing or not valid,
//!    every decision about the user says so: what that role would deny is not known.
//! 3. [`decide_access`] decides about a database: may the user connect, how is it provisioned, which database roles
//!    does it get, which permission entries are in force. [`list_reach`] does it for many databases.
//! 4. [`label_objects`] gives objects the labels of the import rules, and [`decide_objects`] the privileges that the
//!    entries in force select by these labels.
//!
//! ```
//! use std::sync::Arc;
//!
//! use rolecall_policy::spec::{RoleSpec, UserSpec};
//! use rolecall_policy::{
//!     Database, DbObject, ImportRules, ObjectKind, Privilege, Protocol, Roles, User, decide_access, decide_objects,
//!     label_objects,
//! };
//!
//! let role: RoleSpec = serde_json::from_value(serde_json::json!({
//!     "options": {"createDbUserMode": "Keep"},
//!     "allow": {
//!         "dbLabels": {"env": ["prod-*"]},
//!         "dbNames": ["*"],
//!         "dbRoles": ["{{external.team}}_reader"],
//!         "dbPermissions": [{"match": {"schema": ["hr"]}, "permissions": ["SELECT"]}],
//!     },
//! }))?;
//! let mut roles = Roles::new();
//! roles.insert("hr-reader", &role);
//! let user = User::resolve(
//!     &UserSpec {
//!         username: "alice".to_owned(),
//!         traits: [("team".to_owned(), vec!["blue".to_owned()])].into(),
//!         roles: vec!["hr-reader".to_owned()],
//!     },
//!     &roles,
//! );
//! let orders = Database {
//!     name: "orders".to_owned(),
//!     protocol: Protocol::Postgres,
//!     labels: [("env".to_owned(), "prod-eu".to_owned())].into(),
//! };
//!
//! let decision = decide_access(&user, &orders, Some("app"), &[]);
//! assert!(decision.is_allowed());
//! assert_eq!(
//!     decision.provisioning.db_roles[0].to_string(),
//!     "blue_reader given by role hr-reader allow.dbRoles[0] = {{external.team}}_reader"
//! );
//!
//! // Without its own rule a namespace imports every object and labels it with what it is.
//! let rules = ImportRules::of_namespace([]);
//! let objects = [DbObject::new(ObjectKind::Table, "app", "hr", "salaries")];
//! let labelled = Arc::new(label_objects(&rules, &orders, objects.into()));
//! let entries = &decision.provisioning.permissions;
//! let permissions = decide_objects(&rules, &orders, Some("app"), entries, &labelled)?;
//! assert!(permissions.privileges(0).contains(Privilege::Select));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What people write cannot make a decision hang or grow: regular expressions run in linear time and are bounded in
//! size, label expressions have a budget of steps, and what is written is bounded in length and number. If a trait
//! or an expression fails, an allow does not apply and a deny does.

mod access;
mod bits;
mod bound;
mod conditions;
mod decision;
mod duration;
mod effect;
mod email;
mod entry_index;
mod expression;
mod fault;
mod grants;
mod import_rule;
mod label_template;
mod labeller;
mod labelling;
mod limits;
mod mapping;
mod mode;
mod object;
mod one_line;
mod origin;
mod owned_objects;
mod pattern;
mod pattern_index;
mod permission;
mod privilege;
mod provisioning;
mod reach;
mod regex_prefix;
mod role;
mod selector;
mod shape;
pub mod spec;
mod template;
mod template_expression;
mod template_field;
mod template_parser;
mod user;
mod username;

pub use access::{check_access, decide_access};
pub use conditions::Conditions;
pub use decision::{
    Contribution, Decision, Denial, GivenRole, Provisioning, Reason, RequiredApproval, SessionLimit,
    SessionQuota, WithheldRole,
};
pub use duration::format as format_duration;
pub use effect::Effect;
pub use expression::{Expression, Failure};
pub use fault::{Fault, Faults};
pub use grants::{
    EntryMatch, ObjectExplanation, ObjectPermissions, PrivilegeOrigin, compute_permissions, decide_objects,
};
pub use import_rule::{ImportRule, ImportRules};
pub use label_template::{Attribute, Attributes, LabelTemplate};
pub use labelling::{LabelOrigin, LabelledObjects, MappingRef, label_objects};
pub use mode::Mode;
pub use object::{Database, DbObject, ObjectKind, Protocol};
pub use origin::Origin;
pub use owned_objects::{OwnedObjects, OwnedObjectsDecision, OwnedObjectsOption};
pub use pattern::{Pattern, PatternError};
pub use permission::{CanonicalEntry, CanonicalPermissions, PermissionEntries, PermissionEntry};
pub use privilege::{Privilege, PrivilegeSet};
pub use provisioning::{Refusal, decide_provisioning};
pub use reach::{DatabaseNames, Reach, list_reach};
pub use role::{CompiledRole, Role, Roles};
pub use selector::{LabelMatch, Selector};
pub use template::{Template, TemplateError, TooLarge};
pub use user::User;
pub use username::remote_username;
