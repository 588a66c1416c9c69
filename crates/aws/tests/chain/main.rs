//! Each way to credentials, in a process of its own whose environment has nothing else.
//!
//! What they are is proven by what they sign: a call that the front of the testbed verifies, and a token for RDS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong")]

mod bench;
mod child;
mod metadata;
mod refusals;
mod ways;
