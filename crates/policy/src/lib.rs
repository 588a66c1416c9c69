//! Who may do what on which database: pure decisions with their provenance.

mod access;
mod bits;
mod bound;
mod conditions;
mod decision;
mod duration;
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
mod template_field;
mod template_parser;
mod user;
mod username;

pub use access::{check_access, decide_access};
pub use conditions::{Conditions, Effect};
pub use decision::{
    Contribution, Decision, Denial, GivenRole, Origin, Provisioning, Reason, SessionLimit, WithheldRole,
};
pub use duration::{format as format_duration, parse as parse_duration};
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
