//! What the parts of the operator share: plain data, and pure functions over it.
//!
//! | module | contents |
//! |---|---|
//! | `keys` | names of objects and accounts, and what is queued |
//! | `action` | what follows from a reconcile |
//! | `blocker` | why something cannot be done now |
//! | `loss` | changes that a server may have lost |
//! | [`session`] | facts that follow from the object of a session |
//! | `time` | times |

/// The target of the trace events that follow a session through the files of docs/architecture.md.
pub const WALK: &str = "walk";

mod action;
mod blocker;
mod keys;
mod loss;
pub mod session;
mod small_set;
mod time;

pub use action::{Action, ReconcileError, Unwritten};
pub use blocker::Blocker;
pub use keys::{
    AccountKey, Cause, DatabaseKey, Group, ObjectKey, Priority, QueueKey, ReconcileKey, Triggers,
};
pub use loss::Loss;
pub use small_set::SmallSet;
pub use time::{plus, until, whole_second};
