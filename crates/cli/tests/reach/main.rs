//! `connect` against a real API server, real databases and real clients: by port-forwards, in terminals, through the
//! local port of `--proxy`. Only the operator's place is taken by a task that signs what a session asks for.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod bench;
mod doctor;
#[path = "../documented/mod.rs"]
mod documented;
mod forwarding;
mod jdbc;
mod mongodb;
mod outage;
mod postgres;
mod proxy;
mod terminal;
