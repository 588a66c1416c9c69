//! Draining: while an uninstall is being prepared no session starts, and those that live end.
//!
//! Nothing in the objects of users changes for that, so no GitOps tool has anything to put back, and after a new
//! installation sessions start again by themselves. Who uninstalls ([`crate::uninstall`]) writes an annotation on the
//! Lease, and changes it every few seconds. Each replica sees it, whether it leads or waits; the leader answers with
//! two annotations: at once that it has heard, and that it has drained once no reconcile is under way that was decided before. A
//! request that nobody changes any more lapses: its author is gone. Only this machine's clock counts, and only for the time since the last change was seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Annotation of the Lease with which draining is asked for. Its value changes as long as that is so.
pub const REQUEST: &str = "rolecall.dev/drain";
/// Annotation of the Lease: the last value of [`REQUEST`] that the leader has heard of.
pub const HEARD: &str = "rolecall.dev/draining";
/// Annotation of the Lease: the last value of [`REQUEST`] with which the leader drained already.
pub const ANSWER: &str = "rolecall.dev/drained";
/// How long a request holds without a change. Helm deletes the Deployment within that time after its hook has ended.
pub const LAPSES_AFTER: Duration = Duration::from_secs(30);
/// How long one holds that no change was seen of: it may be left from before this process. Who asks changes it sooner.
const UNCONFIRMED_LAPSES_AFTER: Duration = Duration::from_secs(10);

/// Annotations of an object.
pub type Annotations = BTreeMap<String, String>;

/// What sessions may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Sessions start and live.
    #[default]
    Normal,
    /// None starts, those that live go on: a request was found, and it is not known yet whether its author is still there.
    NoStarts,
    /// None starts, and all end.
    Draining,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Drain {
    state: Mutex<State>,
    changes: watch::Sender<Mode>,
}

#[derive(Debug, Default)]
struct State {
    /// The Lease was read.
    observed: bool,
    request: Option<Request>,
    current: Arc<Epoch>,
    /// Those in which sessions started and which somebody may still act in.
    earlier: Vec<Weak<Epoch>>,
}

#[derive(Debug)]
struct Request {
    value: String,
    since: Instant,
    /// It was written while this process was there.
    confirmed: bool,
}

/// A time in which the operator drained, or did not.
#[derive(Debug, Default)]
struct Epoch {
    mode: Mode,
}

/// What a reconcile decides by. It is held until the reconcile has ended.
#[derive(Clone, Debug)]
pub struct Pass(Arc<Epoch>);

impl Pass {
    /// What sessions may do.
    pub fn mode(&self) -> Mode {
        self.0.mode
    }
}

impl Drain {
    /// What a reconcile that begins now decides by.
    pub fn pass(&self) -> Pass {
        Pass(Arc::clone(&self.state().current))
    }

    /// Reports each time that the mode changes.
    pub fn changes(&self) -> watch::Receiver<Mode> {
        self.changes.subscribe()
    }

    /// What sessions may do now.
    pub fn mode(&self) -> Mode {
        self.state().current.mode
    }

    /// Takes in what the Lease says.
    pub fn observe(&self, lease: Option<&Annotations>, now: Instant) {
        let mut state = self.state();
        let asked = lease.and_then(|annotations| annotations.get(REQUEST));
        match (&state.request, asked) {
            (_, None) => state.request = None,
            (Some(request), Some(value)) if request.value == *value => {}
            // The first value that a process finds may have been there for long.
            (before, Some(value)) => {
                let confirmed = before.is_some() || state.observed;
                state.request = Some(Request { value: value.clone(), since: now, confirmed });
            }
        }
        state.observed = true;
        self.enter(&mut state, now);
    }

    /// The Lease cannot be read: what was read last lapses nevertheless.
    pub fn expire(&self, now: Instant) {
        self.enter(&mut self.state(), now);
    }

    fn enter(&self, state: &mut State, now: Instant) {
        let mode = state.request.as_ref().map_or(Mode::Normal, |request| request.mode(now));
        if mode == state.current.mode {
            return;
        }
        let before = std::mem::replace(&mut state.current, Arc::new(Epoch { mode }));
        if before.mode == Mode::Normal {
            state.earlier.push(Arc::downgrade(&before));
        }
        drop(before);
        self.changes.send_replace(mode);
    }

