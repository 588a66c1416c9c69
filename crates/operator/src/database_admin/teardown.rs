//! Deleting a DatabaseAdmin: its accounts go first.
//!
//! The sessions end by themselves once the deletion shows; this waits for them, sweeps what no session accounts for,
//! and releases the object. After the teardown deadline it is released whatever is left, with an event that names what
//! is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::names::TEARDOWN_FINALIZER;
use rolecall_api::{DatabaseAdmin, Deletion, reasons};
use rolecall_engine::Class;

use super::observation::Observation;
use crate::api_writer::Severity;
use crate::audit::OrphanAccess;
use crate::model::{
    AccountKey, Action, Blocker, ObjectKey, Priority, ReconcileError, ReconcileKey, plus, session::is_touched,
};
use crate::servers::{PlannedEnd, Server, ServerState, plan_end, teardown_secret};
use crate::{Shared, account, sets};

/// How soon the sessions are counted again, at first and at last.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How long reconciles of accounts are waited for. It is longer than a server that hangs keeps one.
const RECONCILES_TIMEOUT: Duration = Duration::from_secs(40);

pub(super) async fn tear_down(
    shared: &Shared,
    key: &ObjectKey,
    admin: &Arc<DatabaseAdmin>,
    observed: &Observation,
    now: Timestamp,
) -> Result<Action, ReconcileError> {
    let has_finalizer =
        admin.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TEARDOWN_FINALIZER);
    if !has_finalizer {
        return Ok(Action::await_change());
    }
    // By this machine's clock, as the deadline is: the API server's may differ.
    let deleted = shared.cache().deleted_at(&**admin).unwrap_or(now);
    let deadline = plus(deleted, shared.settings.teardown_deadline).unwrap_or(Timestamp::MAX);
    let late = deadline <= now;
    // One that began before the deletion showed may be about to start an access.
    if !account_reconciles_end(shared, key).await {
        return Ok(Action { retry: true, ..Action::await_change() });
    }
    let waiting = {
        let cache = shared.cache();
        for account in cache.accounts_of_admin(key) {
            shared.queue.add(ReconcileKey::Account(account), Priority::Urgent);
        }
        cache.sessions_of_admin(key).filter(|session| is_touched(session)).count()
    };
    if waiting > 0 {
        return Ok(Action {
            at: plus(now, again(deleted, now)).map(|at| (at, Priority::Normal)),
            retry: false,
        });
    }
    let server =
        observed.state.server.as_ref().filter(|_| !observed.state.unreachable && !admin.spec.suspend);
    let left = match (admin.spec.deletion, server) {
        (Deletion::Retain, _) => Ok(()),
        (Deletion::Revoke, Some(server)) => sweep(shared, server, key).await,
        // Nothing was ever done on a server that was never reached.
        (Deletion::Revoke, None) if admin.status.as_ref().is_none_or(|status| status.endpoint.is_none()) => {
            Ok(())
        }
        (Deletion::Revoke, None) => {
            let why = observed.state.blocker.as_ref().map(|blocker| blocker.message.clone());
            Err(Unswept::NoServer(why.unwrap_or_else(|| "the server does not answer".to_owned())))
        }
    };
    if let Err(why) = left {
        if !late {
            return Ok(Action { at: Some((deadline, Priority::Normal)), retry: true });
        }
        let note = format!(
            "the server was not swept before the teardown deadline: {why}. Look for managed users ({}) there that can log in",
            rolecall_engine::MARKER
        );
        shared.api.event(&**admin, Severity::Warning, reasons::ABANDONED, "TearDown", &note);
        tracing::warn!(admin = %key, %why, "abandoned");
    }
    // First, as nothing would refer to it any more.
    match release(shared, key).await {
        // That would not change by itself, and must not block the deletion of a namespace for ever.
        Err(kube::Error::Api(status)) if late || status.code == 403 => {
            tracing::warn!(admin = %key, error = %status, "what was kept for its teardown could not be deleted");
        }
        released => released?,
    }
    let newest = shared.cache().admin(key).unwrap_or_else(|| Arc::clone(admin));
    shared.api.remove_finalizer(shared, &*newest, TEARDOWN_FINALIZER, serde_json::json!({})).await?;
    Ok(Action::await_change())
}

/// Deletes what was kept for the teardown.
async fn release(shared: &Shared, key: &ObjectKey) -> kube::Result<()> {
    teardown_secret::release(&shared.api, key).await?;
    shared.teardown_secrets.set(key, None);
    Ok(())
}

/// The longer it has taken, the longer the wait before the next check.
fn again(since: Timestamp, now: Timestamp) -> Duration {
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    (passed / 4).clamp(AGAIN.0, AGAIN.1)
}

/// Waits until the reconciles of the accounts of this server that are under way have ended. Those that begin later see
/// what the caller has seen. False when one is still running.
pub(super) async fn account_reconciles_end(shared: &Shared, key: &ObjectKey) -> bool {
    tracing::debug!(admin = %key, "waiting for reconciles of its accounts that are under way");
    let reconciles =
        shared.queue.finished(|work| matches!(work, ReconcileKey::Account(account) if account.admin == *key));
    tokio::time::timeout(RECONCILES_TIMEOUT, reconciles).await.is_ok()
}

