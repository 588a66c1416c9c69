//! Changes that a server may have lost.

use jiff::Timestamp;
use rolecall_engine::HistoryChange;

/// A time when a server may have lost changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When it was noticed.
    pub noticed: Timestamp,
    /// What happened.
    pub change: HistoryChange,
}
