//! How long to wait before something that failed is tried again: twice as long each time up to a bound, with jitter, so
//! that what failed together is not tried again together.

use std::ops::Range;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::ports::Clock;

/// The range of the jitter, as parts of the wait.
const JITTER: Range<f64> = 0.8..1.2;

/// How failures of one kind are retried.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub last: Duration,
}

/// The waits of something that keeps failing.
#[derive(Debug)]
pub struct Retry {
    policy: RetryPolicy,
    delays: <ExponentialBuilder as BackoffBuilder>::Backoff,
}

impl RetryPolicy {
    /// Nothing has failed yet.
    pub fn start(self) -> Retry {
        let delays = ExponentialBuilder::new()
            .with_factor(2.0)
            .with_min_delay(self.first)
            .with_max_delay(self.last)
            .without_max_times()
            .build();
        Retry { policy: self, delays }
    }
}

impl Retry {
    /// It failed: how long to wait now.
    pub fn next_wait(&mut self, clock: &dyn Clock) -> Duration {
        clock.spread(self.delays.next().unwrap_or(self.policy.last), JITTER)
    }

    /// How long to wait where no success is expected soon.
    pub fn longest_wait(&self, clock: &dyn Clock) -> Duration {
        clock.spread(self.policy.last, JITTER)
    }

    /// It worked: the next failure is the first.
    pub fn reset(&mut self) {
        *self = self.policy.start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::SystemClock;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_a_success() {
        let policy = RetryPolicy { first: Duration::from_millis(200), last: Duration::from_secs(30) };
        let mut retry = policy.start();
        let within = |wait: Duration, due: Duration| {
            wait >= due.mul_f64(JITTER.start) && wait <= due.mul_f64(JITTER.end)
        };
        for due in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000] {
            let wait = retry.next_wait(&SystemClock);
            assert!(within(wait, Duration::from_millis(due)), "{wait:?} instead of {due} ms");
        }
        assert!(within(retry.longest_wait(&SystemClock), policy.last));
        retry.reset();
        assert!(within(retry.next_wait(&SystemClock), policy.first));
    }
}
