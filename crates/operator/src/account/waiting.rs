//! What is told while a look waits for its server, which may take its time or hang: what should be over by now does not
//! go on being told as if it were well.

use std::sync::Arc;
use std::time::Duration;

use rolecall_api::{SessionPhase, reasons};
use tokio_util::sync::CancellationToken;

use super::gather::{Item, gather};
use super::lifecycle::{Blocker, Ending, Next, Verdict, phase};
use super::report::Outcome;
use super::round::held;
use super::settle::settle;
use crate::Shared;
use crate::model::{AccountKey, ObjectKey};

/// A look that takes no longer tells by itself. Nearly all take milliseconds.
const UNTOLD: Duration = Duration::from_secs(3);
/// Afterwards it is looked so often what else should be over: a session may be deleted or expire meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

/// Waits for a look, and tells meanwhile what waits for it. The second answer: was anything told?
pub(super) async fn telling<T>(
    shared: &Shared,
    key: &AccountKey,
    look: impl Future<Output = T>,
) -> (T, bool) {
    let done = CancellationToken::new();
    let look = async {
        let result = look.await;
        done.cancel();
        result
    };
    // A write is not broken off: nobody could tell whether it comes after those of the look.
    let tell = async {
        let mut told = false;
        let mut wait = UNTOLD;
        while tokio::time::timeout(wait, done.cancelled()).await.is_err() {
            told |= tell(shared, key).await;
            wait = AGAIN;
        }
        told
    };
    tokio::join!(look, tell)
}

async fn tell(shared: &Shared, key: &AccountKey) -> bool {
    let now = shared.now();
    let mut told = false;
    for item in gather(shared, key, now).sessions {
        let Some(outcome) = meanwhile(&item) else { continue };
        told = true;
        if let Err(error) = settle(shared, &item.session, item.timed, &outcome, item.times).await {
            tracing::debug!(account = %key, %error, "that a session waits for its server is not written yet");
        }
    }
    told
}

/// What is told of a session while nothing is known of its server.
fn meanwhile(item: &Item) -> Option<Outcome> {
    match (&item.verdict, phase(&item.session)) {
        // It is told already, with what was in the way last.
        (Verdict::End(_), SessionPhase::Ending) => None,
        (Verdict::End(Ending { reason: None, next: Next::Rejected(why) }), _) => {
            Some(Outcome::Ending { reason: None, blocker: Blocker { stalled: false, ..why.clone() } })
        }
        (Verdict::End(ending), _) => {
            let message = format!(
                "the end waits for the server, which has not shown the access gone within {} s",
                UNTOLD.as_secs()
            );
            Some(held(ending.clone(), &Blocker::passing(reasons::ENDING, message)))
        }
        // Nothing was done for it: it does not have to wait. Should that change meanwhile, it is not written.
        (Verdict::Reject(blocker), _) if !item.touched => Some(Outcome::Rejected(blocker.clone())),
        _ => None,
    }
}

/// What was told meanwhile counts: the session is what it is by now, and one that is over stays so.
pub(super) fn follow(shared: &Shared, item: &mut Item, outcome: &mut Option<Outcome>) {
    let known = shared.cache().session(&ObjectKey::of(&*item.session));
    let Some(known) = known.filter(|known| known.metadata.uid == item.session.metadata.uid) else { return };
    if matches!(phase(&known), SessionPhase::Ended | SessionPhase::Rejected)
        && !matches!(outcome, Some(Outcome::Released { .. }))
    {
        *outcome = None;
    }
    item.session = Arc::clone(&known);
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rolecall_api::{DatabaseSession, DatabaseSessionSpec, DatabaseSessionStatus, EndReason};
    use rolecall_resolve::Blocked;

    use super::super::lifecycle::Times;
    use super::*;

    fn item(phase: SessionPhase, verdict: Verdict, touched: bool) -> Item {
        let mut session = DatabaseSession::new("alice-orders", DatabaseSessionSpec::default());
        session.status =
            Some(DatabaseSessionStatus { phase: Some(phase), ..DatabaseSessionStatus::default() });
        let grant = Err(Blocked::new(reasons::ACCESS_DENIED, "no"));
        Item {
            session: Arc::new(session),
            grant,
            verdict,
            timed: true,
            touched,
            times: Times { now: Timestamp::now(), seen: Timestamp::now() },
        }
    }

    fn end(reason: Option<EndReason>, next: Next) -> Verdict {
        Verdict::End(Ending { reason, next })
    }

    #[test]
    fn an_end_that_waits_for_its_server_is_told_once() {
        let expired = || end(Some(EndReason::Expired), Next::Ended);
        let told = meanwhile(&item(SessionPhase::Active, expired(), true));
        let Some(Outcome::Ending { reason: Some(EndReason::Expired), blocker }) = told else {
            panic!("{told:?}")
        };
        assert_eq!((blocker.reason.as_str(), blocker.stalled), (reasons::ENDING, false));
        assert!(blocker.message.contains("waits for the server"), "{}", blocker.message);
        assert_eq!(meanwhile(&item(SessionPhase::Ending, expired(), true)), None);
        let deleted = end(Some(EndReason::Deleted), Next::Release);
        assert!(matches!(
            meanwhile(&item(SessionPhase::Active, deleted, true)),
            Some(Outcome::Ending { .. })
        ));
    }

    #[test]
    fn a_start_deadline_that_passes_meanwhile_is_kept() {
        let late = || Blocker::stalled(reasons::START_DEADLINE_EXCEEDED, "too late");
        let told = meanwhile(&item(SessionPhase::Pending, Verdict::Reject(late()), false));
        assert_eq!(told, Some(Outcome::Rejected(late())));
        assert_eq!(meanwhile(&item(SessionPhase::Pending, Verdict::Reject(late()), true)), None);
        let undone = end(None, Next::Rejected(late()));
        let told = meanwhile(&item(SessionPhase::Pending, undone, true));
        assert!(matches!(told, Some(Outcome::Ending { reason: None, .. })), "{told:?}");
    }
}
