//! Which sessions that are over were looked at once more: see `late_secrets`.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::ObjectKey;

/// The sessions of each DatabaseAdmin that were looked at, by their uid.
#[derive(Debug, Default)]
pub struct LookedAt(Mutex<HashMap<ObjectKey, HashSet<String>>>);

impl LookedAt {
    /// All of them.
    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    pub fn locked(&self) -> MutexGuard<'_, HashMap<ObjectKey, HashSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
