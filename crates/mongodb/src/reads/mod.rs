//! What is read of the server.
//!
//! | module | contains |
//! |---|---|
//! | `observe`, `inventory` | accounts |
//! | `activity` | what the user who is logged in runs |
//! | `members` | the members of a replica set, and what runs on each |
//! | `preflight`, `privileges`, `client_ca` | what the server and the admin user lack |
//! | `powers` | what makes a database role powerful |
//! | `history` | where the server is in its history |
//! | `objects` | the collections of a logical database |
//! | `sets` | permission sets, their records and members |

pub(crate) mod activity;
pub(crate) mod client_ca;
pub(crate) mod history;
pub(crate) mod inventory;
pub(crate) mod members;
pub(crate) mod objects;
pub(crate) mod observe;
pub(crate) mod powers;
pub(crate) mod preflight;
pub(crate) mod privileges;
pub(crate) mod sets;
