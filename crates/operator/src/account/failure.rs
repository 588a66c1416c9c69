//! What the sessions of an account are told when a look at it took too long or panicked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use rolecall_api::{DatabaseSession, SessionPhase};

use super::gather::{self, Item};
use super::lifecycle::{Blocker, Verdict, is_touched, phase};
use super::report::Outcome;
use super::round::held;
use super::settle;
use crate::Shared;
use crate::controller::failure::conditions_after;
use crate::model::AccountKey;

/// Tells each session of the account what is in the way: that an access which should end may still be there, above all.
pub async fn tell_failure(shared: &Shared, key: &AccountKey, blocker: &Blocker) {
    let now = shared.now();
    // What panicked once may panic again.
    let gathered = catch_unwind(AssertUnwindSafe(|| gather::gather(shared, key, now)));
    let Ok(gathered) = gathered else {
        let sessions = shared.cache().sessions_of_account(key);
        for session in sessions {
            tell_as_it_is(shared, &session, blocker, now).await;
        }
        return;
    };
    for Item { session, verdict, timed, times, .. } in gathered.sessions {
        let outcome = match verdict {
            Verdict::End(ending) => held(ending, blocker),
            Verdict::Start(_) => Outcome::Waiting(blocker.clone()),
            Verdict::Live(_) => {
                tell_as_it_is(shared, &session, blocker, now).await;
                continue;
            }
            Verdict::Over | Verdict::Untouched | Verdict::Wait(_) | Verdict::Reject(_) => continue,
        };
        if let Err(error) = settle::settle(shared, &session, timed, &outcome, times).await {
            tracing::debug!(account = %key, %error, "that a look failed is not told");
        }
    }
}

/// Nobody knows better what the session is: its phase stays.
async fn tell_as_it_is(shared: &Shared, session: &DatabaseSession, blocker: &Blocker, now: Timestamp) {
    if matches!(phase(session), SessionPhase::Ended | SessionPhase::Rejected) {
        return;
    }
    let before = session.status.clone().unwrap_or_default();
    let mut after = before.clone();
    after.conditions = conditions_after(&before.conditions, session.metadata.generation, blocker, now);
    if after == before {
        return;
    }
    let told = match is_touched(session) {
        true => shared.api.apply_status(shared, session, &after).await,
        false => shared.api.apply_status_unless_changed(shared, session, &after).await,
    };
    if let Err(error) = told {
        tracing::debug!(%error, "that a look failed is not told");
    }
}
