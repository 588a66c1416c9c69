//! What is sent, as text. Nothing here sends anything.
//!
//! | module | contains |
//! |---|---|
//! | `activate`, `adjust`, `end` | the messages of the plans |
//! | `role`, `membership` | statements that several messages have in common |
//! | `creators` | the roles that the admin user creates accounts through |
//! | `guard` | the check that is made again under the account's lock |
//! | `logins` | ending logins under way |
//! | `set` | permission sets: their record, privileges on objects |
//! | `preview`, `preview_set` | a plan for people who review it |
//! | `rights` | rights on objects that somebody granted to an account itself |
//! | `reassign` | what an account owns, given to another role |

pub(crate) mod activate;
pub(crate) mod adjust;
pub(crate) mod creators;
pub(crate) mod end;
pub(crate) mod guard;
pub(crate) mod logins;
pub(crate) mod membership;
pub(crate) mod preview;
pub(crate) mod preview_set;
pub(crate) mod reassign;
#[cfg(test)]
mod rendered;
pub(crate) mod rights;
pub(crate) mod role;
pub(crate) mod set;
