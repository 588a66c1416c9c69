//! What an engine did, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Stats;

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub struct Counters {
    statements: AtomicU64,
    round_trips: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    retries: AtomicU64,
}

impl Counters {
    /// Statements were sent in one message.
    pub fn sent(&self, statements: usize) {
        self.statements.fetch_add(statements as u64, Relaxed);
        self.round_trips.fetch_add(1, Relaxed);
    }

    /// A connection was opened.
    pub fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// A connection was closed.
    pub fn closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    /// A transaction is run again after a conflict.
    pub fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Stats {
        let closed = self.closed.load(Relaxed);
        let opened = self.opened.load(Relaxed);
        Stats {
            statements: self.statements.load(Relaxed),
            round_trips: self.round_trips.load(Relaxed),
            connections_opened: opened,
            connections_open: opened.saturating_sub(closed),
            retries: self.retries.load(Relaxed),
        }
    }
}
