//! An account that can be used though no session accounts for it: somebody took the finalizer off a session that had
//! access, and its object is gone. The access is ended nevertheless, whether this operator process gave it or the
//! server shows it.

use rolecall_api::{AccountPhase, AccountStatus, CreateDbUserMode, Deletion, reasons};
use rolecall_engine::Applied;

use super::dereference::Snapshot;
use super::reports::AccountReport;
use super::returned::{self, Response};
use crate::Shared;
use crate::api_writer::Severity;
use crate::audit::OrphanAccess;
use crate::model::{AccountKey, Action, Priority, ReconcileError, ReconcileKey};
use crate::servers::{PlannedEnd, plan_end};

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
    // What it was is in the status of its DatabaseUser, where a previous operator process knew it.
    let known = known.or_else(|| returned::last_report(shared, key));
    let drop =
        known.as_ref().is_some_and(|known| known.account.mode == Some(CreateDbUserMode::BestEffortDrop));
    let reassign_to = known.as_ref().and_then(|known| known.account.reassign_to.clone());
    let was_over = returned::was_over(shared, key);
    let ended = match plan_end(&server, account, drop, reassign_to).await {
        Ok(PlannedEnd::Needed(end)) => {
            tracing::warn!(account = %key, "no session accounts for this enabled account any more; ending it");
            shared.audit.orphan(key, OrphanAccess::Ending).await;
            end.carry_out(&server).await.map(EndedOrphan::Ended)
        }
        Ok(PlannedEnd::AlreadyEnded { exists }) => Ok(EndedOrphan::Already { exists }),
        Ok(PlannedEnd::NotOurs { usable }) => Ok(EndedOrphan::NotOurs { usable }),
        Err(error) => Err(error),
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            // It is tried again; meanwhile the DatabaseAdmin names it at its next reconcile.
            shared.orphans.suspect(key);
            shared.orphans.set_stuck(key, Some(error.to_string()));
            shared.recount(&key.admin);
            return Err(error.into());
        }
    };
    // The answer to an attempt before this one may have been lost.
    let was_ending = shared.audit.orphan_is_ending(key);
    if ended.is_change(shared.reports.get(key).map(|report| report.account.phase), was_ending) {
        shared.audit.orphan(key, OrphanAccess::Ended).await;
    } else {
        shared.audit.forget_orphan(key);
    }
    shared.orphans.set_stuck(key, None);
    shared.passwords.set(key, None);
    shared.applied.remove(key);
    shared.recount(&key.admin);
    let mut message = None;
    if let EndedOrphan::Ended(applied) = &ended {
        if let Some(admin) = &snapshot.admin {
            let note =
                format!("{} was enabled and no session accounts for it: its access was ended", key.username);
            shared.api.event(&**admin, Severity::Warning, reasons::ORPHAN_ENDED, "End", &note);
        }
        message = match was_over {
            true => Some(returned::report(shared, key, Response::Ended(applied)).await),
            false => applied.remarks(),
        };
    }
    report(shared, key, known, &ended, message);
    Ok(Action::await_change())
}

/// Says in the status of the DatabaseUser what the account is now.
fn report(
    shared: &Shared,
    key: &AccountKey,
    known: Option<AccountReport>,
    ended: &EndedOrphan,
    message: Option<String>,
) {
    // Another reconcile may have reported it meanwhile, with more.
    let known = match ended {
        EndedOrphan::Ended(_) => known,
        _ => shared.reports.get(key).filter(|report| report.account.phase == AccountPhase::Enabled),
    };
    let Some(AccountReport { user, account }) = known else { return };
    let account =
        AccountStatus { phase: ended.phase(), sessions: 0, db_roles: Vec::new(), message, ..account };
    shared.reports.set(key, AccountReport { account, user: user.clone() });
    shared.queue.add(ReconcileKey::User(user), Priority::Normal);
}

/// What became of an account that no session accounts for.
#[derive(Debug)]
enum EndedOrphan {
    /// It was ended now.
    Ended(Applied),
    /// Nothing was left to take away: another reconcile was faster, or somebody has ended it.
    Already { exists: bool },
    /// It is not ours (any more).
    NotOurs { usable: bool },
}

impl EndedOrphan {
    /// Is this the end of an access? `reported`: what was said of the account before. `was_ending`: the audit log says
    /// that it is about to end.
    fn is_change(&self, reported: Option<AccountPhase>, was_ending: bool) -> bool {
        match self {
            Self::Ended(_) => true,
            // Where another reconcile was faster, that one has reported it.
            Self::Already { .. } => was_ending || reported == Some(AccountPhase::Enabled),
            Self::NotOurs { .. } => false,
        }
    }

    /// What the account is now.
    fn phase(&self) -> AccountPhase {
        match self {
            Self::Ended(Applied { dropped: true, .. }) | Self::Already { exists: false } => {
                AccountPhase::Dropped
            }
            Self::Ended(_) | Self::Already { exists: true } | Self::NotOurs { usable: false } => {
                AccountPhase::Disabled
            }
            Self::NotOurs { usable: true } => AccountPhase::Conflict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_access_that_ends_is_logged() {
        use AccountPhase::{Conflict, Disabled, Dropped, Enabled};
        let ended = |dropped| EndedOrphan::Ended(Applied { dropped, ..Applied::default() });
        let already = |exists| EndedOrphan::Already { exists };
        let others = |usable| EndedOrphan::NotOurs { usable };
        for (ended, phase, after_enabled, otherwise) in [
            (ended(true), Dropped, true, true),
            (ended(false), Disabled, true, true),
            (already(false), Dropped, true, false),
            (already(true), Disabled, true, false),
            (others(true), Conflict, false, false),
            (others(false), Disabled, false, false),
        ] {
            assert_eq!(ended.phase(), phase, "{ended:?}");
            assert_eq!(ended.is_change(Some(Enabled), false), after_enabled, "{ended:?}");
            assert_eq!(ended.is_change(Some(Disabled), false), otherwise, "{ended:?}");
            assert_eq!(ended.is_change(None, false), otherwise, "{ended:?}");
            assert_eq!(ended.is_change(None, true), after_enabled, "{ended:?}");
        }
    }
}
