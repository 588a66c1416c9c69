//! Shows what takes so long: one moving line on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines in a log file: often enough to show life, seldom enough to read.
const QUIET_INTERVAL: Duration = Duration::from_secs(30);
const ANIMATION_INTERVAL: Duration = Duration::from_millis(120);
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Writes one line, past the capture of the test harness: a first test run builds components for minutes.
pub fn say(line: &str) {
    // Nothing is lost when standard error is closed.
    let _ = writeln!(stderr().lock(), "{line}");
}

/// A step that takes long. Says when it starts, how far it is, and how long it took.
///
/// Animated on a terminal; elsewhere a plain line every 30 seconds.
pub struct Progress {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    label: String,
    started: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    detail: String,
    done: bool,
}

impl Progress {
    /// Starts to show `label`, for example "building etcd".
    pub fn start(label: impl Into<String>) -> Self {
        let shared = Arc::new(Shared {
            label: label.into(),
            started: Instant::now(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let ticking = Arc::clone(&shared);
        let ticker = std::thread::spawn(move || ticking.tick());
        Self { shared, ticker: Some(ticker) }
    }

    /// Changes what is shown behind the label.
    pub fn detail(&self, detail: impl Into<String>) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).detail = detail.into();
    }

    /// Ends the step with "done" and the time it took.
    pub fn done(mut self) {
        self.end();
        say(&format!("{}: done in {}", self.shared.label, duration(self.shared.started.elapsed())));
    }

    fn end(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).done = true;
        self.shared.changed.notify_all();
        if let Some(ticker) = self.ticker.take() {
            // The ticker cannot panic: it only formats and writes.
            let _ = ticker.join();
        }
    }
}

impl Drop for Progress {
    /// Stops the animation; the caller reports an error.
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn tick(&self) {
        let animated = stderr().is_terminal();
        let interval = if animated { ANIMATION_INTERVAL } else { QUIET_INTERVAL };
        if !animated {
            say(&format!("{} ...", self.label));
        }
        let mut frame = 0;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.done {
            if animated {
                let _ = write!(
                    stderr().lock(),
                    "\r\x1b[2K{} {}",
                    FRAMES[frame % FRAMES.len()],
                    self.line(&state.detail)
                );
                frame += 1;
            }
            let (next, timeout) =
                self.changed.wait_timeout(state, interval).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if !animated && timeout.timed_out() && !state.done {
                say(&self.line(&state.detail));
            }
        }
        if animated {
            let _ = write!(stderr().lock(), "\r\x1b[2K");
        }
    }

    fn line(&self, detail: &str) -> String {
        let elapsed = duration(self.started.elapsed());
        if detail.is_empty() {
            format!("{}, {elapsed}", self.label)
        } else {
            format!("{}: {detail}, {elapsed}", self.label)
        }
    }
}

/// A duration as a person reads it: `1.4 s`, `42 s`, `4 min 03 s`.
pub fn duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    if seconds < 10 {
        format!("{:.1} s", elapsed.as_secs_f64())
    } else if seconds < 60 {
        format!("{seconds} s")
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(1_420)), "1.4 s");
        assert_eq!(duration(Duration::from_secs(42)), "42 s");
        assert_eq!(duration(Duration::from_secs(243)), "4 min 03 s");
    }
}
