//! How statements reach the server and come back: nothing here knows of accounts.
//!
//! Everything is simple query: the text protocol, without prepared statements, whose look-ups of types the server does
//! not answer.
//!
//! | module | contains |
//! |---|---|
//! | `config`, `login` | what is known of the server, and what the admin user logs in with |
//! | `connect`, `refusal` | connections: opened, and why not |
//! | `pool` | a few of them, over all databases |
//! | `statement`, `rows` | a statement, and the rows of its answer |
//! | `exchange` | statements and their answers |
//! | `server` | statements to the server: transactions, and what is run again |
//! | `sqlstate` | what a failure means |

pub(crate) mod config;
pub(crate) mod connect;
pub(crate) mod exchange;
pub(crate) mod login;
pub(crate) mod pool;
pub(crate) mod refusal;
pub(crate) mod rows;
pub(crate) mod server;
pub mod sqlstate;
pub(crate) mod statement;
