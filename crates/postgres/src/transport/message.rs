//! What is sent in one round trip, and what comes back.

mod blocks;

use std::fmt;

use tokio_postgres::SimpleQueryRow;

use crate::quote::literal;

/// One simple-query message: one round trip and, where it contains no BEGIN, one transaction, of which an error leaves
/// nothing behind.
#[derive(Clone, Default)]
pub(crate) struct Message {
    statements: Vec<Statement>,
    /// It begins a transaction of its own, so that an error in it leaves one to roll back.
    explicit: bool,
    /// It changes something and takes no time but for locks: see [`Message::is_replicated`].
    replicated: bool,
    /// It may be sent as blocks: see `blocks`.
    packs: bool,
    /// What is added after the statement of this index where it runs as the admin user instead of as another role.
    otherwise: (usize, Vec<Statement>),
}

#[derive(Clone)]
struct Statement {
    sql: String,
    /// What it attempts, for people: `granting roles to "alice"`.
    what: String,
    needs: Needs,
    /// Its rows are part of the answer.
    asks: bool,
    /// It is there because the message runs as another role.
    acts: bool,
    /// It contains a password verifier.
    secret: bool,
    /// Its text where the message runs as the admin user instead of as another role.
    as_admin_user: Option<String>,
    /// What it is made of, where it is a block.
    parts: Vec<Statement>,
}

