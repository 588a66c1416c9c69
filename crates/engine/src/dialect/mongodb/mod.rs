//! MongoDB: names of users and roles, and commands for people to paste into mongosh.

mod name;
pub mod remedy;
mod role;

pub use name::{account_name, name_fault, user_name, user_name_of};
pub use role::{RoleName, database_fault};

/// Where users that prove themselves by a certificate are kept.
pub const EXTERNAL: &str = "$external";

/// The key of customData under which our ownership record is, beside the marker.
pub const RECORD: &str = "rolecall";

/// The address that no client comes from.
pub const NOWHERE: &str = "0.0.0.0";
