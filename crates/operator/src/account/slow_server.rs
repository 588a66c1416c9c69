//! The status of sessions while a reconcile waits for its server, which may be slow or hang: an access that should be
//! over by now is not shown as healthy.

use std::time::Duration;

use rolecall_api::{SessionPhase, reasons};
use tokio_util::sync::CancellationToken;

use super::decide::{AfterEnd, Decision, End};
use super::dereference::dereference;
use super::result::SessionResult;
use super::results::not_ended;
use super::session::Session;
use super::write::write;
use crate::Shared;
use crate::model::session::phase;
use crate::model::{AccountKey, Blocker};

/// A reconcile that takes no longer writes the status itself. Nearly all take milliseconds.
const UNREPORTED: Duration = Duration::from_secs(3);
/// Afterwards, how often it is checked what else should be over: a session may be deleted or expire meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

/// Waits for the work of a reconcile, and reports meanwhile which sessions wait for it. The second value: was anything
/// reported?
pub(super) async fn reporting<T>(
    shared: &Shared,
    key: &AccountKey,
    work: impl Future<Output = T>,
) -> (T, bool) {
    let done = CancellationToken::new();
    let work = async {
        let result = work.await;
        done.cancel();
        result
    };
    // A write is not cancelled: it could then arrive after those of the reconcile.
    let report = async {
        let mut reported = false;
        let mut wait = UNREPORTED;
        while tokio::time::timeout(wait, done.cancelled()).await.is_err() {
            reported |= report(shared, key).await;
            wait = AGAIN;
        }
        reported
    };
    tokio::join!(work, report)
}

async fn report(shared: &Shared, key: &AccountKey) -> bool {
    let server = shared.servers.get(&key.admin);
    let snapshot =
        dereference(&shared.cache(), server, shared.given(), key, shared.drain.mode(), shared.now());
    let mut reported = false;
    for session in snapshot.sessions {
        let Some(result) = meanwhile(&session) else { continue };
        reported = true;
        let written =
            write(shared, &session.object, session.timed, Some(&result), session.asked(), session.times);
        if let Err(error) = written.await {
            tracing::debug!(account = %key, %error, "the status of a session that waits for its server could not be written");
        }
    }
    reported
}

/// What a session says while nothing is known of its server.
fn meanwhile(session: &Session) -> Option<SessionResult> {
    match (session.decision(), phase(&session.object)) {
        // It says so already, with what was in the way last.
        (Decision::End(_), SessionPhase::Ending) => None,
        (Decision::End(End { reason: None, then: AfterEnd::Rejected(why) }), _) => {
            Some(SessionResult::Ending { reason: None, blocker: Blocker { stalled: false, ..why.clone() } })
        }
        (Decision::End(end), _) => {
            let message = format!(
                "the end waits for the server, which has not shown the access gone within {} s",
                UNREPORTED.as_secs()
            );
            Some(not_ended(end, &Blocker::passing(reasons::ENDING, message)))
        }
        // Nothing was done for it, so it does not have to wait. If that changes meanwhile, this is not written.
        (Decision::Reject(blocker), _) if !session.touched => Some(SessionResult::Rejected(blocker.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rolecall_api::EndReason;

    use super::super::decide::Setback;
    use super::super::session::samples::{ending, live, now, starting};
    use super::*;
    use crate::model::plus;

    #[test]
    fn an_end_that_waits_for_its_server_is_reported_once() {
        let mut session = ending("a");
        let said = meanwhile(&session);
        let Some(SessionResult::Ending { reason: Some(EndReason::AccessRevoked), blocker }) = said else {
            panic!("{said:?}")
        };
        assert_eq!((blocker.reason.as_str(), blocker.stalled), (reasons::ENDING, false));
        assert!(blocker.message.contains("waits for the server"), "{}", blocker.message);
        let mut object = (*session.object).clone();
        object.status.as_mut().unwrap().phase = Some(SessionPhase::Ending);
        session.object = Arc::new(object);
        assert_eq!(meanwhile(&session), None);
        assert_eq!(meanwhile(&live("a", &[])), None);
    }

    #[test]
    fn a_start_deadline_that_passes_meanwhile_is_kept() {
        let late = plus(now(), Duration::from_secs(60)).unwrap();
        let mut session = starting("a", &[]);
        session.set_back_late(late);
        assert!(matches!(meanwhile(&session), Some(SessionResult::Rejected(_))));
        let mut begun = starting("a", &[]);
        begun.mark((*begun.object).clone());
        begun.set_back_late(late);
        let said = meanwhile(&begun);
        assert!(
            matches!(said, Some(SessionResult::Ending { reason: None, .. })),
            "it is undone first: {said:?}"
        );
        let mut waits = starting("a", &[]);
        waits.set_back(Setback::Failed(Blocker::passing("R", "")));
        assert_eq!(meanwhile(&waits), None, "it said so before");
    }
}
