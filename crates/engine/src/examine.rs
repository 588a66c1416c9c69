//! What a person who looks for a fault wants to know of a server beyond the preflight. Nothing depends on it.

use std::collections::BTreeSet;

use async_trait::async_trait;

use crate::Error;

/// A server that can be examined, as its admin user.
#[async_trait]
pub trait Examine: Send + Sync + std::fmt::Debug {
    /// Reads what there is to know. `databases`: the logical databases to look into; what cannot be read of one is in
    /// the answer.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached.
    async fn examine(&self, databases: &BTreeSet<String>) -> Result<Examination, Error>;
}

/// What an examination found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// The server's clock when it answered, in microseconds since 1970.
    pub clock: Option<i64>,
    /// Event triggers, which run in the sessions of the admin user, too.
    pub event_triggers: Vec<EventTrigger>,
    /// The rules by which the server lets clients in.
    pub hba: Hba,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

/// An event trigger of PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTrigger {
    /// The logical database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// The event: `ddl_command_end`, `login`.
    pub event: String,
    /// Its function, with its schema.
    pub function: String,
    /// Who owns it, and is the only one beside superusers who can switch it off.
    pub owner: String,
}

/// `pg_hba.conf`, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hba {
    /// This kind of server has none.
    #[default]
    None,
    /// The admin user may not read it.
    Closed,
    /// Its lines in their order.
    Rules(Vec<HbaRule>),
}

/// A line of `pg_hba.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HbaRule {
    /// The number of the line.
    pub line: u32,
    /// `host`, `hostssl`, `local`; empty for a line that is not understood.
    pub connection: String,
    /// The databases that it applies to.
    pub databases: Vec<String>,
    /// The users that it applies to.
    pub users: Vec<String>,
    /// `cert`, `scram-sha-256`, `reject`.
    pub method: String,
    /// Its options, as `clientcert=verify-full`.
    pub options: Vec<String>,
    /// Why the server does not understand it.
    pub fault: Option<String>,
}
