//! An account that can be used though no session accounts for it: somebody took the finalizer off a session that had
//! access, and its object is gone. The access is ended nevertheless, whether this operator process gave it or the
//! server shows it.

use rolecall_api::{AccountPhase, AccountStatus, CreateDbUserMode, Deletion, reasons};

use super::dereference::Snapshot;
use super::reports::AccountReport;
use super::returned::{self, Response};
use crate::Shared;
use crate::api_writer::Severity;
use crate::model::{AccountKey, Action, Priority, ReconcileError, ReconcileKey};
use crate::servers::end_account;

/// Ends the account, where it is known to have been enabled. `suspect`: the server shows it so.
pub(super) async fn end(
    shared: &Shared,
    key: &AccountKey,
    snapshot: &Snapshot,
    suspect: bool,
) -> Result<Action, ReconcileError> {
    let retained = snapshot.admin.as_ref().is_none_or(|admin| {
        admin.spec.suspend
            || (admin.metadata.deletion_timestamp.is_some() && admin.spec.deletion == Deletion::Retain)
    });
    let known = shared.reports.get(key).filter(|report| report.account.phase == AccountPhase::Enabled);
    if known.is_none() && !suspect {
        return Ok(Action::await_change());
    }
    let server =
        snapshot.server.as_ref().filter(|state| !state.unreachable).and_then(|state| state.server.clone());
    let (Some(server), Some(account), false) = (server, snapshot.account.clone(), retained) else {
        let again = snapshot.admin.is_some() && (known.is_some() || suspect && !retained);
        if again && suspect {
            shared.orphans.suspect(key);
        }
        return Ok(Action { retry: again, ..Action::await_change() });
    };
    shared.sets.want(key, &[]);
    tracing::warn!(account = %key, "no session accounts for this enabled account any more; ending it");
    // What it was is in the status of its DatabaseUser, where a previous operator process knew it.
    let known = known.or_else(|| returned::last_report(shared, key));
    let drop =
        known.as_ref().is_some_and(|known| known.account.mode == Some(CreateDbUserMode::BestEffortDrop));
    shared.audit.orphan(key, "ending");
    let was_over = returned::was_over(shared, key);
    let ended = match end_account(&server, account, drop).await {
        Ok(ended) => ended,
        Err(error) => {
            // It is tried again; meanwhile the DatabaseAdmin names it at its next reconcile.
            shared.orphans.suspect(key);
            shared.orphans.set_stuck(key, Some(error.to_string()));
            shared.recount(&key.admin);
            return Err(error.into());
        }
    };
    shared.orphans.set_stuck(key, None);
    shared.audit.orphan(key, "ended");
    shared.passwords.set(key, None);
    shared.applied.remove(key);
    shared.recount(&key.admin);
    // Another reconcile was faster, or somebody has ended it.
    let Some(applied) = ended else { return Ok(Action::await_change()) };
    if let Some(admin) = &snapshot.admin {
        let note =
            format!("{} was enabled and no session accounts for it: its access was ended", key.username);
        shared.api.event(&**admin, Severity::Warning, reasons::ORPHAN_ENDED, "End", &note);
    }
    let message = match was_over {
        true => Some(returned::report(shared, key, Response::Ended(&applied)).await),
        false => applied.kept_because.clone(),
    };
    let Some(known) = known else { return Ok(Action::await_change()) };
    let phase = if applied.dropped { AccountPhase::Dropped } else { AccountPhase::Disabled };
    let account =
        AccountStatus { phase, sessions: 0, db_roles: Vec::new(), message, ..known.account.clone() };
    shared.reports.set(key, AccountReport { account, ..known.clone() });
    shared.queue.add(ReconcileKey::User(known.user), Priority::Normal);
    Ok(Action::await_change())
}
