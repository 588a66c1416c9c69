//! One account with all its sessions: the unit of work.
//!
//! What the account should be follows from the sessions alone, so that a restart, a retry and the normal path are one
//! path. A look reads as:
//!
//! | step | module | does I/O |
//! |---|---|---|
//! | what the API server holds, and what policy says | `gather` | no |
//! | what should happen to each session | `lifecycle` | no |
//! | what needs no server; who waits, who is let go | `round` | no |
//! | what is told while the server does not answer | `waiting` | the API server |
//! | which roles the account has, where sessions differ | `candidates` | no |
//! | what they ask for together | `wanted_account` | no |
//! | which password the account has | `password` | Secrets |
//! | what follows for the account: observe, plan, apply, read back | `carry_out` | the server |
//! | permission sets that the account wants | `wanted_sets` | no |
//! | credentials: made, renewed, taken back | `handing`, `credentials` | Secrets |
//! | credentials that somebody deleted | `secrets` | Secrets |
//! | the status of each session | `report`, `note` | no |
//! | writing it down | `settle` | the API server |
//! | what is told where all that came to nothing | `failure` | the API server |
//!
//! An access that came back by itself is told of by `returned`.

mod candidates;
mod carry_out;
pub mod credentials;
mod failure;
mod gather;
mod handing;
pub mod lifecycle;
pub mod memory;
mod note;
pub mod password;
pub mod report;
pub mod returned;
mod round;
mod secrets;
mod settle;
mod waiting;
mod wanted_account;
mod wanted_sets;

pub use failure::tell_failure;
pub use gather::wanted_roles;
pub use secrets::find_missing;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use rolecall_api::{
    AccountPhase, AccountStatus, CreateDbUserMode, DatabaseSession, DatabaseUser, Deletion, EndReason,
    SessionPhase, reasons,
};

use crate::api_writer::Severity;
use crate::model::{
    AccountKey, Action, DatabaseKey, ObjectKey, Priority, ReconcileError, ReconcileKey, until,
};
use crate::{Shared, sets};
use lifecycle::{Blocker, Ending, Next, Times, Verdict, give_up, give_up_at, is_touched};
use report::{Left, Outcome};
use round::Round;

/// Looks at one account.
///
/// # Errors
///
/// What the API server refused. What a database refuses is reported on the sessions and looked at again.
pub async fn reconcile(shared: &Shared, key: &AccountKey) -> Result<Action, ReconcileError> {
    if shared.cache().is_unreadable(&key.admin) {
        // Not missing: nothing is given up, and nothing can be done before it can be read.
        return Ok(Action::await_change());
    }
    let now = shared.now();
    let gathered = gather::gather(shared, key, now);
    let suspect = shared.memory.take_orphan(key);
    if gathered.sessions.is_empty() {
        // Whatever becomes of it, nobody is handed this password again.
        shared.memory.set_password(key, None);
        return vanished(shared, key, &gathered, suspect).await;
    }
    if suspect && !gathered.sessions.iter().any(|item| lifecycle::may_have_access(&item.session)) {
        vanished(shared, key, &gathered, suspect).await?;
    }
    let mut round = Round::new(gathered, now);
    let (ran, told) = waiting::telling(shared, key, Box::pin(round.run(shared, key))).await;
    ran?;
    let mut done = Action { retry: round.retry, at: round.again };
    let report = round.report.take();
    let mut failed = None;
    let mut left = BTreeSet::new();
    for (mut item, mut outcome) in round.outcomes() {
        if told {
            waiting::follow(shared, &mut item, &mut outcome);
        }
        if matches!(outcome, Some(Outcome::Ended { .. } | Outcome::Rejected(_) | Outcome::Released { .. })) {
            left.extend(item.session.spec.database_name.clone());
        }
        match settle::settle(shared, &item.session, item.timed, outcome.as_ref(), item.times).await {
            Ok(at) => done.at_earliest(at),
            // What became of the others is written all the same.
            Err(error) => {
                tracing::debug!(account = %key, %error, "what became of a session is not written yet");
                failed.get_or_insert(error);
            }
        }
    }
    for database in left {
        sets::release(shared, &DatabaseKey { admin: key.admin.clone(), database: database.into() });
    }
    if let Some(report) = report {
        let user = report.user.clone();
        if shared.memory.report(key, report) {
            shared.queue.add(ReconcileKey::User(user), Priority::Normal);
            shared.recount(&key.admin);
        }
    }
    let Some(failed) = failed else { return Ok(done) };
    // The whole is tried again; what is due meanwhile does not wait for that.
    if let Some((at, priority)) = done.at {
        shared.queue.add_at(ReconcileKey::Account(key.clone()), priority, until(at, shared.now()));
    }
    Err(failed)
}

