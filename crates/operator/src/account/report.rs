//! The status of a session, as a pure function of what happened to it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rolecall_api::{
    Condition, Connection, CreateDbUserMode, DatabaseSession, DatabaseSessionStatus, EndReason, SecretRef,
    SessionPhase, Time, conditions, reasons,
};

use super::lifecycle::{Blocker, phase};

/// What happened to a session.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a look holds a handful of them, and most are the large one")]
pub enum Outcome {
    /// It has access.
    Active(Active),
    /// It waits for its start, or to start again.
    Waiting(Blocker),
    /// It waits, and the database shows nothing of it any more.
    Withdrawn(Blocker),
    /// Its access is being taken away, and something is in the way.
    Ending {
        /// What `endReason` will be.
        reason: Option<EndReason>,
        /// What is in the way.
        blocker: Blocker,
    },
    /// Its access is gone, or nobody waits for that any more.
    Ended {
        /// Why it ended.
        reason: EndReason,
        /// Why the database may still hold the access; `None`: it showed the access gone.
        left: Option<Left>,
    },
    /// It never started and never will.
    Rejected(Blocker),
    /// It is being deleted, and nothing holds it any more.
    Released {
        /// As for `Ended`.
        left: Option<Left>,
    },
}

/// Why the database may still hold an access that is over. The event that says so is published where it is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The server did not let it be taken away before the teardown deadline.
    Abandoned,
    /// The DatabaseAdmin says `deletion: Retain`.
    Retained,
}

impl Left {
    /// For people.
    pub fn told(left: Option<Self>) -> &'static str {
        match left {
            None => "the database shows the access gone",
            Some(Self::Abandoned) => "the access could not be taken away: see the events",
            Some(Self::Retained) => {
                "the account stays as it is on the server: the DatabaseAdmin says deletion: Retain"
            }
        }
    }
}

/// A session that has access.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Active {
    /// The database user.
    pub username: String,
    /// Its database roles.
    pub db_roles: Vec<String>,
    /// What becomes of the account at the end.
    pub mode: Option<CreateDbUserMode>,
    /// Since when.
    pub started_at: Option<Timestamp>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// The Secret with the credentials.
    pub secret: Option<String>,
    /// The answer to the certificate request, in PEM.
    pub certificate: Option<String>,
    /// Where to connect.
    pub connection: Option<Connection>,
    /// Objects per privilege.
    pub permissions: BTreeMap<String, u64>,
    /// There are object permissions, and all of them were given.
    pub complete: bool,
    /// What is wrong although access is there.
    pub trouble: Option<Blocker>,
    /// Object permissions were decided that could not be given: why.
    pub incomplete: Option<Blocker>,
}

