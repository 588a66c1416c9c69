//! What follows from a reconcile.

use std::time::Duration;

use jiff::Timestamp;

use super::Priority;

/// What follows from a reconcile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Action {
    /// When to reconcile again by itself.
    pub at: Option<(Timestamp, Priority)>,
    /// Retry soon, and later each time: something failed that may work.
    pub retry: bool,
}

impl Action {
    /// Nothing more to do until something changes.
    pub fn await_change() -> Self {
        Self::default()
    }

    /// Reconcile again at that time, or earlier if that was asked before.
    pub fn at_earliest(&mut self, at: Option<(Timestamp, Priority)>) {
        if let Some(at) = at {
            self.at = Some(match self.at {
                Some(before) if before.0 <= at.0 => (before.0, before.1),
                _ => at,
            });
        }
    }
}

/// A line of the audit log could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written: {0}")]
pub struct Unwritten(String);

impl Unwritten {
    /// Why.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// A reconcile that could not be finished. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server did not do it.
    #[error("the API server refused: {0}")]
    Api(#[from] kube::Error),
    /// An error of the engine that is reported on no object.
    #[error(transparent)]
    Engine(#[from] rolecall_engine::Error),
    /// A line of the audit log, without which it must not be told.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// A bug. The panic itself is on standard error.
    #[error("the reconcile panicked")]
    Panicked,
    /// It took too long.
    #[error("timed out after {} s", .0.as_secs())]
    TimedOut(Duration),
}
