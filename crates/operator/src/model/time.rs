//! Times.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// `at + duration`; `None` where that cannot be represented, which is as good as never.
pub fn plus(at: Timestamp, duration: Duration) -> Option<Timestamp> {
    at.checked_add(jiff::SignedDuration::try_from(duration).ok()?).ok()
}

/// The instant of a wall-clock time. A time that is past is now.
pub fn until(at: Timestamp, now: Timestamp) -> Instant {
    let left = at.duration_since(now);
    // An instant cannot represent every time that is further away; such a time is checked once a day.
    let left = Duration::try_from(left).unwrap_or_default().min(Duration::from_secs(86_400));
    Instant::now() + left
}

/// The second that an object says of a time: parts of one are cut off when it is written.
pub fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
