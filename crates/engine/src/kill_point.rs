//! Points between two side effects at which a test lets the program die, or freeze.
//!
//! They exist in builds with debug assertions only: a release has none of this, and does not read the variable.
//! `ROLECALL_KILL_POINT` is `kill:17` (die at the 17th point that is reached) or `stop:3:postgres.sent` (freeze, as by
//! SIGSTOP, at the third point of that name). What dies or freezes writes a line to standard error before.

/// The program is between two side effects: `name` says between which, `detail` what was under way.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reached(_name: &str, _detail: &str) {}

#[cfg(debug_assertions)]
pub use armed::reached;

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    const VARIABLE: &str = "ROLECALL_KILL_POINT";

    /// What shall happen, and when.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Order {
        pub(super) signal: Signal,
        /// At which of the points that are reached, from 1.
        pub(super) at: usize,
        /// Only points of this name count; all, where there is none.
        pub(super) name: Option<String>,
    }

    impl Order {
        /// Reads the value of the variable; `None` where it is not one.
        pub(super) fn parse(text: &str) -> Option<Self> {
            let mut parts = text.splitn(3, ':');
            let signal = match parts.next()? {
                "kill" => Signal::KILL,
                "stop" => Signal::STOP,
                _ => return None,
            };
            let at = parts.next()?.parse().ok()?;
            Some(Self { signal, at, name: parts.next().map(str::to_owned) })
        }

        pub(super) fn counts(&self, name: &str) -> bool {
            self.name.as_deref().is_none_or(|wanted| wanted == name)
        }
    }

    /// The program is between two side effects: `name` says between which, `detail` what was under way.
    pub fn reached(name: &str, detail: &str) {
        static ORDER: OnceLock<Option<Order>> = OnceLock::new();
        static REACHED: AtomicUsize = AtomicUsize::new(0);
        let order = ORDER.get_or_init(|| Order::parse(&std::env::var(VARIABLE).ok()?));
        let Some(order) = order.as_ref().filter(|order| order.counts(name)) else { return };
        if REACHED.fetch_add(1, Ordering::Relaxed) + 1 == order.at {
            eprintln!("kill point {name} ({detail})");
            // It cannot fail: a process may always signal itself.
            let _ = kill_process(getpid(), order.signal);
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use rustix::process::Signal;

    use super::armed::Order;

    #[test]
    fn an_order_names_a_signal_a_number_and_maybe_a_point() {
        let any = Order { signal: Signal::KILL, at: 17, name: None };
        assert_eq!(Order::parse("kill:17"), Some(any.clone()));
        assert!(any.counts("api.written") && any.counts("postgres.sent"));
        let one = Order { signal: Signal::STOP, at: 3, name: Some("postgres.sent".to_owned()) };
        assert_eq!(Order::parse("stop:3:postgres.sent"), Some(one.clone()));
        assert!(!one.counts("api.written") && one.counts("postgres.sent"));
        for text in ["", "kill", "kill:", "kill:x", "hang:1"] {
            assert_eq!(Order::parse(text), None, "{text}");
        }
    }
}
