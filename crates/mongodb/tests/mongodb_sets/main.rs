//! Permission sets on a real MongoDB.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong")]

mod concurrency;
mod drift;
mod limits;
mod privileges;
mod retiring;
mod shop;
mod syncing;
