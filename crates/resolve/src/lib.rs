//! From API objects to the values that policy decides on, and from its decisions to what a session gets.
//!
//! Pure, and shared by the operator and `kubectl rolecall explain`, so that the two cannot differ.

mod admin;
mod aws;
mod convert;
mod grant;
mod mongodb;
mod platform;
mod postgres;
mod proof;
mod redshift;
mod request;
mod username;

pub use admin::{AdminUser, admin_user, database, grantable};
pub use aws::{aws_region, default_server_ca, rds_admin_target, rds_target, says_itself};
pub use convert::{database_username, role_spec, rule_spec, user_spec};
pub use grant::{Blocked, Grant, decide, roles_taking_part, selected};
pub use mongodb::{MongodbAddress, mongodb_config};
pub use platform::{blue_green_host, postgres_platform};
pub use postgres::{parse_postgres_address, postgres_config};
pub use proof::{AdminProof, admin_proof};
pub use redshift::{redshift_admin_target, redshift_config, redshift_fault, redshift_target};
pub use request::{Asks, canonical_json, exceeds, hash_of, request_hash, session_request};
pub use username::{Claim, username_fault, username_holder, username_taken};

use std::sync::Arc;

use rolecall_api::ProvisioningRole;
use rolecall_policy::{Fault, Role};

/// A compiled role, or everything that is wrong with it.
pub type RoleState = Result<Arc<Role>, Arc<[Fault]>>;

/// Compiles a role. Do it once, when the object is read.
pub fn compile_role(role: &ProvisioningRole) -> RoleState {
    let name = role.metadata.name.as_deref().unwrap_or_default();
    Role::compile(name, &role_spec(&role.spec)).map(Arc::new).map_err(Arc::from)
}
