//! Who may do what on which database: pure decisions with their provenance.
#![allow(clippy::todo, dead_code)]

mod decision;
mod duration;
mod fault;
mod grants;
mod import_rule;
mod labelling;
mod mode;
mod object;
mod permission;
mod privilege;
mod role;
pub mod spec;
mod user;
mod username;

pub use decision::{
    Contribution, Decision, Denial, GivenRole, Origin, Provisioning, Reason, SessionLimit, WithheldRole,
};
pub use duration::{format as format_duration, parse as parse_duration};
pub use fault::{Fault, Faults};
pub use grants::{
    EntryMatch, LabelMatch, ObjectExplanation, ObjectPermissions, PrivilegeOrigin, compute_permissions,
    decide_objects,
};
pub use import_rule::{ImportRule, ImportRules};
pub use labelling::{LabelOrigin, LabelledObjects, MappingRef, label_objects};
pub use mode::Mode;
pub use object::{Database, DbObject, ObjectKind, Protocol};
pub use permission::{CanonicalEntry, CanonicalPermissions, PermissionEntries, PermissionEntry};
pub use privilege::{Privilege, PrivilegeSet};
pub use role::{Role, Roles};
pub use user::{
    DatabaseNames, Reach, Refusal, User, check_access, decide_access, decide_provisioning, list_reach,
};
pub use username::remote_username;
