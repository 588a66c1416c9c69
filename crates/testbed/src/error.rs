//! What can go wrong while a component is built, started or spoken to.

use std::path::Path;
use std::{fmt, io};

/// Result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a component could not be built, started or used.
///
/// Its `Debug` form is its text too, because that is what a test shows that returns it.
#[derive(thiserror::Error)]
pub enum Error {
    /// A program of the developer's machine is missing.
    #[error("{program} is needed to {purpose} and was not found. {remedy}")]
    Missing {
        /// The program that is missing from the PATH.
        program: &'static str,
        /// What it would have been used for.
        purpose: String,
        /// How to install it.
        remedy: &'static str,
    },
    /// A component could not be built or fetched.
    #[error("{component} could not be prepared: {detail}")]
    Build {
        /// Name of the component.
        component: String,
        /// What the tool said.
        detail: String,
    },
    /// A program ended, or was not ready in time.
    #[error("{program} {problem}. The end of its log:\n{log}")]
    Start {
        /// The program.
        program: String,
        /// What happened.
        problem: String,
        /// Its last lines.
        log: String,
    },
    /// A statement or a connection was refused.
    #[error("{what}: {}", describe(source))]
    Sql {
        /// The statement, or what was attempted.
        what: String,
        /// What the server or the client library said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A MongoDB command or connection was refused.
    #[error("{what}: {source}")]
    Mongo {
        /// The command's name, or what was attempted.
        what: String,
        /// What the server or the driver said.
        #[source]
        source: Box<mongodb::error::Error>,
    },
    /// A helper program such as kubectl ended with a failure.
    #[error("`{command}` failed: {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// What it wrote to its standard error.
        stderr: String,
    },
    /// A certificate could not be made or read.
    #[error("certificate: {0}")]
    Certificate(String),
    /// A file, directory or pipe.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Turns an [`io::Error`] into ours, with `what` was attempted on `path`.
    pub(crate) fn io(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |source| Self::Io { what, source }
    }

    /// Turns a driver's error into ours, with `what` was attempted.
    pub(crate) fn mongo(what: &str) -> impl FnOnce(mongodb::error::Error) -> Self {
        let what = what.to_owned();
        move |source| Self::Mongo { what, source: Box::new(source) }
    }

    /// The error code when a MongoDB server refused a command or a login.
    pub fn mongo_code(&self) -> Option<i32> {
        match self {
            Self::Mongo { source, .. } => mongo_code(source),
            _ => None,
        }
    }

    /// The SQLSTATE when a PostgreSQL server refused something.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Sql { source, .. } => source.code().map(tokio_postgres::error::SqlState::code),
            _ => None,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The server's code. The driver keeps none of a refused login, which is always this one.
fn mongo_code(error: &mongodb::error::Error) -> Option<i32> {
    const AUTHENTICATION_FAILED: i32 = 18;
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(refused) => Some(refused.code),
        mongodb::error::ErrorKind::Authentication { .. } => Some(AUTHENTICATION_FAILED),
        _ => None,
    }
}

/// The server's own words, which the library's short display leaves out.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            let mut text = format!("{} ({})", db.message(), db.code().code());
            if let Some(detail) = db.detail() {
                text.push_str(". ");
                text.push_str(detail);
            }
            text
        }
        None => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(inner) = cause {
                text.push_str(": ");
                text.push_str(&inner.to_string());
                cause = inner.source();
            }
            text
        }
    }
}