/// The DatabaseAdmin is gone. Where somebody took its finalizer off before its accounts were torn down, its server is
/// kept, so that accesses still end: until they have, but no longer than a teardown is tried.
pub(super) async fn without_admin(shared: &Shared, key: &ObjectKey, now: Timestamp) -> Action {
    shared.sets.forget_server(key);
    shared.listeners.forget_server(key);
    shared.failover_watch.forget(key);
    shared.needs.forget_server(key);
    for user in account::forget_server(shared, key) {
        shared.queue.add(ReconcileKey::User(user), Priority::Normal);
    }
    let accounts = {
        let cache = shared.cache();
        let waits = cache.sessions_of_admin(key).any(|session| is_touched(session));
        if waits { cache.accounts_of_admin(key) } else { BTreeSet::new() }
    };
    let kept = shared.servers.get(key).filter(|state| !accounts.is_empty() && !state.retain);
    let mut done = Action::await_change();
    let mut news = true;
    if let Some((state, server)) = kept.and_then(|state| state.server.clone().map(|server| (state, server)))
        && let since = state.gone_since.unwrap_or(now)
        && let Some(deadline) = plus(since, shared.settings.teardown_deadline).filter(|at| now < *at)
    {
        if state.gone_since.is_none() {
            tracing::warn!(admin = %key, "the DatabaseAdmin is gone though its accounts were not torn down; ending what is left");
        }
        let message = "there is no DatabaseAdmin of that name any more; its accounts are torn down";
        let error = server.engine.inventory().await.err();
        let no_admin = || Blocker::stalled(reasons::DATABASE_NOT_FOUND, message);
        let state = ServerState {
            blocker: Some(error.as_ref().map_or_else(no_admin, Blocker::from)),
            // Nobody is left who could be told what came back.
            unchecked: state.unchecked && error.is_some(),
            unreachable: error.is_some_and(|error| error.class == Class::Unreachable),
            gone_since: Some(since),
            ..state
        };
        // Otherwise they are reconciled again by themselves.
        news = shared.servers.set(key, state);
        done.at_earliest(plus(now, again(since, now)).map(|at| (at.min(deadline), Priority::Normal)));
    } else {
        if let Some(server) = shared.servers.remove(key).and_then(|state| state.server) {
            server.engine.close().await;
        }
        if let Err(error) = release(shared, key).await {
            tracing::warn!(admin = %key, %error, "what was kept for its teardown could not be deleted");
            done.retry = true;
        }
    }
    for account in accounts.into_iter().filter(|_| news) {
        shared.queue.add(ReconcileKey::Account(account), Priority::Urgent);
    }
    done
}

/// Disables every account that carries our record and can still log in, though no session accounts for it, and drops
/// the permission sets.
async fn sweep(shared: &Shared, server: &Server, key: &ObjectKey) -> Result<(), Unswept> {
    let inventory = server.engine.inventory().await?;
    for entry in inventory.accounts {
        let ours = entry.owner.as_ref().is_some_and(|record| server.owner.claim(record).is_ours_to_end());
        if ours && (entry.enabled || entry.backends > 0) {
            tracing::info!(admin = %key, account = %entry.account, "disabling an account that no session accounts for");
            let account = AccountKey { admin: key.clone(), username: entry.account.as_str().into() };
            if let PlannedEnd::Needed(end) = plan_end(server, entry.account, false, None).await? {
                shared.audit.orphan(&account, OrphanAccess::Ending).await;
                end.carry_out(server).await?;
                shared.audit.orphan(&account, OrphanAccess::Ended).await;
            }
        }
    }
    Ok(sets::drop_all(server).await?)
}

/// Why a server was not swept.
#[derive(Debug, thiserror::Error)]
enum Unswept {
    #[error("{0}")]
    NoServer(String),
    #[error(transparent)]
    Engine(#[from] rolecall_engine::Error),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_admin_is_not_released_while_a_start_may_be_under_way() {
        let shared = Shared::alone();
        let admin: DatabaseAdmin = serde_json::from_value(json!({
            "metadata": {
                "name": "orders",
                "namespace": "shop",
                "finalizers": [TEARDOWN_FINALIZER],
                "deletionTimestamp": "2026-01-01T12:00:00Z",
            },
            "spec": {"protocol": "postgres", "uri": "db:5432", "auth": {}, "deletion": "Retain"},
        }))
        .unwrap();
        let (admin, key, seen) = (Arc::new(admin.clone()), ObjectKey::of(&admin), Observation::default());
        let account = |admin: &ObjectKey| {
            ReconcileKey::Account(AccountKey { admin: admin.clone(), username: "alice".into() })
        };
        let elsewhere = key.sibling("elsewhere");
        shared.queue.add(account(&elsewhere), Priority::Normal);
        let _elsewhere = shared.queue.take(Priority::Normal).await;
        shared.queue.add(account(&key), Priority::Normal);
        let under_way = shared.queue.take(Priority::Normal).await;

        let teardown = tear_down(&shared, &key, &admin, &seen, Timestamp::now());
        let mut teardown = std::pin::pin!(teardown);
        let waited = tokio::time::timeout(RECONCILES_TIMEOUT / 2, &mut teardown).await;
        assert!(waited.is_err(), "the reconcile may be about to start an access");
        drop(under_way);
        // It continues to the API server, which does not exist here.
        assert!(matches!(teardown.await, Err(ReconcileError::Api(_))));

        shared.queue.add(account(&key), Priority::Normal);
        let _hangs = shared.queue.take(Priority::Normal).await;
        let done = tear_down(&shared, &key, &admin, &seen, Timestamp::now()).await;
        assert!(done.is_ok_and(|done| done.retry), "one that hangs is not waited for in one go");
    }

    #[test]
    fn a_teardown_that_takes_long_is_checked_less_often() {
        let start = Timestamp::now();
        let after = |seconds| again(start, start + jiff::SignedDuration::from_secs(seconds));
        assert_eq!(after(0), AGAIN.0);
        assert_eq!(after(8), Duration::from_secs(2));
        assert_eq!(after(3_600), AGAIN.1);
    }
}
