//! Carrying out plans: which statement when, and the proof that an access has ended.
//!
//! | module | contains |
//! |---|---|
//! | `apply` | accounts: started and adjusted |
//! | `end` | accounts: ended, and taken over from a predecessor |
//! | `guard` | what must hold in the transaction that changes an account |
//! | `reset` | what takes everything from an account that it should not have |
//! | `reassign` | giving what an account owns to another user, before it is dropped |
//! | `drain` | waiting until nobody is in any more |
//! | `drop` | users dropped, where nothing depends on them in any database |
//! | `record` | the roles that records are kept in |
//! | `stop` | stopping what the user who is logged in runs |
//! | `sync`, `grants`, `retire` | permission sets |

pub(crate) mod apply;
pub(crate) mod drain;
pub(crate) mod drop;
pub(crate) mod end;
pub(crate) mod grants;
pub(crate) mod guard;
pub(crate) mod reassign;
pub(crate) mod record;
pub(crate) mod reset;
pub(crate) mod retire;
pub(crate) mod stop;
pub(crate) mod sync;
