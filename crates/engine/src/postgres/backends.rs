//! Which backends of the server are our own: what they announce is no news.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The backends of our open connections.
#[derive(Debug, Default)]
pub(super) struct Backends(Mutex<HashSet<i32>>);

/// One of them, until this is dropped.
#[derive(Debug)]
pub(super) struct Backend {
    all: Arc<Backends>,
    process: i32,
}

impl Backends {
    /// Asks a connection for its backend.
    pub(super) const QUERY: &'static str = "SELECT pg_catalog.pg_backend_pid()";

    /// Takes note of a backend, from the answer to [`Backends::QUERY`].
    pub(super) fn note(self: &Arc<Self>, answer: &str) -> Option<Backend> {
        let process = answer.parse().ok()?;
        self.locked().insert(process);
        Some(Backend { all: Arc::clone(self), process })
    }

    /// Is this process a backend of ours?
    pub(super) fn are_ours(&self, process: i32) -> bool {
        self.locked().contains(&process)
    }

    fn locked(&self) -> MutexGuard<'_, HashSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.all.locked().remove(&self.process);
    }
}
