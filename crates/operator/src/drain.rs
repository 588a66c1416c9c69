//! Draining: while an uninstall is being prepared no session starts, and those that live end.
//!
//! Nothing in the objects of users changes for that, so no GitOps tool has anything to put back, and after a new
//! installation sessions start again by themselves. Who uninstalls ([`crate::uninstall`]) writes an annotation on the
//! Lease, and changes it every few seconds. Each replica sees it, whether it leads or waits; the leader answers with
//! another annotation, once no reconcile is under way that was decided before. A request that nobody changes any more
//! lapses: its author is gone. Only this machine's clock counts, and only for the time since the last change was seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Annotation of the Lease with which draining is asked for. Its value changes as long as that is so.
pub const REQUEST: &str = "rolecall.dev/drain";
/// Annotation of the Lease: the last value of [`REQUEST`] with which the leader drained already.
pub const ANSWER: &str = "rolecall.dev/drained";
/// How long a request holds without a change. Helm deletes the Deployment within that time after its hook has ended.
pub const LAPSES_AFTER: Duration = Duration::from_secs(30);

/// Annotations of an object.
pub type Annotations = BTreeMap<String, String>;

/// See the module.
#[derive(Debug)]
pub struct Drain {
    state: Mutex<State>,
    changes: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    request: Option<Request>,
    current: Arc<Epoch>,
    /// Those in which sessions started and which somebody may still act in.
    earlier: Vec<Weak<Epoch>>,
}

#[derive(Debug)]
struct Request {
    value: String,
    since: Instant,
}

/// A time in which the operator drained, or did not.
#[derive(Debug)]
struct Epoch {
    draining: bool,
}

/// What a reconcile decides by. It is held until the reconcile has ended.
#[derive(Clone, Debug)]
pub struct Pass(Arc<Epoch>);

impl Pass {
    /// Does no session start?
    pub fn is_draining(&self) -> bool {
        self.0.draining
    }
}

impl Default for Drain {
    fn default() -> Self {
        let state =
            State { request: None, current: Arc::new(Epoch { draining: false }), earlier: Vec::new() };
        Self { state: Mutex::new(state), changes: watch::Sender::new(false) }
    }
}

impl Drain {
    /// What a reconcile that begins now decides by.
    pub fn pass(&self) -> Pass {
        Pass(Arc::clone(&self.state().current))
    }

    /// Reports each time that draining begins or ends.
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.changes.subscribe()
    }

    /// Is there a request that holds?
    pub fn is_asked(&self) -> bool {
        self.state().current.draining
    }

    /// Takes in what the Lease says.
    pub fn observe(&self, lease: Option<&Annotations>, now: Instant) {
        let mut state = self.state();
        let asked = lease.and_then(|annotations| annotations.get(REQUEST));
        match (&state.request, asked) {
            (_, None) => state.request = None,
            (Some(request), Some(value)) if request.value == *value => {}
            (_, Some(value)) => state.request = Some(Request { value: value.clone(), since: now }),
        }
        let draining = state.request.as_ref().is_some_and(|request| !request.has_lapsed(now));
        if draining != state.current.draining {
            let before = std::mem::replace(&mut state.current, Arc::new(Epoch { draining }));
            if !before.draining {
                state.earlier.push(Arc::downgrade(&before));
            }
            drop(before);
            self.changes.send_replace(draining);
        }
    }

    /// Writes the leader's answer into the annotations of the Lease, where there is one to give, and removes a request
    /// that has lapsed. Returns whether anything changed.
    pub fn answer(&self, lease: &mut Annotations, now: Instant) -> bool {
        let mut state = self.state();
        state.earlier.retain(|epoch| epoch.strong_count() > 0);
        let settled = state.current.draining && state.earlier.is_empty();
        let before = lease.clone();
        match &state.request {
            None => drop(lease.remove(ANSWER)),
            // Another one may have been written meanwhile.
            Some(request) if lease.get(REQUEST) != Some(&request.value) => {}
            Some(request) if request.has_lapsed(now) => {
                lease.remove(REQUEST);
                lease.remove(ANSWER);
            }
            Some(request) if settled => drop(lease.insert(ANSWER.to_owned(), request.value.clone())),
            Some(_) => {}
        }
        *lease != before
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    fn has_lapsed(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= LAPSES_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(value: &str) -> Annotations {
        [(REQUEST.to_owned(), value.to_owned())].into()
    }

    fn answered(drain: &Drain, lease: &Annotations, now: Instant) -> Option<String> {
        let mut lease = lease.clone();
        drain.answer(&mut lease, now);
        lease.remove(ANSWER)
    }

    #[test]
    fn the_answer_waits_for_reconciles_that_were_decided_before() {
        let (drain, now) = (Drain::default(), Instant::now());
        let before = drain.pass();
        assert!(!before.is_draining());
        drain.observe(Some(&asks("1")), now);
        assert!(drain.pass().is_draining() && drain.is_asked());
        assert_eq!(answered(&drain, &asks("1"), now), None, "a session may be about to start");
        drop(before);
        assert_eq!(answered(&drain, &asks("1"), now), Some("1".into()));
        assert_eq!(answered(&drain, &asks("2"), now), None, "that one has not been taken in");
    }

    #[test]
    fn a_reconcile_from_before_an_earlier_request_counts_too() {
        let (drain, now) = (Drain::default(), Instant::now());
        let before = drain.pass();
        drain.observe(Some(&asks("1")), now);
        drain.observe(None, now);
        drain.observe(Some(&asks("2")), now);
        assert_eq!(answered(&drain, &asks("2"), now), None);
        drop(before);
        assert_eq!(answered(&drain, &asks("2"), now), Some("2".into()));
    }

    #[test]
    fn a_request_holds_as_long_as_it_changes_and_is_removed_when_it_lapsed() {
        let (drain, start) = (Drain::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        drain.observe(Some(&asks("1")), start);
        drain.observe(Some(&asks("1")), after(29));
        assert!(drain.pass().is_draining());
        drain.observe(Some(&asks("2")), after(29));
        drain.observe(Some(&asks("2")), after(58));
        assert!(drain.pass().is_draining(), "it changed meanwhile");
        let mut lease = asks("2");
        lease.insert(ANSWER.to_owned(), "2".to_owned());
        assert!(!drain.answer(&mut lease, after(58)), "there is nothing new to say");
        drain.observe(Some(&asks("2")), after(59));
        assert!(!drain.pass().is_draining() && !drain.is_asked());
        assert!(drain.answer(&mut lease, after(59)) && lease.is_empty(), "{lease:?}");
    }

    #[test]
    fn a_request_that_is_withdrawn_ends_at_once_and_its_answer_goes() {
        let (drain, now) = (Drain::default(), Instant::now());
        let mut changes = drain.changes();
        drain.observe(Some(&asks("1")), now);
        assert!(*changes.borrow_and_update());
        drain.observe(Some(&Annotations::new()), now);
        assert!(!*changes.borrow_and_update() && !drain.pass().is_draining());
        let mut lease: Annotations = [(ANSWER.to_owned(), "1".to_owned())].into();
        assert!(drain.answer(&mut lease, now) && lease.is_empty());
    }
}