/// The whole status that says so. Transition times stay where nothing changed.
pub fn status(session: &DatabaseSession, outcome: &Outcome, now: Timestamp) -> DatabaseSessionStatus {
    let before = session.status.clone().unwrap_or_default();
    let generation = session.metadata.generation;
    let condition = |type_: &str, status: bool, reason: &str, message: &str| {
        conditions::new(type_, status, reason, message, generation, Time(now))
    };
    let ready = |status: bool, blocker: &Blocker| {
        condition(conditions::READY, status, &blocker.reason, &blocker.message)
    };
    let progress =
        |blocker: &Blocker| crate::progress::condition(blocker, &before.conditions, generation, now);
    let mut list: Vec<Condition> = Vec::new();
    let mut status = DatabaseSessionStatus { observed_generation: generation, ..Default::default() };
    match outcome {
        Outcome::Active(active) => {
            status.phase = Some(SessionPhase::Active);
            status.username = Some(active.username.clone());
            status.db_roles = active.db_roles.clone();
            status.mode = active.mode;
            status.started_at = active.started_at.map(Time);
            status.expires_at = active.expires_at.map(Time);
            status.credentials_secret_ref = active.secret.clone().map(|name| SecretRef { name });
            status.binding = status.credentials_secret_ref.clone();
            status.certificate =
                active.certificate.clone().map(|pem| k8s_openapi::ByteString(pem.into_bytes()));
            status.connection = active.connection.clone();
            match &active.trouble {
                None => list.push(condition(conditions::READY, true, reasons::ACTIVE, "the user has access")),
                Some(trouble) => {
                    list.push(ready(false, trouble));
                    list.push(progress(trouble));
                }
            }
            status.permissions = active.permissions.clone();
            if active.complete {
                let message = "every object permission that policy gives was given";
                list.push(condition(conditions::PERMISSIONS_COMPLETE, true, reasons::SUCCEEDED, message));
            }
            if let Some(incomplete) = &active.incomplete {
                list.push(condition(
                    conditions::PERMISSIONS_COMPLETE,
                    false,
                    &incomplete.reason,
                    &incomplete.message,
                ));
            }
        }
        Outcome::Waiting(blocker) | Outcome::Withdrawn(blocker) => {
            status.phase = Some(SessionPhase::Pending);
            list.push(ready(false, blocker));
            list.push(progress(blocker));
        }
        Outcome::Ending { reason, blocker } => {
            // What the access was stays readable until it is gone.
            status = DatabaseSessionStatus {
                conditions: Vec::new(),
                observed_generation: generation,
                ..before.clone()
            };
            status.phase = Some(SessionPhase::Ending);
            let expired =
                before.expires_at.clone().filter(|at| *reason == Some(EndReason::Expired) && at.0 <= now);
            status.ending_since = before.ending_since.clone().or(expired).or(Some(Time(now)));
            // A standing session may come back, so that no end is recorded for it.
            if is_timed(session, &before) {
                status.end_reason = *reason;
            }
            list.push(ready(false, blocker));
            list.push(progress(blocker));
        }
        Outcome::Ended { reason, left } => {
            status = history(&before, generation, now);
            status.phase = Some(SessionPhase::Ended);
            status.end_reason = Some(*reason);
            let over = Blocker::stalled(end_reason(*reason), Left::told(*left));
            list.push(ready(false, &over));
            list.push(progress(&over));
        }
        Outcome::Rejected(blocker) => {
            status = history(&before, generation, now);
            status.phase = Some(SessionPhase::Rejected);
            let blocker = Blocker { stalled: true, awaited: false, ..blocker.clone() };
            list.push(ready(false, &blocker));
            list.push(progress(&blocker));
        }
        Outcome::Released { .. } => return before,
    }
    status.conditions = conditions::merge_transition_times(&before.conditions, list);
    status
}

/// The reason that conditions and events carry for the end of a session.
pub fn end_reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Deleted => reasons::DELETED,
        EndReason::Expired => reasons::EXPIRED,
        EndReason::AccessRevoked | EndReason::Unknown => reasons::ACCESS_REVOKED,
        EndReason::UserSuspended => reasons::USER_SUSPENDED,
        EndReason::DatabaseRemoved => reasons::DATABASE_REMOVED,
        EndReason::Abandoned => reasons::ABANDONED,
    }
}

/// Does this status tell people something that the one before did not?
pub fn is_news(session: &DatabaseSession, outcome: &Outcome) -> bool {
    let before = session.status.as_ref();
    let ready = before.and_then(|status| conditions::find(&status.conditions, conditions::READY));
    let (new_phase, new_reason) = match outcome {
        Outcome::Active(active) => {
            (SessionPhase::Active, active.trouble.as_ref().map_or(reasons::ACTIVE, |t| t.reason.as_str()))
        }
        Outcome::Waiting(blocker) | Outcome::Withdrawn(blocker) => {
            (SessionPhase::Pending, blocker.reason.as_str())
        }
        Outcome::Ending { blocker, .. } => (SessionPhase::Ending, blocker.reason.as_str()),
        Outcome::Ended { reason, .. } => (SessionPhase::Ended, end_reason(*reason)),
        Outcome::Rejected(blocker) => (SessionPhase::Rejected, blocker.reason.as_str()),
        Outcome::Released { .. } => return true,
    };
    phase(session) != new_phase || ready.is_none_or(|ready| ready.reason != new_reason)
}

fn history(before: &DatabaseSessionStatus, generation: Option<i64>, now: Timestamp) -> DatabaseSessionStatus {
    DatabaseSessionStatus {
        observed_generation: generation,
        username: before.username.clone(),
        db_roles: before.db_roles.clone(),
        mode: before.mode,
        started_at: before.started_at.clone(),
        expires_at: before.expires_at.clone(),
        ended_at: Some(before.ended_at.clone().unwrap_or(Time(now))),
        ..Default::default()
    }
}

fn is_timed(session: &DatabaseSession, before: &DatabaseSessionStatus) -> bool {
    session.spec.ttl.is_some() || before.expires_at.is_some()
}

#[cfg(test)]
mod tests;