    /// Writes the leader's answers into the annotations of the Lease, where there are any to give, and removes a request
    /// that has lapsed. Returns whether anything changed.
    pub fn answer(&self, lease: &mut Annotations, now: Instant) -> bool {
        let mut state = self.state();
        state.earlier.retain(|epoch| epoch.strong_count() > 0);
        let settled = state.current.mode == Mode::Draining && state.earlier.is_empty();
        let before = lease.clone();
        match &state.request {
            None => {
                lease.remove(HEARD);
                lease.remove(ANSWER);
            }
            // Another one may have been written meanwhile.
            Some(request) if lease.get(REQUEST) != Some(&request.value) => {}
            Some(request) if request.mode(now) == Mode::Normal => {
                for annotation in [REQUEST, HEARD, ANSWER] {
                    lease.remove(annotation);
                }
            }
            Some(request) => {
                lease.insert(HEARD.to_owned(), request.value.clone());
                if settled {
                    lease.insert(ANSWER.to_owned(), request.value.clone());
                }
            }
        }
        *lease != before
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    fn mode(&self, now: Instant) -> Mode {
        let age = now.duration_since(self.since);
        match self.confirmed {
            true if age < LAPSES_AFTER => Mode::Draining,
            false if age < UNCONFIRMED_LAPSES_AFTER => Mode::NoStarts,
            _ => Mode::Normal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(value: &str) -> Annotations {
        [(REQUEST.to_owned(), value.to_owned())].into()
    }

    /// Of a process that has been there for a while.
    fn drain() -> Drain {
        let drain = Drain::default();
        drain.observe(None, Instant::now());
        drain
    }

    /// What is heard, and what is answered.
    fn answered(drain: &Drain, lease: &Annotations, now: Instant) -> [Option<String>; 2] {
        let mut lease = lease.clone();
        drain.answer(&mut lease, now);
        [lease.remove(HEARD), lease.remove(ANSWER)]
    }

    fn only_heard(value: &str) -> [Option<String>; 2] {
        [Some(value.to_owned()), None]
    }

    fn both(value: &str) -> [Option<String>; 2] {
        [Some(value.to_owned()), Some(value.to_owned())]
    }

    #[test]
    fn the_answer_waits_for_reconciles_that_were_decided_before() {
        let (drain, now) = (drain(), Instant::now());
        let before = drain.pass();
        assert_eq!(before.mode(), Mode::Normal);
        drain.observe(Some(&asks("1")), now);
        assert_eq!((drain.pass().mode(), drain.mode()), (Mode::Draining, Mode::Draining));
        assert_eq!(answered(&drain, &asks("1"), now), only_heard("1"), "a session may be about to start");
        drop(before);
        assert_eq!(answered(&drain, &asks("1"), now), both("1"));
        assert_eq!(answered(&drain, &asks("2"), now), [None, None], "that one has not been taken in");
    }

    #[test]
    fn a_reconcile_from_before_an_earlier_request_counts_too() {
        let (drain, now) = (drain(), Instant::now());
        let before = drain.pass();
        drain.observe(Some(&asks("1")), now);
        drain.observe(None, now);
        drain.observe(Some(&asks("2")), now);
        assert_eq!(answered(&drain, &asks("2"), now), only_heard("2"));
        drop(before);
        assert_eq!(answered(&drain, &asks("2"), now), both("2"));
    }

    #[test]
    fn a_request_holds_as_long_as_it_changes_and_is_removed_when_it_lapsed() {
        let (drain, start) = (drain(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        drain.observe(Some(&asks("1")), start);
        drain.observe(Some(&asks("1")), after(29));
        assert_eq!(drain.mode(), Mode::Draining);
        drain.observe(Some(&asks("2")), after(29));
        drain.observe(Some(&asks("2")), after(58));
        assert_eq!(drain.mode(), Mode::Draining, "it changed meanwhile");
        let mut lease = asks("2");
        assert!(drain.answer(&mut lease, after(58)) && !drain.answer(&mut lease, after(58)));
        drain.observe(Some(&asks("2")), after(59));
        assert_eq!(drain.mode(), Mode::Normal);
        assert!(drain.answer(&mut lease, after(59)) && lease.is_empty(), "{lease:?}");
    }

    #[test]
    fn a_request_lapses_though_the_lease_cannot_be_read() {
        let (drain, start) = (drain(), Instant::now());
        drain.observe(Some(&asks("1")), start);
        drain.expire(start + Duration::from_secs(29));
        assert_eq!(drain.mode(), Mode::Draining);
        drain.expire(start + Duration::from_secs(30));
        assert_eq!(drain.mode(), Mode::Normal);
    }

    #[test]
    fn a_request_from_before_this_process_ends_nothing_before_it_changes() {
        let (drain, start) = (Drain::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        drain.observe(Some(&asks("1")), start);
        assert_eq!(drain.mode(), Mode::NoStarts);
        assert_eq!(answered(&drain, &asks("1"), start), only_heard("1"));
        drain.observe(Some(&asks("2")), after(2));
        assert_eq!((drain.mode(), answered(&drain, &asks("2"), after(2))), (Mode::Draining, both("2")));

        let drain = Drain::default();
        drain.observe(Some(&asks("1")), start);
        drain.observe(Some(&asks("1")), after(10));
        assert_eq!(drain.mode(), Mode::Normal, "nobody asks any more");
        let mut lease = asks("1");
        assert!(drain.answer(&mut lease, after(10)) && lease.is_empty(), "{lease:?}");
    }

    #[test]
    fn a_request_that_is_withdrawn_ends_at_once_and_its_answers_go() {
        let (drain, now) = (drain(), Instant::now());
        let mut changes = drain.changes();
        drain.observe(Some(&asks("1")), now);
        assert_eq!(*changes.borrow_and_update(), Mode::Draining);
        drain.observe(Some(&Annotations::new()), now);
        assert_eq!((*changes.borrow_and_update(), drain.pass().mode()), (Mode::Normal, Mode::Normal));
        let mut lease: Annotations = [HEARD, ANSWER].map(|name| (name.to_owned(), "1".to_owned())).into();
        assert!(drain.answer(&mut lease, now) && lease.is_empty());
    }
}