/// What a failure of a statement means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing in particular.
    #[default]
    Nothing,
    /// Denied: CREATEROLE is missing.
    CreateRole,
    /// Denied: ADMIN OPTION on these roles (as SQL) is missing.
    AdminOption(String),
    /// The role itself (as SQL). Denied: ADMIN OPTION on it is missing. Not found: it has gone meanwhile.
    Role(String),
    /// Nothing in particular; it stores a password verifier.
    Verifier,
    /// Division by zero: what the statement checks is not so. It is reported with this code.
    Truth(&'static str),
}

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A message of one statement that asks.
    pub(crate) fn one(what: impl Into<String>, sql: impl Into<String>) -> Self {
        let mut message = Self::new();
        message.ask(what, sql);
        message
    }

    /// Begins a transaction that ends in [`Message::roll_back`].
    pub(crate) fn begin(what: impl Into<String>) -> Self {
        let mut message = Self { explicit: true, ..Self::new() };
        message.push(what, "BEGIN");
        message
    }

    /// Adds a statement.
    pub(crate) fn push(&mut self, what: impl Into<String>, sql: impl Into<String>) {
        self.push_needing(Needs::Nothing, what, sql);
    }

    /// Adds a statement whose rows are part of the answer.
    pub(crate) fn ask(&mut self, what: impl Into<String>, sql: impl Into<String>) {
        self.push(what, sql);
        if let Some(last) = self.statements.last_mut() {
            last.asks = true;
        }
    }

    /// Adds a statement of which it is known what a failure means.
    pub(crate) fn push_needing(&mut self, needs: Needs, what: impl Into<String>, sql: impl Into<String>) {
        self.statements.push(Statement {
            sql: sql.into(),
            what: what.into(),
            needs,
            asks: false,
            acts: false,
            secret: false,
            as_admin_user: None,
            parts: Vec::new(),
        });
    }

    /// Adds a statement that contains a password verifier. It never becomes part of a block: extensions that write an audit log
    /// leave the verifier out of statements that they know, and not out of blocks.
    pub(crate) fn push_secret(&mut self, needs: Needs, what: impl Into<String>, sql: impl Into<String>) {
        self.push_needing(needs, what, sql);
        if let Some(last) = self.statements.last_mut() {
            last.secret = true;
        }
    }

    /// Lets the message run as another role, for what is added after this: the last statement has this text then, which sets
    /// `role` for this transaction.
    pub(crate) fn act_in_last(&mut self, sql: impl Into<String>) {
        if let Some(last) = self.statements.last_mut() {
            last.as_admin_user = Some(std::mem::replace(&mut last.sql, sql.into()));
        }
    }

    /// Lets the message run as another role, up to its end: `sql` sets `role` for this transaction.
    pub(crate) fn act(mut self, what: impl Into<String>, sql: impl Into<String>) -> Self {
        let first = usize::from(self.explicit);
        self.act_from_here(what, sql);
        if let Some(own) = self.statements.get_mut(first..) {
            own.rotate_right(1);
        }
        self
    }

    /// As [`Message::act`], for what is added after this.
    pub(crate) fn act_from_here(&mut self, what: impl Into<String>, sql: impl Into<String>) {
        self.push(what, sql);
        if let Some(last) = self.statements.last_mut() {
            last.acts = true;
        }
    }

    /// Adds the statements of another message.
    pub(crate) fn append(&mut self, other: Self) {
        self.statements.extend(other.statements);
    }

    /// Adds what follows the statement that attempts this, `acting` where the message runs as another role, and `otherwise`
    /// where it has to run as the admin user.
    pub(crate) fn insert_after(&mut self, attempted: &str, acting: Self, otherwise: Self) {
        let Some(last) = self.statements.iter().rposition(|statement| statement.what == attempted) else {
            return;
        };
        let acting = acting.statements.into_iter().map(|statement| Statement { acts: true, ..statement });
        self.statements.splice(last + 1..=last, acting);
        self.otherwise = (last, otherwise.statements);
    }

    /// Does it run as another role?
    pub(crate) fn acts(&self) -> bool {
        self.statements.iter().any(|statement| statement.acts || statement.as_admin_user.is_some())
    }

    /// The same message, run as the admin user.
    pub(crate) fn as_admin_user(&self) -> Self {
        let mut message = Self { statements: Vec::new(), otherwise: <_>::default(), ..self.clone() };
        let (after, otherwise) = &self.otherwise;
        for (index, statement) in self.statements.iter().enumerate() {
            if !statement.acts {
                let mut statement = statement.clone();
                if let Some(sql) = statement.as_admin_user.take() {
                    statement.sql = sql;
                }
                message.statements.push(statement);
            }
            if index == *after {
                message.statements.extend_from_slice(otherwise);
            }
        }
        message
    }

    /// Undoes everything since [`Message::begin`].
    pub(crate) fn roll_back(&mut self) {
        self.push("ending the transaction", "ROLLBACK");
    }

    /// Lets statements wait for locks for less than the connection does.
    pub(crate) fn lock_timeout(&mut self, milliseconds: u32) {
        let value = literal(format!("{milliseconds}ms"));
        self.push("setting the lock time-out", format!("SET LOCAL lock_timeout = {value}"));
    }

    /// An expression that sets a setting until the end of the transaction, for a statement that reads something anyway.
    pub(crate) fn set_locally(name: &str, value: &str) -> String {
        format!("pg_catalog.set_config({}, {}, true)", literal(name), literal(value))
    }

    /// Its statements take no time but for locks, and its commit waits for a synchronous standby where there is one.
    pub(crate) fn replicated(mut self) -> Self {
        self.replicated = true;
        self
    }

    /// May a missing answer be a commit that waits for a standby?
    pub(crate) fn is_replicated(&self) -> bool {
        self.replicated
    }

    pub(crate) fn is_explicit(&self) -> bool {
        self.explicit
    }

    pub(crate) fn len(&self) -> usize {
        self.statements.len()
    }

    /// What the statement at `index` attempts; the last one when there is no such.
    pub(crate) fn attempted(&self, index: usize) -> &str {
        self.statements.get(index).or(self.statements.last()).map_or("", |statement| &statement.what)
    }

    /// Are the rows of the statement at `index` part of the answer?
    pub(crate) fn asks(&self, index: usize) -> bool {
        self.statements.get(index).is_some_and(|statement| statement.asks)
    }

    /// What a failure means of the statement that attempts this.
    pub(crate) fn needs_of(&self, attempted: &str) -> Needs {
        let statement = self.statements.iter().find(|statement| statement.what == attempted);
        statement.map(|statement| statement.needs.clone()).unwrap_or_default()
    }

    /// The statements, in their order. They may contain a password verifier: not for logs.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().map(|statement| statement.sql.as_str())
    }

    /// The text that is sent. It may contain a password verifier: not for logs.
    pub(crate) fn sql(&self) -> String {
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

/// The rows that came back, one list for each statement that asked.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) answers: Vec<Vec<SimpleQueryRow>>,
    /// The wait for the standby was given up: it is done on this server, and may be undone by a failover.
    pub(crate) unconfirmed: bool,
    /// It was refused as the role that it should have run as, and ran as the admin user.
    pub(crate) as_admin_user: bool,
    /// The server warned of something, which may be that somebody else ended the wait for the standby.
    pub(crate) warned: bool,
}

impl Reply {
    /// The rows of the last statement that asked.
    pub(crate) fn rows(&self) -> &[SimpleQueryRow] {
        self.answers.last().map_or(&[], Vec::as_slice)
    }

    /// The first columns of the first rows of all statements that asked.
    pub(crate) fn values(&self) -> impl Iterator<Item = Option<&str>> {
        self.answers.iter().map(|rows| rows.first().and_then(|row| row.get(0)))
    }

    /// The first row of the first statement that asked.
    pub(crate) fn first_row(&self) -> Option<&SimpleQueryRow> {
        self.answers.first()?.first()
    }

    /// The first column of the first row of the last statement that asked.
    pub(crate) fn value(&self) -> Option<&str> {
        self.rows().first().and_then(|row| row.get(0))
    }
}
