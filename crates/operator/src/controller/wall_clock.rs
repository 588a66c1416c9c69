//! Timers follow the wall clock when it is put forward.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Shared;

/// How often the wall clock is compared with the one that timers run by.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// Timers run by a clock that nobody sets, and that stops while the machine sleeps. When the wall clock has gone
/// further, what is due by it is due now.
pub(super) async fn follow(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        if let Some(step) = shared.clock_steps.put_forward(shared.now(), Instant::now()) {
            tracing::info!(seconds = step.as_secs(), "the wall clock was put forward");
            shared.queue.advance_timers(step);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CHECK_EVERY) => {}
        }
    }
}
