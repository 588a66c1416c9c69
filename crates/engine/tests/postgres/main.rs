//! What the PostgreSQL engine does beyond the contract: connections, trouble on the way, users who make trouble.

#[path = "../common/mod.rs"]
mod common;

mod connecting;
mod credentials;
mod draining;
mod pooling;
mod probing;
mod trouble;
