//! Which backends of the server are our own: what they announce is no news, and what they were left with has to end.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The backends of our open connections, and of those that were given up within a statement.
#[derive(Debug, Default)]
pub(crate) struct Backends(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    open: HashSet<i32>,
    /// What they had begun may still be carried out: the server hung, or the network was gone.
    abandoned: HashSet<i32>,
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub(crate) struct Backend {
    all: Arc<Backends>,
    process: i32,
}

impl Backends {
    /// Asks a connection for its backend.
    pub(crate) const QUERY: &'static str = "SELECT pg_catalog.pg_backend_pid()";

    /// Records a backend, from the answer to [`Backends::QUERY`].
    pub(crate) fn note(self: &Arc<Self>, answer: &str) -> Option<Backend> {
        let process = answer.parse().ok()?;
        let mut state = self.locked();
        state.abandoned.remove(&process);
        state.open.insert(process);
        drop(state);
        Some(Backend { all: Arc::clone(self), process })
    }

    /// Is this process a backend of ours?
    pub(crate) fn are_ours(&self, process: i32) -> bool {
        self.locked().open.contains(&process)
    }

    /// Those that may still carry out what they had begun.
    pub(crate) fn abandoned(&self) -> BTreeSet<i32> {
        self.locked().abandoned.iter().copied().collect()
    }

    /// These have ended.
    pub(crate) fn forget(&self, ended: &BTreeSet<i32>) {
        self.locked().abandoned.retain(|process| !ended.contains(process));
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend {
    /// Its connection is given up within a statement.
    pub(crate) fn abandon(&self) {
        self.all.locked().abandoned.insert(self.process);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.all.locked().open.remove(&self.process);
    }
}
