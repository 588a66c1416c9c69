//! What is sent when, and what proves that it is so.
//!
//! | module | holds |
//! |---|---|
//! | `apply` | carrying out plans |
//! | `drain` | disabling an account, and waiting until nobody is left inside or on the way in |
//! | `confirmations` | what a synchronous standby has confirmed |
//! | `sets` | permission sets: synced, listed, dropped |

pub(crate) mod apply;
pub(crate) mod confirmations;
pub(crate) mod drain;
pub(crate) mod sets;
