//! What a scrape of the metrics observes: the work queue, sessions and servers.

use jiff::Timestamp;
use rolecall_api::{DatabaseSession, SessionPhase, conditions};

use crate::Shared;
use crate::coverage::Scope;
use crate::metrics::{Observation, PHASES, ServerObservation};
use crate::model::session::{may_have_access, phase};

/// Observes them now.
pub fn observe(shared: &Shared) -> Observation {
    let now = shared.now();
    let mut seen = Observation {
        queue: shared.queue.len() as u64,
        clock_skew: shared.clock_skew.ahead().as_secs_f64(),
        sessions: PHASES.into_iter().map(|phase| (phase.as_str(), 0)).collect(),
        ..Observation::default()
    };
    {
        let cache = shared.cache();
        for session in cache.sessions() {
            *seen.sessions.entry(phase(session).as_str()).or_default() += 1;
            let since = should_be_gone_since(session, cache.deleted_at(&**session));
            seen.oldest_ending =
                seen.oldest_ending.max(since.map_or(0, |since| now.duration_since(since).as_secs()));
        }
    }
    let namespaces = shared.coverage.scopes().into_iter();
    let name = |scope: Scope| scope.as_deref().unwrap_or_default().to_owned();
    seen.namespaces = namespaces.map(|(scope, whole)| (name(scope), whole)).collect();
    let listening = shared.listeners.listening();
    for (key, state) in shared.servers.states() {
        let announced = listening.get(&key).copied().unwrap_or(0);
        let (read, found) = shared.sets.imported(&key);
        let server = ServerObservation {
            reachable: !state.unreachable && state.server.is_some(),
            verified: state.verified,
            crowded: found.crowded.len(),
            announced,
            polled: read.saturating_sub(announced),
            stats: state.server.map(|server| server.engine.stats()),
        };
        seen.servers.push((key.to_string(), server));
    }
    seen
}

/// Since when the access of a session should have ended, if it may still exist: the session was deleted, is Ending, or has
/// expired.
fn should_be_gone_since(session: &DatabaseSession, deleted_at: Option<Timestamp>) -> Option<Timestamp> {
    let deleted = deleted_at.filter(|_| may_have_access(session));
    let status = session.status.as_ref();
    let expires_at = status.and_then(|status| status.expires_at.as_ref()).map(|at| at.0);
    let ending = || {
        let status = status?;
        // What an earlier version wrote does not say since when.
        let ready = || Some(conditions::find(&status.conditions, conditions::READY)?.last_transition_time.0);
        status.ending_since.as_ref().map(|at| at.0).or_else(ready)
    };
    let over = match phase(session) {
        SessionPhase::Active => expires_at,
        SessionPhase::Ending => ending(),
        _ => None,
    };
    [deleted, over].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::metrics::Format;

    fn gone_since(phase: &str, deleted: Option<&str>, ending_since: Option<&str>) -> Option<String> {
        let session: DatabaseSession = serde_json::from_value(json!({
            "metadata": {"name": "alice", "deletionTimestamp": deleted},
            "spec": {"user": "alice", "database": "orders"},
            "status": {
                "phase": phase,
                "expiresAt": "2026-01-01T12:00:00Z",
                "endingSince": ending_since,
                "conditions": [{
                    "type": "Ready",
                    "status": "False",
                    "reason": "DatabaseUnreachable",
                    "message": "",
                    "lastTransitionTime": "2026-01-01T13:00:00Z",
                }],
            },
        }))
        .unwrap();
        let deleted = deleted.map(|at| at.parse().unwrap());
        should_be_gone_since(&session, deleted).map(|at| at.to_string())
    }

    #[test]
    fn an_access_should_be_gone_when_its_time_is_over_or_somebody_said_so() {
        let over = gone_since("Active", None, None);
        assert_eq!(over.as_deref(), Some("2026-01-01T12:00:00Z"), "nobody got to it");
        assert_eq!(gone_since("Ending", None, None).as_deref(), Some("2026-01-01T13:00:00Z"));
        let deleted = Some("2026-01-01T11:00:00Z");
        assert_eq!(gone_since("Active", deleted, None).as_deref(), deleted);
        assert_eq!(gone_since("Ended", None, None), None);
        assert_eq!(gone_since("Ended", deleted, None), None, "somebody else's finalizer holds the object");
        assert_eq!(gone_since("Pending", None, None), None);
    }

    #[test]
    fn another_reason_meanwhile_does_not_reset_it() {
        let since = Some("2026-01-01T11:30:00Z");
        assert_eq!(gone_since("Ending", None, since).as_deref(), since);
    }

    #[tokio::test]
    async fn two_that_ask_at_the_same_time_see_the_same() {
        let shared = Shared::alone();
        // The metrics of the process change meanwhile, and come last.
        let seen = || {
            let all = shared.metrics.render(Format::OpenMetrics, observe(&shared));
            all.split("# HELP process_").next().unwrap_or_default().to_owned()
        };
        let whole = seen();
        assert!(whole.contains("rolecall_sessions{phase=\"Active\"} 0"), "{whole}");
        std::thread::scope(|scope| {
            let sees_whole = || (0..200).all(|_| seen() == whole);
            let readers: Vec<_> = (0..8).map(|_| scope.spawn(sees_whole)).collect();
            for reader in readers {
                assert!(reader.join().unwrap(), "somebody saw half of it");
            }
        });
    }
}
