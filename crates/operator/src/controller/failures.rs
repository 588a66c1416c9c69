//! The keys that failed: when each is tried again, and what else is due for it meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Priority, ReconcileKey};
use crate::ports::Clock;
use crate::retry::{Retry, RetryPolicy};

const POLICY: RetryPolicy = RetryPolicy { first: Duration::from_millis(200), last: Duration::from_secs(30) };

/// See the module.
#[derive(Debug)]
pub(super) struct Failures {
    by_key: Mutex<HashMap<ReconcileKey, Failure>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Failure {
    retry: Retry,
    /// What is due meanwhile, retries aside.
    due: Option<(Instant, Priority)>,
}

impl Failures {
    /// Nothing has failed yet.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { by_key: Mutex::default(), clock }
    }

    /// A key failed. Returns how long to wait before it is tried again.
    pub(super) fn add(&self, key: &ReconcileKey, due: Option<(Instant, Priority)>) -> Duration {
        let mut failures = self.locked();
        let new = || Failure { retry: POLICY.start(), due: None };
        let failure = failures.entry(key.clone()).or_insert_with(new);
        failure.due = due;
        failure.retry.next_wait(&*self.clock)
    }

    /// Did a key fail when it was worked on last?
    pub(super) fn has(&self, key: &ReconcileKey) -> bool {
        self.locked().contains_key(key)
    }

    /// What is due for a key that failed, retries aside.
    pub(super) fn due(&self, key: &ReconcileKey) -> Option<(Instant, Priority)> {
        self.locked().get(key)?.due
    }

    /// A key did not fail.
    pub(super) fn remove(&self, key: &ReconcileKey) {
        self.locked().remove(key);
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn locked(&self) -> MutexGuard<'_, HashMap<ReconcileKey, Failure>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ObjectKey;
    use crate::ports::SystemClock;

    #[test]
    fn a_key_that_fails_comes_back_later_each_time_up_to_a_bound() {
        let failures = Failures::new(Arc::new(SystemClock));
        let key = ReconcileKey::Rule(ObjectKey { namespace: "ns".into(), name: "rule".into() });
        let first = failures.add(&key, None);
        let second = failures.add(&key, None);
        assert!(first < Duration::from_millis(250) && second > Duration::from_millis(300));
        let last = (0..40).map(|_| failures.add(&key, None)).last().unwrap();
        assert!(last > POLICY.last.mul_f64(0.7) && last < POLICY.last.mul_f64(1.3));
        failures.remove(&key);
        assert!(failures.add(&key, None) < Duration::from_millis(250));
    }

    #[test]
    fn what_is_due_is_kept_while_a_key_fails() {
        let expiry = (Instant::now() + Duration::from_secs(10), Priority::Urgent);
        let failures = Failures::new(Arc::new(SystemClock));
        let key = ReconcileKey::Rule(ObjectKey { namespace: "ns".into(), name: "rule".into() });
        failures.add(&key, Some(expiry));
        assert_eq!(failures.due(&key), Some(expiry));
        failures.remove(&key);
        assert_eq!(failures.due(&key), None);
    }
}