/// Somebody took the finalizer off a session that had access, and its object is gone: the access goes all the same,
/// whether this operator gave it or the server shows it (`suspect`).
async fn vanished(
    shared: &Shared,
    key: &AccountKey,
    gathered: &gather::Gathered,
    suspect: bool,
) -> Result<Action, ReconcileError> {
    let retained = gathered.admin.as_ref().is_none_or(|admin| {
        admin.spec.suspend
            || (admin.metadata.deletion_timestamp.is_some() && admin.spec.deletion == Deletion::Retain)
    });
    let known = shared.memory.reported(key).filter(|report| report.account.phase == AccountPhase::Enabled);
    if known.is_none() && !suspect {
        return Ok(Action::await_change());
    }
    let server =
        gathered.server.as_ref().filter(|state| !state.unreachable).and_then(|state| state.server.clone());
    let (Some(server), Some(account), false) = (server, gathered.account.clone(), retained) else {
        let again = gathered.admin.is_some() && (known.is_some() || suspect && !retained);
        if again && suspect {
            shared.memory.suspect(key);
        }
        return Ok(Action { retry: again, ..Action::await_change() });
    };
    shared.sets.want(key, &[]);
    tracing::warn!(account = %key, "no session accounts for this enabled account any more; ending it");
    // What it was is told by its DatabaseUser, where an operator before this one knew it.
    let known = known.or_else(|| told(shared, key));
    let drop =
        known.as_ref().is_some_and(|known| known.account.mode == Some(CreateDbUserMode::BestEffortDrop));
    shared.audit.orphan(key, "ending");
    let was_over = returned::was_over(shared, key);
    let ended = match crate::database_admin::end_account(&server, account, drop).await {
        Ok(ended) => ended,
        Err(error) => {
            // It is tried again; meanwhile the DatabaseAdmin names it at its next look.
            shared.memory.suspect(key);
            shared.memory.set_stuck(key, Some(error.to_string()));
            shared.recount(&key.admin);
            return Err(error.into());
        }
    };
    shared.memory.set_stuck(key, None);
    shared.audit.orphan(key, "ended");
    shared.memory.set_password(key, None);
    shared.memory.leave_ended(key);
    shared.recount(&key.admin);
    // Another look was faster, or somebody has closed it.
    let Some(applied) = ended else { return Ok(Action::await_change()) };
    if let Some(admin) = &gathered.admin {
        let note = format!("{} was enabled and no session accounts for it: it is no more", key.username);
        shared.api.event(&**admin, Severity::Warning, reasons::ORPHAN_ENDED, "End", &note);
    }
    let message = match was_over {
        true => Some(returned::tell(shared, key, returned::Response::Ended(&applied)).await),
        false => applied.kept_because.clone(),
    };
    let Some(known) = known else { return Ok(Action::await_change()) };
    let phase = if applied.dropped { AccountPhase::Dropped } else { AccountPhase::Disabled };
    let account =
        AccountStatus { phase, sessions: 0, db_roles: Vec::new(), message, ..known.account.clone() };
    shared.memory.report(key, memory::Report { account, ..known.clone() });
    shared.queue.add(ReconcileKey::User(known.user), Priority::Normal);
    Ok(Action::await_change())
}

