//! What is sent in one round trip, and what comes back.

use std::fmt;

use tokio_postgres::SimpleQueryRow;

use super::quote::literal;

/// One simple-query message: one round trip and, where it holds no BEGIN, one transaction, of which an error leaves
/// nothing behind.
#[derive(Clone, Default)]
pub(super) struct Message {
    statements: Vec<Statement>,
    /// It begins a transaction of its own, so that an error in it leaves one to roll back.
    explicit: bool,
}

#[derive(Clone)]
struct Statement {
    sql: String,
    /// What it attempts, for people: `granting roles to "alice"`.
    what: String,
    needs: Needs,
}

/// What the admin user lacks where a statement is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Needs {
    /// Not known.
    #[default]
    Unknown,
    /// CREATEROLE.
    CreateRole,
    /// ADMIN OPTION on these roles, as SQL.
    AdminOption(String),
}

impl Message {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A message of one statement.
    pub(super) fn one(what: impl Into<String>, sql: impl Into<String>) -> Self {
        let mut message = Self::new();
        message.push(what, sql);
        message
    }

    /// Begins a transaction that ends in [`Message::roll_back`].
    pub(super) fn begin(what: impl Into<String>) -> Self {
        Self { explicit: true, ..Self::one(what, "BEGIN") }
    }

    /// Adds a statement.
    pub(super) fn push(&mut self, what: impl Into<String>, sql: impl Into<String>) {
        self.push_needing(Needs::Unknown, what, sql);
    }

    /// Adds a statement that can be denied for want of one thing.
    pub(super) fn push_needing(&mut self, needs: Needs, what: impl Into<String>, sql: impl Into<String>) {
        self.statements.push(Statement { sql: sql.into(), what: what.into(), needs });
    }

    /// Undoes everything since [`Message::begin`].
    pub(super) fn roll_back(&mut self) {
        self.push("ending the transaction", "ROLLBACK");
    }

    /// Lets statements wait for locks for less than the connection does.
    pub(super) fn lock_timeout(&mut self, milliseconds: u32) {
        let value = literal(format!("{milliseconds}ms"));
        self.push("setting the lock time-out", format!("SET LOCAL lock_timeout = {value}"));
    }

    pub(super) fn is_explicit(&self) -> bool {
        self.explicit
    }

    pub(super) fn len(&self) -> usize {
        self.statements.len()
    }

    /// What the statement at `index` attempts; the last one when there is no such.
    pub(super) fn attempted(&self, index: usize) -> &str {
        self.statements.get(index).or(self.statements.last()).map_or("", |statement| &statement.what)
    }

    /// What the statement at `index` needs.
    pub(super) fn needs(&self, index: usize) -> Needs {
        self.statements.get(index).map(|statement| statement.needs.clone()).unwrap_or_default()
    }

    /// The text that is sent. It may hold a password verifier: not for logs.
    pub(super) fn sql(&self) -> String {
        let mut text = String::new();
        for statement in &self.statements {
            text.push_str(&statement.sql);
            text.push_str(";\n");
        }
        text
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.statements.iter().map(|statement| &statement.what)).finish()
    }
}

/// The rows that came back, by statement.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) rows: Vec<Vec<SimpleQueryRow>>,
}

impl Reply {
    /// The first column of the first row of the last statement that gave rows.
    pub(super) fn value(&self) -> Option<&str> {
        self.rows.iter().rev().find_map(|rows| rows.first()).and_then(|row| row.get(0))
    }

    /// The first column of every row of every statement.
    pub(super) fn column(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flatten().filter_map(|row| row.get(0))
    }
}
