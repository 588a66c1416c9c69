//! What is sent, as text: one statement at a time, so that an error belongs to one of them.
//!
//! | module | contains |
//! |---|---|
//! | `user` | users: created, opened, closed, reset, dropped |
//! | `role` | roles and memberships |
//! | `object` | privileges on objects |
//! | `preview`, `preview_set` | a plan for people who review it |
//! | `query` | everything that is read |
//!
//! Redshift's grammar is not PostgreSQL's: what is used here is what its manual has, and tests let a parser of that
//! grammar read all of it. In an ALTER USER there is one option, since manual and grammars disagree on how several are
//! separated. Of several roles each has a statement of its own.

#[cfg(test)]
mod grammar;
pub(crate) mod object;
pub(crate) mod preview;
pub(crate) mod preview_set;
pub(crate) mod query;
#[cfg(test)]
mod rendered;
pub(crate) mod role;
pub(crate) mod user;

pub(crate) use crate::transport::statement::{Needs, Statement};