/// What is told of an account, or was by an operator before this one; of one that was never told, what its DatabaseUser
/// would be told. `None` where there is no DatabaseUser of its name.
fn told(shared: &Shared, key: &AccountKey) -> Option<memory::Report> {
    shared.memory.reported(key).or_else(|| {
        let user = shared.cache().user_named(&key.admin.namespace, &key.username)?;
        let account = told_in_status(&user, key).unwrap_or_else(|| AccountStatus {
            database: key.admin.name.to_string(),
            username: key.username.to_string(),
            ..AccountStatus::default()
        });
        Some(memory::Report { user: ObjectKey::of(&*user), account })
    })
}

/// What the status of a DatabaseUser says of an account.
pub fn told_in_status(user: &DatabaseUser, key: &AccountKey) -> Option<AccountStatus> {
    let mut told = user.status.iter().flat_map(|status| &status.accounts);
    told.find(|told| told.database == *key.admin.name && told.username == *key.username).cloned()
}

/// Looks at a session whose DatabaseUser does not exist and that never had an account.
///
/// # Errors
///
/// What the API server refused.
pub async fn reconcile_unbound(shared: &Shared, key: &ObjectKey) -> Result<Action, ReconcileError> {
    let now = shared.now();
    let (session, seen) = {
        let cache = shared.cache();
        match cache.session(key) {
            Some(session) if cache.account_of_session(key).is_none() => {
                let seen = cache.seen_at(&*session);
                (session, seen)
            }
            _ => return Ok(Action::await_change()),
        }
    };
    let times = Times { now, seen };
    let missing = Blocker::awaited(
        reasons::USER_NOT_FOUND,
        format!("there is no DatabaseUser {:?} in this namespace", session.spec.user),
    );
    let over = matches!(lifecycle::phase(&session), SessionPhase::Ended | SessionPhase::Rejected);
    if session.metadata.deletion_timestamp.is_some() || over {
        return settle_over(shared, &session, times).await;
    }
    let timed = lifecycle::is_timed(&session, None);
    let outcome = match give_up(&session, timed, missing, times) {
        Verdict::Reject(blocker) => Outcome::Rejected(blocker),
        Verdict::Wait(blocker) => Outcome::Waiting(blocker),
        // Without an account nothing can have been touched: the annotation names the account from the first touch on.
        _ => return Ok(Action::await_change()),
    };
    let mut done = Action::await_change();
    done.at_earliest(settle::settle(shared, &session, timed, &outcome, times).await?);
    Ok(done)
}

async fn settle_over(
    shared: &Shared,
    session: &Arc<DatabaseSession>,
    times: Times,
) -> Result<Action, ReconcileError> {
    let mut done = Action::await_change();
    if session.metadata.deletion_timestamp.is_some() {
        if is_touched(session) {
            settle::settle(shared, session, false, &Outcome::Released { left: None }, times).await?;
        }
        return Ok(done);
    }
    done.at_earliest(settle::keep_or_delete(shared, session, times.now).await?);
    Ok(done)
}

/// What follows for a session whose access is gone, or left behind.
fn outcome_of_end(ending: &Ending, left: Option<Left>) -> Outcome {
    match &ending.next {
        Next::Release => Outcome::Released { left },
        Next::Ended => {
            let reason = match left {
                Some(Left::Abandoned) => EndReason::Abandoned,
                _ => ending.reason.unwrap_or(EndReason::AccessRevoked),
            };
            Outcome::Ended { reason, left }
        }
        Next::Pending(blocker) => Outcome::Withdrawn(blocker.clone()),
        Next::Again(blocker) => Outcome::Waiting(blocker.clone()),
        Next::Rejected(blocker) => Outcome::Rejected(blocker.clone()),
    }
}

/// When a session that waits is looked at again, at the latest.
fn deadline(session: &DatabaseSession, timed: bool, times: Times) -> Option<Timestamp> {
    give_up_at(session, times.seen).filter(|at| timed && *at > times.now)
}
