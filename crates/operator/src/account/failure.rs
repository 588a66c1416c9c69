//! What the sessions of an account say when a reconcile of it took too long or panicked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use rolecall_api::DatabaseSession;

use super::decide::Decision;
use super::dereference::dereference;
use super::result::SessionResult;
use super::results::not_ended;
use super::write;
use crate::Shared;
use crate::model::session::{is_over, is_touched};
use crate::model::{AccountKey, Blocker};
use crate::progress::conditions_after_failure;

/// Reports on each session of the account what is in the way, above all that an access which should end may still
/// exist.
pub async fn report_failure(shared: &Shared, key: &AccountKey, blocker: &Blocker) {
    let now = shared.now();
    let server = shared.servers.get(&key.admin);
    // What panicked once may panic again.
    let snapshot = catch_unwind(AssertUnwindSafe(|| {
        dereference(&shared.cache(), server, shared.given(), key, shared.drain.mode(), now)
    }));
    let Ok(snapshot) = snapshot else {
        let sessions = shared.cache().sessions_of_account(key);
        for session in sessions {
            report_in_its_phase(shared, &session, blocker, now).await;
        }
        return;
    };
    for session in snapshot.sessions {
        let result = match session.decision() {
            Decision::End(end) => not_ended(end, blocker),
            Decision::Start(_) => SessionResult::Waiting(blocker.clone()),
            Decision::Live(_) => {
                report_in_its_phase(shared, &session.object, blocker, now).await;
                continue;
            }
            Decision::Over
            | Decision::Release
            | Decision::Untouched
            | Decision::Wait(_)
            | Decision::Reject(_) => continue,
        };
        let (timed, asked) = (session.timed, session.asked());
        let written = write::write(shared, &session.object, timed, Some(&result), asked, session.times);
        if let Err(error) = written.await {
            tracing::debug!(account = %key, %error, "a failed reconcile could not be reported");
        }
    }
}

/// Nothing newer is known of the session: its phase stays.
async fn report_in_its_phase(shared: &Shared, session: &DatabaseSession, blocker: &Blocker, now: Timestamp) {
    if is_over(session) {
        return;
    }
    let before = session.status.clone().unwrap_or_default();
    let mut after = before.clone();
    after.conditions =
        conditions_after_failure(&before.conditions, session.metadata.generation, blocker, now);
    if after == before {
        return;
    }
    let written = match is_touched(session) {
        true => shared.api.apply_status(shared, session, &after).await,
        false => shared.api.apply_status_unless_changed(shared, session, &after).await,
    };
    if let Err(error) = written {
        tracing::debug!(%error, "a failed reconcile could not be reported");
    }
}
