//! Commands as documents, and what the server's documents mean. Nothing here sends anything.
//!
//! | module | contains |
//! |---|---|
//! | `change` | the commands that change users and roles |
//! | `set`, `marker` | the privileges of a permission set, and its record |
//! | `preview` | a plan for people who review it |
//! | `user`, `role`, `operation` | users, roles and operations as the server has them |

pub(crate) mod change;
pub(crate) mod marker;
pub(crate) mod operation;
pub(crate) mod preview;
pub(crate) mod role;
pub(crate) mod set;
pub(crate) mod user;
