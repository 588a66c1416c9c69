//! What the PostgreSQL engine does beyond the contract: connections, trouble on the way, users who make trouble.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong")]

#[path = "../common/mod.rs"]
mod common;

mod activity;
mod certificates;
mod connecting;
mod creators;
mod credentials;
mod draining;
mod hanging;
mod logins;
mod owners;
mod poolers;
mod pooling;
mod preflight;
mod reassign;
mod rules;
mod standby;
mod statements;
mod triggers;
mod trouble;
