//! A session whose DatabaseUser does not exist and that never had an account.

use std::sync::Arc;

use rolecall_api::{DatabaseSession, reasons};

use super::approval::Approval;
use super::decide::{AdminState, Decision, Facts, give_up};
use super::proof::NoAccount;
use super::result::{Gone, SessionResult};
use super::{begun, write};
use crate::Shared;
use crate::model::session::{Times, has_finalizer, is_over, is_timed, is_touched};
use crate::model::{Action, Blocker, ObjectKey, ReconcileError};

/// Reconciles a session that belongs to no account yet.
///
/// # Errors
///
/// What the API server refused.
pub async fn reconcile(shared: &Shared, key: &ObjectKey) -> Result<Action, ReconcileError> {
    let known = shared.cache().session(key);
    if !begun::recall(shared, known.into_iter().collect()).await {
        // Nothing else is known of it.
        return Ok(Action { retry: true, ..Action::await_change() });
    }
    let now = shared.now();
    let (session, seen) = {
        let cache = shared.cache();
        match cache.session(key) {
            Some(session) if cache.account_of_session(key).is_none() => {
                let seen = cache.first_seen_at(&*session);
                (session, seen)
            }
            _ => return Ok(Action::await_change()),
        }
    };
    let times = Times { now, seen };
    if session.metadata.deletion_timestamp.is_some() || is_over(&session) {
        return write_over(shared, &session, times).await;
    }
    let timed = is_timed(&session, None);
    let Some(result) = result(&session, timed, times) else { return Ok(Action::await_change()) };
    let mut action = Action::await_change();
    action.at_earliest(write::write(shared, &session, timed, Some(&result), None, times).await?);
    Ok(action)
}

/// It waits for its DatabaseUser, or has waited long enough.
fn result(session: &DatabaseSession, timed: bool, times: Times) -> Option<SessionResult> {
    let missing = Blocker::awaited(
        reasons::USER_NOT_FOUND,
        format!("there is no DatabaseUser {:?} in this namespace", session.spec.user),
    );
    let grant = Err(rolecall_resolve::Blocked::new(reasons::USER_NOT_FOUND, String::new()));
    let touched = is_touched(session);
    let approval = &Approval::NotAsked;
    let facts = Facts { session, admin: AdminState::Present, grant: &grant, approval, timed, touched, times };
    match give_up(facts, timed, missing) {
        Decision::Reject(blocker) => Some(SessionResult::Rejected(blocker)),
        Decision::Wait(blocker) => Some(SessionResult::Waiting(blocker)),
        // Without an account nothing can have been touched: a name is recorded from the first touch on.
        _ => None,
    }
}

async fn write_over(
    shared: &Shared,
    session: &Arc<DatabaseSession>,
    times: Times,
) -> Result<Action, ReconcileError> {
    let mut action = Action::await_change();
    if session.metadata.deletion_timestamp.is_none() {
        action.at_earliest(write::keep_or_delete(shared, session, times.now).await?);
    } else if let Some(gone) = NoAccount::of(session).filter(|_| has_finalizer(session)) {
        let result = SessionResult::Released { gone: Gone::NoAccount(gone) };
        write::write(shared, session, false, Some(&result), None, times).await?;
    }
    Ok(action)
}

#[cfg(test)]
mod tests {
    use super::super::session::samples::{now, starting};
    use super::*;
    use crate::model::plus;

    #[test]
    fn a_session_waits_for_its_user_until_its_start_deadline() {
        let session = starting("a", &[]).object;
        let at = |seconds| {
            let now = plus(now(), std::time::Duration::from_secs(seconds)).unwrap();
            result(&session, true, Times { now, seen: super::super::session::samples::now() })
        };
        let waits = at(59);
        assert!(
            matches!(&waits, Some(SessionResult::Waiting(blocker)) if blocker.awaited && blocker.reason == reasons::USER_NOT_FOUND),
            "{waits:?}"
        );
        assert!(matches!(at(60), Some(SessionResult::Rejected(_))));
    }
}
