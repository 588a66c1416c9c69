//! Which namespaces are worked in: those in which everything has been listed.
//!
//! Objects refer to others of their namespace only. So a namespace is worked in as soon as all of its kinds have been
//! listed, whatever becomes of the others; before that nothing in it is, as what is not known yet would count as missing.
//! Where the operator lacks the right to list, it says so, works elsewhere, and goes on trying.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::{Priority, ReconcileKey, Triggers};

/// A watch that was refused is tried again well within this time. A watch that is no longer refused stays silent.
const REFUSED_FOR: Duration = Duration::from_secs(90);

/// What is watched together: a namespace, or (without a name) all of them.
pub type Scope = Option<Arc<str>>;

/// See the module.
#[derive(Debug, Default)]
pub struct Coverage {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    scopes: BTreeMap<Scope, BTreeMap<String, Watched>>,
    /// What is triggered in namespaces that are not worked in yet.
    deferred: BTreeMap<ReconcileKey, Priority>,
}

/// How one kind is watched in a scope.
#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    listed: bool,
    refused: Option<Instant>,
    /// The API server does not know the kind.
    missing: bool,
}

impl Watched {
    fn is_refused(&self) -> bool {
        self.refused.is_some_and(|at| !self.listed || at.elapsed() < REFUSED_FOR)
    }
}

impl Coverage {
    /// This kind has to be listed there.
    pub fn needs(&self, scope: &Scope, kind: &str) {
        self.state().scopes.entry(scope.clone()).or_default().entry(kind.to_owned()).or_default();
    }

    /// This kind was listed there. Returns what may be worked on now.
    pub fn listed(&self, scope: &Scope, kind: &str) -> Triggers {
        let mut state = self.state();
        *state.watched(scope, kind) = Watched { listed: true, ..Watched::default() };
        let deferred = std::mem::take(&mut state.deferred);
        let (open, deferred) = deferred.into_iter().partition(|(work, _)| state.is_open(work));
        state.deferred = deferred;
        drop(state);
        self.changed.notify_waiters();
        open.into_iter().collect()
    }

    /// There is no right to list or watch this kind there. True where that was not known.
    pub fn refused(&self, scope: &Scope, kind: &str) -> bool {
        let mut state = self.state();
        let watched = state.watched(scope, kind);
        let news = !watched.is_refused();
        watched.refused = Some(Instant::now());
        drop(state);
        self.changed.notify_waiters();
        news
    }

    /// The API server does not know this kind.
    pub fn missing(&self, scope: &Scope, kind: &str) {
        self.state().watched(scope, kind).missing = true;
    }

    /// A watch has reported something of this kind there.
    pub fn reported(&self, scope: &Scope, kind: &str) {
        self.state().watched(scope, kind).refused = None;
    }

    /// Returns what may be worked on; the rest is deferred until it may.
    pub fn admit(&self, triggers: Triggers) -> Triggers {
        let mut state = self.state();
        let (open, deferred): (Triggers, Triggers) =
            triggers.into_iter().partition(|(work, _)| state.is_open(work));
        for (work, priority) in deferred {
            let known = state.deferred.entry(work).or_insert(priority);
            *known = (*known).max(priority);
        }
        open
    }

