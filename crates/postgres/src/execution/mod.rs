//! What is sent when, and the proof that it took effect.
//!
//! | module | contains |
//! |---|---|
//! | `apply` | carrying out plans |
//! | `reassign` | giving what an account owns to another role, before it is dropped |
//! | `drain` | disabling an account, and waiting until no connection and no login under way is left |
//! | `creators`, `rotation` | creating accounts through creator roles, and which |
//! | `confirmations` | what a synchronous standby has confirmed |
//! | `stop` | stopping what the user who is logged in runs |
//! | `sets` | permission sets: synced, listed, dropped |

pub(crate) mod apply;
pub(crate) mod confirmations;
pub(crate) mod creators;
pub(crate) mod drain;
pub(crate) mod reassign;
mod rotation;
pub(crate) mod sets;
pub(crate) mod stop;
