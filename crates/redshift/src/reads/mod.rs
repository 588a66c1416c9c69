//! What is read, and what it means.
//!
//! | module | contains |
//! |---|---|
//! | `sessions` | whose session a row is |
//! | `users` | accounts, by what several views say of them |
//! | `roles` | roles: whose they are, what they may, who may hand them out |
//! | `sight` | what the admin user can see at all |
//! | `observe`, `inventory` | accounts |
//! | `activity` | what the user who is logged in runs |
//! | `preflight` | what the server and the admin user lack |
//! | `objects`, `sets`, `catalog` | objects, and the privileges of permission sets |
//! | `dependents` | what depends on a user in a logical database |
//! | `new_owner` | who may get what accounts own |

pub(crate) mod activity;
pub(crate) mod catalog;
pub(crate) mod dependents;
pub(crate) mod inventory;
pub(crate) mod new_owner;
pub(crate) mod objects;
pub(crate) mod observe;
pub(crate) mod preflight;
pub(crate) mod roles;
pub(crate) mod sessions;
pub(crate) mod sets;
pub(crate) mod sight;
pub(crate) mod users;
