//! By how much the wall clock was put forward, by every reading of it.
//!
//! Timers run by a clock that nobody sets, and are set for a time that the wall clock will show. One that was set while
//! the wall clock was behind comes too late once it is right again, also where it was behind for a moment only: so
//! every reading counts, not only those of whoever compares the two clocks.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// A smaller step of the wall clock is none: the two clocks never agree to the millisecond.
const STEP: i64 = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub struct ClockSteps(Mutex<Option<Readings>>);

#[derive(Clone, Copy, Debug)]
struct Readings {
    /// What both clocks showed first.
    origin: (Timestamp, Instant),
    /// How far the wall clock was ahead of the other one since then, in milliseconds: the least since the last question,
    /// and the least in the time between the last two. A timer may be set a little later than the clock is read.
    least: i64,
    before: i64,
}

impl ClockSteps {
    /// Both clocks were read.
    pub fn read(&self, wall: Timestamp, timer: Instant) {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let readings =
            readings.get_or_insert_with(|| Readings { origin: (wall, timer), least: 0, before: 0 });
        readings.least = readings.least.min(readings.ahead(wall, timer));
    }

    /// How much further the wall clock has gone than the other one, at most, since anybody read it after the last but one
    /// question; nothing where it has not been put forward.
    pub fn put_forward(&self, wall: Timestamp, timer: Instant) -> Option<Duration> {
        self.read(wall, timer);
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let readings = readings.as_mut()?;
        let ahead = readings.ahead(wall, timer);
        let step = ahead - readings.least.min(readings.before);
        (readings.before, readings.least) = (readings.least, ahead);
        (step >= STEP).then(|| Duration::from_millis(step.unsigned_abs()))
    }
}

impl Readings {
    fn ahead(&self, wall: Timestamp, timer: Instant) -> i64 {
        let by_timer = i64::try_from(timer.duration_since(self.origin.1).as_millis()).unwrap_or(i64::MAX);
        let by_wall = i64::try_from(wall.duration_since(self.origin.0).as_millis()).unwrap_or(i64::MAX);
        by_wall.saturating_sub(by_timer)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    /// Readings, each after so many seconds by the timer and by the wall clock; each but the last as anybody's.
    fn put_forward(readings: &[(u64, i64)]) -> Option<Duration> {
        let (steps, wall, timer) = (ClockSteps::default(), Timestamp::now(), Instant::now());
        steps.put_forward(wall, timer);
        let reading = |(timer_seconds, milliseconds): (u64, i64)| {
            (wall + SignedDuration::from_millis(milliseconds), timer + Duration::from_secs(timer_seconds))
        };
        let (last, others) = readings.split_last()?;
        for reading in others.iter().copied().map(reading) {
            steps.read(reading.0, reading.1);
        }
        let (wall, timer) = reading(*last);
        steps.put_forward(wall, timer)
    }

    #[test]
    fn only_a_wall_clock_that_was_put_forward_is_followed() {
        assert_eq!(put_forward(&[(10, 70_000)]), Some(Duration::from_secs(60)));
        assert_eq!(put_forward(&[(10, 10_500)]), None, "the two never agree to the millisecond");
        assert_eq!(put_forward(&[(10, 4_000)]), None, "put back, everything is late by itself");
        assert_eq!(put_forward(&[(10, -60_000)]), None);
    }

    #[test]
    fn a_wall_clock_that_was_behind_for_a_moment_was_put_forward() {
        let behind = [(2, -598_000), (4, 4_000), (10, 10_000)];
        assert_eq!(put_forward(&behind), Some(Duration::from_secs(600)));
        let ahead = [(2, 271_000), (10, 10_000)];
        assert_eq!(put_forward(&ahead), None, "what was set by it is due early, and is looked at again");
    }

    #[test]
    fn what_was_read_before_the_last_question_counts_once_more() {
        let (steps, wall, timer) = (ClockSteps::default(), Timestamp::now(), Instant::now());
        let after = |seconds: u64, milliseconds: i64| {
            (wall + SignedDuration::from_millis(milliseconds), timer + Duration::from_secs(seconds))
        };
        let ask = |(wall, timer)| steps.put_forward(wall, timer);
        steps.read(wall, timer);
        steps.read(after(1, -59_000).0, after(1, -59_000).1);
        assert_eq!(ask(after(10, 10_000)), Some(Duration::from_secs(60)));
        assert_eq!(ask(after(20, 20_000)), Some(Duration::from_secs(60)), "a timer may have been set since");
        assert_eq!(ask(after(30, 30_000)), None);
    }
}
