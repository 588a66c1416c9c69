//! Timers follow the wall clock when it is put forward.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Shared;

/// How often the wall clock is compared with the one that timers run by.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// A smaller step of the wall clock is none.
const STEP: Duration = Duration::from_secs(1);

/// Timers run by a clock that nobody sets, and that stops while the machine sleeps. When the wall clock has gone
/// further, what is due by it is due now.
pub(super) async fn follow(shared: Arc<Shared>, stop: CancellationToken) {
    let mut before = (shared.now(), Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CHECK_EVERY) => {}
        }
        let now = (shared.now(), Instant::now());
        if let Some(step) = put_forward(before, now) {
            tracing::info!(seconds = step.as_secs(), "the wall clock was put forward");
            shared.queue.advance_timers(step);
        }
        before = now;
    }
}

fn put_forward(before: (Timestamp, Instant), now: (Timestamp, Instant)) -> Option<Duration> {
    let by_the_wall = Duration::try_from(now.0.duration_since(before.0)).ok()?;
    by_the_wall.checked_sub(now.1.duration_since(before.1)).filter(|step| *step >= STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wall_clock_that_was_put_forward_is_followed() {
        let (wall, instant) = (Timestamp::now(), Instant::now());
        let forward = |wall_seconds, seconds| {
            let now = wall + jiff::SignedDuration::from_millis(wall_seconds);
            put_forward((wall, instant), (now, instant + Duration::from_secs(seconds)))
        };
        assert_eq!(forward(70_000, 10), Some(Duration::from_secs(60)));
        assert_eq!(forward(10_500, 10), None, "the two never agree to the millisecond");
        assert_eq!(forward(4_000, 10), None, "put back, everything is late by itself");
        assert_eq!(forward(-60_000, 10), None);
    }
}
