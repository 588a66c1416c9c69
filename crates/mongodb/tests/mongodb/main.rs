//! The engine on real MongoDB servers, beyond the conformance suite.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong")]

mod activity;
mod bench;
mod certificates;
mod connecting;
mod failover;
mod lagging;
mod names;
mod preflight;
mod sessions;
