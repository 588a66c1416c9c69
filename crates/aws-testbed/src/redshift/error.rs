//! What the server refuses with.

/// An error of the server: its SQLSTATE and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SqlError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl SqlError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// 42601.
    pub(crate) fn syntax(near: &str) -> Self {
        Self::new("42601", format!("syntax error at or near \"{near}\""))
    }

    /// 42501.
    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new("42501", message)
    }

    /// 42704.
    pub(crate) fn unknown(what: &str, name: &str) -> Self {
        Self::new("42704", format!("{what} \"{name}\" does not exist"))
    }

    /// XX000: after it the connection is of no use any more.
    pub(crate) fn conflict() -> Self {
        Self::new("XX000", "could not complete because of conflict with concurrent transaction")
    }

    /// 57014.
    pub(crate) fn timed_out() -> Self {
        Self::new("57014", "Query cancelled on user's request")
    }
}

pub(crate) type SqlResult<T> = Result<T, SqlError>;
