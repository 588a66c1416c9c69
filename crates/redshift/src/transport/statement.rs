//! A statement on its way to the server.

use std::fmt;

/// One statement.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// It may contain a password verifier: not for logs.
    pub(crate) sql: String,
    /// What it attempts, for people: `granting the role "reader" to "alice"`.
    pub(crate) what: String,
    /// What it is that may not be allowed.
    pub(crate) needs: Needs,
}

/// What a statement needs, so that a refusal says what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing in particular.
    #[default]
    Nothing,
    /// The right to manage users and to create roles.
    Users,
    /// The right to grant this role.
    Role(String),
    /// To be a superuser.
    Superuser,
}

impl Statement {
    pub(crate) fn new(what: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), what: what.into(), needs: Needs::Nothing }
    }

    pub(crate) fn needing(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