    /// Waits until there is a namespace to work in, and of each other one it is known that there is no right to it.
    pub async fn settled(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.state().is_settled() {
                return;
            }
            changed.await;
        }
    }

    /// What has not been listed, for messages.
    pub fn unlisted(&self) -> Vec<String> {
        self.namespaces_where(|watched| !watched.listed)
    }

    /// What there is no right to, for messages.
    pub fn lacking(&self) -> Vec<String> {
        self.namespaces_where(Watched::is_refused)
    }

    /// Each scope, and whether everything in it is watched.
    pub fn scopes(&self) -> Vec<(Scope, bool)> {
        let state = self.state();
        let is_whole =
            |kinds: &BTreeMap<String, Watched>| kinds.values().all(|kind| kind.listed && !kind.is_refused());
        state.scopes.iter().map(|(scope, kinds)| (scope.clone(), is_whole(kinds))).collect()
    }

    fn namespaces_where(&self, is: impl Fn(&Watched) -> bool) -> Vec<String> {
        let state = self.state();
        let kinds =
            state.scopes.iter().flat_map(|(scope, kinds)| kinds.iter().map(move |kind| (scope, kind)));
        kinds
            .filter(|(_, (_, watched))| is(watched))
            .map(|(scope, (kind, watched))| {
                let missing = if watched.missing { " (not installed)" } else { "" };
                match scope {
                    Some(namespace) => format!("{kind} in {namespace}{missing}"),
                    None => format!("{kind}{missing}"),
                }
            })
            .collect()
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn watched(&mut self, scope: &Scope, kind: &str) -> &mut Watched {
        self.scopes.entry(scope.clone()).or_default().entry(kind.to_owned()).or_default()
    }

    fn is_open(&self, work: &ReconcileKey) -> bool {
        let of_all = self.scopes.get(&None);
        let kinds = of_all.or_else(|| self.scopes.get(&Some(Arc::clone(work.namespace()))));
        kinds.is_none_or(|kinds| kinds.values().all(|kind| kind.listed))
    }

    fn is_settled(&self) -> bool {
        let is_listed = |kinds: &BTreeMap<String, Watched>| kinds.values().all(|kind| kind.listed);
        let is_refused = |kinds: &BTreeMap<String, Watched>| kinds.values().any(Watched::is_refused);
        self.scopes.values().any(is_listed)
            && self.scopes.values().all(|kinds| is_listed(kinds) || is_refused(kinds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ObjectKey;

    fn scope(namespace: &str) -> Scope {
        Some(namespace.into())
    }

    fn work(namespace: &str) -> ReconcileKey {
        ReconcileKey::Admin(ObjectKey { namespace: namespace.into(), name: "orders".into() })
    }

    fn of(kinds: [&str; 2], namespaces: &[&str]) -> Coverage {
        let coverage = Coverage::default();
        for namespace in namespaces {
            kinds.iter().for_each(|kind| coverage.needs(&scope(namespace), kind));
        }
        coverage
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_is_worked_in_when_all_of_it_is_listed_whatever_becomes_of_others() {
        let coverage = of(["Role", "Session"], &["a", "b"]);
        let both = vec![(work("a"), Priority::Normal), (work("b"), Priority::Urgent)];
        assert!(coverage.admit(both).is_empty(), "what is not known yet would count as missing");
        assert!(coverage.listed(&scope("a"), "Session").is_empty());
        assert_eq!(coverage.listed(&scope("a"), "Role"), [(work("a"), Priority::Normal)]);
        assert_eq!(coverage.admit(vec![(work("a"), Priority::Urgent)]).len(), 1);
        let settled = tokio::time::timeout(Duration::from_secs(60), coverage.settled()).await;
        assert!(settled.is_err(), "the other one may come any moment");

        assert!(coverage.refused(&scope("b"), "Role") && !coverage.refused(&scope("b"), "Role"));
        coverage.settled().await;
        assert_eq!(coverage.lacking(), ["Role in b"]);
        assert_eq!(coverage.scopes(), [(scope("a"), true), (scope("b"), false)]);
        coverage.listed(&scope("b"), "Role");
        assert_eq!(coverage.listed(&scope("b"), "Session"), [(work("b"), Priority::Urgent)], "rights came");
        assert!(coverage.lacking().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_no_right_at_all_nothing_is_settled() {
        let coverage = of(["Role", "Session"], &["a"]);
        coverage.refused(&scope("a"), "Role");
        coverage.refused(&scope("a"), "Session");
        assert!(tokio::time::timeout(Duration::from_secs(60), coverage.settled()).await.is_err());
        tokio::time::advance(REFUSED_FOR * 2).await;
        assert_eq!(coverage.lacking().len(), 2, "what was never listed stays so");
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_that_is_taken_away_is_reported_until_it_is_back() {
        let coverage = of(["Role", "Session"], &["a"]);
        coverage.listed(&scope("a"), "Role");
        coverage.listed(&scope("a"), "Session");
        coverage.refused(&scope("a"), "Session");
        assert_eq!(coverage.lacking(), ["Session in a"]);
        assert_eq!(
            coverage.admit(vec![(work("a"), Priority::Normal)]).len(),
            1,
            "what is known is worked on"
        );
        tokio::time::advance(REFUSED_FOR).await;
        assert!(coverage.lacking().is_empty(), "it is not refused any more");
    }

    #[test]
    fn all_namespaces_are_one() {
        let coverage = Coverage::default();
        coverage.needs(&None, "Role");
        assert!(
            coverage.admit(vec![(work("a"), Priority::Normal), (work("b"), Priority::Normal)]).is_empty()
        );
        assert_eq!(coverage.listed(&None, "Role").len(), 2);
    }
}
