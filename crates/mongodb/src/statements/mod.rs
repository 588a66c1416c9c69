//! Commands as documents, and what the server's documents mean. Nothing here sends anything.
//!
//! | module | holds |
//! |---|---|
//! | `change` | the commands that change users and roles |
//! | `user`, `role`, `operation` | users, roles and operations as the server has them |

pub(crate) mod change;
pub(crate) mod operation;
pub(crate) mod role;
pub(crate) mod user;
