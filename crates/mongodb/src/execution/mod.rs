//! What is sent when, and the proof that it took effect.
//!
//! | module | contains |
//! |---|---|
//! | `apply` | carrying out plans |
//! | `drain`, `locks` | ending what runs on each member, and since when accounts are disabled |
//! | `stop` | stopping what the user who is logged in runs |
//! | `sets` | permission sets: synced, listed, dropped |

pub(crate) mod apply;
pub(crate) mod drain;
pub(crate) mod locks;
pub(crate) mod sets;
pub(crate) mod stop;
