//! Permission sets on real servers of every version.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong")]

#[path = "../common/mod.rs"]
mod common;

mod admins;
mod announcing;
mod busy;
mod concurrency;
mod drift;
mod membership;
mod objects;
mod planning;
mod refusals;
mod retiring;
mod shop;
mod syncing;
mod vectors;
