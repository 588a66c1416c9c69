//! How commands reach the server and come back: nothing here knows of accounts.
//!
//! | module | contains |
//! |---|---|
//! | `address`, `config`, `identity`, `files` | how the server is reached |
//! | `request` | a command |
//! | `server` | commands are sent and answered |
//! | `failure`, `code` | what a failure means |

pub(crate) mod address;
pub(crate) mod code;
pub(crate) mod config;
pub(crate) mod failure;
pub(crate) mod files;
pub(crate) mod identity;
pub(crate) mod request;
pub(crate) mod server;
