//! How messages reach the server and come back: nothing here knows of accounts.
//!
//! | module | contains |
//! |---|---|
//! | `config`, `platform`, `version` | what is known of the server |
//! | `tls`, `connect`, `session`, `pool`, `pooler`, `progress` | connections: opened, made what they have to be, kept |
//! | `message`, `exchange`, `backends` | one message: its text, its answer, the backend that it runs in |
//! | `server` | messages to the server: run again after a conflict |
//! | `announcement` | what is heard on a channel |
//! | `failover` | a writer that only reads |
//! | `standby` | commits that wait for a synchronous standby |
//! | `sqlstate`, `rules` | what a failure means |

pub(crate) mod announcement;
pub(crate) mod backends;
pub(crate) mod config;
pub(crate) mod connect;
pub(crate) mod exchange;
pub(crate) mod failover;
pub(crate) mod message;
pub(crate) mod platform;
pub(crate) mod pool;
pub(crate) mod pooler;
pub(crate) mod progress;
pub(crate) mod rules;
pub(crate) mod server;
pub(crate) mod session;
pub mod sqlstate;
pub(crate) mod standby;
pub(crate) mod tls;
pub(crate) mod version;
