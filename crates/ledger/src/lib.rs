//! The audit log of accesses: what a line says, how lines are chained, and what follows from them. No I/O, no clock.
//!
//! | module | contents |
//! |---|---|
//! | [`entry`] | what happened: the fields of a line |
//! | [`chain`] | lines, each with its number, the hash of the one before, and its own |
//! | [`canonical`] | the bytes that are hashed |
//! | [`read`] | lines from what a log collector made of them |
//! | [`verify`] | whether lines are missing, changed, or in another order |
//! | [`accesses`] | who had which access, from the lines alone |
//!
//! `docs/audit.md` describes the format for those who read it.

pub mod accesses;
pub mod canonical;
pub mod chain;
pub mod entry;
pub mod read;
pub mod verify;

pub use accesses::{Access, Accesses, State};
pub use chain::{Chain, Head, Key, Sealed};
pub use entry::{Entry, Event};
pub use read::{Lines, Place, Read};
pub use verify::{Verification, verify};
