//! What a user runs on a server now: seen and stopped as that user, who needs no right for it.

use async_trait::async_trait;

use crate::Error;

/// A server, reached as one of its users.
#[async_trait]
pub trait Activity: Send + Sync + std::fmt::Debug {
    /// What this user runs now, over all its connections but the one that asks, longest first.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses the query.
    async fn running(&self) -> Result<Vec<Running>, Error>;

    /// Asks the server to stop one of them. Whether it did is seen by [`Activity::running`]. False: this user has no
    /// such any more.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses it.
    async fn stop(&self, id: &str, how: Stop) -> Result<bool, Error>;

    /// Closes the connections.
    async fn leave(&self);
}

/// How something that runs is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// The query is cancelled; the connection stays.
    Cancel,
    /// The connection is ended, with its transaction. MongoDB: the operation and the session that it belongs to.
    Terminate,
}

/// A connection of a user, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The number by which the server knows it, as [`Activity::stop`] takes it: PostgreSQL and Redshift: the process;
    /// MongoDB: the operation, in a replica set followed by `@` and the member.
    pub id: String,
    /// Since when it has been in this state, as RFC 3339; `None` where the server does not say.
    pub since: Option<String>,
    /// It runs a query at this moment.
    pub active: bool,
    /// The state in the server's words: `active`, `idle in transaction`.
    pub state: String,
    /// What it waits for, in the server's words; empty where it does not wait.
    pub waits_for: String,
    /// The logical database; on MongoDB the collection.
    pub database: String,
    /// The client program, as it called itself; may be empty.
    pub application: String,
    /// The query; of an idle connection of PostgreSQL its last one.
    pub query: String,
}
