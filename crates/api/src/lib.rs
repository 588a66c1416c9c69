//! The API of Rolecall: its six kinds, their conditions and reasons, and everything generated from them.
//!
//! Each kind is one module with its spec and status; the field documentation is what `kubectl explain` shows.
//! This crate knows no client and no runtime, so that policy tools can use it offline.

#![allow(clippy::duplicated_attributes, reason = "every printcolumn has a name, a type and a path")]
#![allow(unreachable_pub, reason = "KubeSchema repeats every struct, `pub` included, inside a function")]

pub mod conditions;
pub mod duration;
pub mod names;
pub mod reasons;

mod admission;
mod crds;
mod database_admin;
mod database_admin_status;
mod database_session;
mod database_session_decision;
mod database_user;
mod db_object_import_rule;
mod fields;
mod generate;
mod provisioning_role;
mod rbac;
mod refs;
mod rules;
mod schema;
mod session_request;

pub use crds::crds;
pub use database_admin::*;
pub use database_admin_status::*;
pub use database_session::*;
pub use database_session_decision::{
    DatabaseSessionDecision, DatabaseSessionDecisionSpec, DecidedSession, Verdict,
};
pub use database_user::*;
pub use db_object_import_rule::*;
pub use duration::GoDuration;
pub use generate::{YamlError, crds_yaml, generated_files, reasons_markdown};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
pub use provisioning_role::*;
pub use refs::*;
pub use session_request::{
    ApprovalNeed, ApprovalProgress, ReceivedDecision, RequestedPermission, RequestedPermissions,
    RequestedRule, RequestedServer, RequestedUser, RequestingSession, SessionRequest,
};

use std::collections::BTreeMap;

/// A label selector: label key to value patterns. Every key must be there, one pattern per key must match.
///
/// `{"*": ["*"]}` selects everything, an empty selector nothing.
pub type Selector = BTreeMap<String, Vec<String>>;
