//! A command as it is sent, with what it attempts.

use mongodb::bson::Document;

/// One command.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What it attempts, for people: `reading the account "alice"`.
    pub(crate) what: String,
    pub(crate) database: String,
    pub(crate) command: Document,
}

impl Request {
    pub(crate) fn new(what: impl Into<String>, database: impl Into<String>, command: Document) -> Self {
        Self { what: what.into(), database: database.into(), command }
    }
}
