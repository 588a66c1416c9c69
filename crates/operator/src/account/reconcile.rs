//! One reconcile of an account, step by step: see the [module](super).

use rolecall_api::reasons;

use super::attempt::{Attempt, Trust, attempt, conclude_live, not_ended};
use super::conclusion::{Conclusion, Ends, Starts};
use super::dereference::{Snapshot, dereference};
use super::execute::{self, Context};
use super::proof::Retained;
use super::session::{Session, fail_starts};
use super::{begun, desired, orphan, slow_server, write};
use crate::Shared;
use crate::drain::Pass;
use crate::model::session::may_have_access;
use crate::model::{AccountKey, Action, Blocker, ReconcileError, WALK};
use crate::servers::ServerState;

/// Starts may fail one by one, and each failure can change what the account should be. After so many attempts, and one
/// for each session, the rest waits for the next reconcile.
const ATTEMPTS: usize = 8;

/// Reconciles one account.
///
/// # Errors
///
/// What the API server refused. What a database refuses is reported on the sessions and tried again.
pub async fn reconcile(shared: &Shared, key: &AccountKey) -> Result<Action, ReconcileError> {
    tracing::trace!(target: WALK, %key, "the steps begin");
    let sessions = shared.cache().sessions_of_account(key);
    let is_clear = begun::recall(shared, sessions).await;
    // Until this reconcile has ended: whoever waits for draining waits for it.
    let pass = shared.drain.pass();
    let mut snapshot = snapshot(shared, key, &pass);
    let released = write::release_never_begun(shared, &mut snapshot).await;
    let done = reconcile_begun(shared, key, &mut snapshot).await;
    // All of it is tried again; what had to end did not wait for that.
    released.and(done).map(|action| Action { retry: action.retry || !is_clear, ..action })
}

/// What is to be done about sessions that may need the server, and where there are none, about the account.
async fn reconcile_begun(
    shared: &Shared,
    key: &AccountKey,
    snapshot: &mut Snapshot,
) -> Result<Action, ReconcileError> {
    if shared.cache().is_unreadable(&key.admin) {
        // Not missing: nothing is given up, and nothing can be done before it can be read.
        return Ok(Action::await_change());
    }
    let suspect = shared.orphans.take_suspect(key);
    if snapshot.sessions.is_empty() {
        // Whatever becomes of it, nobody gets this password again.
        shared.passwords.set(key, None);
        return orphan::end(shared, key, snapshot, suspect).await;
    }
    if suspect && !snapshot.sessions.iter().any(|session| may_have_access(&session.object)) {
        orphan::end(shared, key, snapshot, suspect).await?;
    }
    let work = Box::pin(conclude(shared, key, snapshot));
    let (conclusion, reported) = slow_server::reporting(shared, key, work).await;
    write::record(shared, key, snapshot, &conclusion?, reported).await
}

/// What is known of an account now.
fn snapshot(shared: &Shared, key: &AccountKey, pass: &Pass) -> Snapshot {
    let server = shared.servers.get(&key.admin);
    dereference(&shared.cache(), server, shared.given(), key, pass.mode(), shared.now())
}

/// Does what should happen to the sessions, where that is possible now.
async fn conclude(
    shared: &Shared,
    key: &AccountKey,
    snapshot: &mut Snapshot,
) -> Result<Conclusion, ReconcileError> {
    let mut conclusion = Conclusion::default();
    if !snapshot.sessions.iter().any(Session::needs_server) {
        return Ok(conclusion);
    }
    if let Some(retained) = Retained::of(snapshot.admin.as_deref()) {
        // The database stays as it is, whether it answers or not.
        conclusion.ends = Ends::Retained(retained);
        execute::revoke_ended(shared, None, &mut snapshot.sessions, &conclusion).await;
        return Ok(conclusion);
    }
    let state = match snapshot.server.clone() {
        // There is no DatabaseAdmin any more that says when it may be touched.
        Some(state) if state.retain && snapshot.admin.is_none() => ServerState::default(),
        Some(state) => state,
        None if snapshot.admin.is_some() => {
            // Its reconciler is on the way and triggers this account when it knows more.
            let waits = "the DatabaseAdmin has not been reconciled yet";
            conclusion.starts = Starts::Wait(Blocker::passing(reasons::PENDING, waits));
            conclusion.retry = true;
            return Ok(conclusion);
        }
        None => ServerState::default(),
    };
    if let Some(blocker) =
        snapshot.suspended().or_else(|| state.blocker.clone()).or_else(|| unchecked(&state))
    {
        fail_starts(&mut snapshot.sessions, &blocker);
    }
    let account = snapshot.account.clone();
    let server = state.server.clone();
    let context = server.as_ref().zip(account.as_ref());
    let context = context.map(|(server, account)| Context { shared, key, server, account });
    if let Some(blocker) = blocked(snapshot, &state) {
        conclusion.ends = not_ended(shared, snapshot, blocker);
        execute::revoke_ended(shared, None, &mut snapshot.sessions, &conclusion).await;
        if let Some(server) = &server {
            execute::want_sets(shared, key, server, snapshot, &mut conclusion);
        }
        if let Some(context) = context {
            conclude_live(context, snapshot, &mut conclusion, Trust::Unasked).await;
        }
        return Ok(conclusion);
    }
    // A missing server blocks everything.
    let Some(context) = context else { return Ok(conclusion) };
    for _ in 0..ATTEMPTS + snapshot.sessions.len() {
        if attempt(context, snapshot, &mut conclusion).await? == Attempt::Again {
            continue;
        }
        let (started, roles) = (conclusion.has_started(), context.server.platform_roles);
        if !desired::has_more_candidates(&mut snapshot.sessions, started, roles) {
            return Ok(conclusion);
        }
    }
    conclusion.retry = true;
    Ok(conclusion)
}

/// Why nothing can be done on the server, not even ending accesses.
fn blocked(snapshot: &Snapshot, state: &ServerState) -> Option<Blocker> {
    if let Some(blocker) = snapshot.suspended() {
        return Some(blocker);
    }
    if !state.unreachable && state.server.is_some() {
        return unchecked(state);
    }
    Some(state.blocker.clone().unwrap_or_else(|| {
        Blocker::stalled(reasons::DATABASE_NOT_FOUND, "there is no DatabaseAdmin to reach the server with")
    }))
}

/// That a server was suspended, and its accounts have to be checked before anything is called ended.
fn unchecked(state: &ServerState) -> Option<Blocker> {
    let why = "the server was suspended: all its accounts are checked first";
    state.unchecked.then(|| Blocker::passing(reasons::PENDING, why))
}
