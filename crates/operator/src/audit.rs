//! The audit log: who has, had, or did not get access to what. Its fields are in `docs/audit.md`.
//!
//! A line is written before the object changes that tells the same. Where the operator ends in between, the next one finds
//! that the object does not tell it yet, and writes the line again: each is written at least once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use rolecall_api::{DatabaseSession, reasons};
use rolecall_engine::HistoryChange;

use crate::account::result::{Active, Gone, SessionResult, end_reason};
use crate::model::{AccountKey, ObjectKey, session::recorded_username};
use crate::ports::{Access, AuditLine, AuditLog};

/// See the module.
#[derive(Debug)]
pub struct Audit {
    log: Arc<dyn AuditLog>,
    /// The last line about each session, by its uid: where the API server does not take what follows for long, it is
    /// tried again and again, and the line is not.
    last: Mutex<HashMap<String, (&'static str, String)>>,
}

impl Audit {
    /// Written to that log.
    pub fn new(log: Arc<dyn AuditLog>) -> Self {
        Self { log, last: Mutex::default() }
    }

    /// What becomes of a session.
    pub fn session(&self, session: &DatabaseSession, result: &SessionResult) {
        let (access, reason) = told(result);
        let uid = session.uid().unwrap_or_default();
        let line = (access, reason.to_owned());
        if self.last().insert(uid.clone(), line.clone()) == Some(line) {
            return;
        }
        let active = match result {
            SessionResult::Active(active) => Some(active),
            _ => None,
        };
        let recorded = || recorded_username(session).unwrap_or_default();
        let username = active.map_or_else(recorded, |active| active.username.as_str());
        let told = |tell: fn(&Active) -> String| active.map(tell).unwrap_or_default();
        self.log.write(&AuditLine::Access(Access {
            session: &session.name_any(),
            namespace: &session.namespace().unwrap_or_default(),
            uid: &uid,
            user: &session.spec.user,
            database: &session.spec.database,
            database_name: session.spec.database_name.as_deref().unwrap_or_default(),
            username,
            access,
            reason,
            db_roles: told(|active| active.db_roles.join(",")),
            expires_at: told(|active| active.expires_at.map(|at| at.to_string()).unwrap_or_default()),
            why: session.spec.reason.as_deref().unwrap_or_default(),
        }));
    }

    /// What becomes of an account that was enabled though no session accounts for it: `ending`, and in the end `ended`.
    pub fn orphan(&self, key: &AccountKey, access: &'static str) {
        let line = (access, reasons::ORPHAN_ENDED.to_owned());
        if self.last().insert(format!("account {key}"), line.clone()) == Some(line) {
            return;
        }
        if access == "ended" {
            self.forget(&format!("account {key}"));
        }
        self.log.write(&AuditLine::Access(Access {
            namespace: &key.admin.namespace,
            database: &key.admin.name,
            username: &key.username,
            access,
            reason: reasons::ORPHAN_ENDED,
            ..Access::default()
        }));
    }

    /// An access came back though it was over.
    pub fn returned(&self, key: &AccountKey, action: &str, cause: &str) {
        self.log.write(&AuditLine::Returned {
            database_admin: &key.admin.name,
            namespace: &key.admin.namespace,
            username: &key.username,
            action,
            cause,
        });
    }

    /// A server may have lost changes.
    pub fn failover(&self, admin: &ObjectKey, change: &HistoryChange) {
        self.log.write(&AuditLine::Failover {
            database_admin: &admin.name,
            namespace: &admin.namespace,
            change: change.to_string(),
        });
    }

    /// A session is gone.
    pub fn forget(&self, uid: &str) {
        self.last().remove(uid);
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn last(&self) -> std::sync::MutexGuard<'_, HashMap<String, (&'static str, String)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a line calls it, and why.
fn told(result: &SessionResult) -> (&'static str, &str) {
    match result {
        SessionResult::Active(_) => ("active", reasons::ACTIVE),
        SessionResult::Waiting(blocker) => ("waiting", &blocker.reason),
        SessionResult::Ending { blocker, .. } => ("ending", &blocker.reason),
        SessionResult::Ended { gone: Gone::Abandoned(_), .. }
        | SessionResult::Withdrawn { gone: Gone::Abandoned(_), .. }
        | SessionResult::Released { gone: Gone::Abandoned(_) } => ("abandoned", reasons::ABANDONED),
        SessionResult::Ended { gone: Gone::Retained(_), .. }
        | SessionResult::Withdrawn { gone: Gone::Retained(_), .. }
        | SessionResult::Released { gone: Gone::Retained(_) } => ("retained", reasons::DATABASE_REMOVED),
        SessionResult::Withdrawn { blocker, .. } => ("withdrawn", &blocker.reason),
        SessionResult::Ended { reason, .. } => ("ended", end_reason(*reason)),
        SessionResult::Rejected(blocker) => ("rejected", &blocker.reason),
        SessionResult::Released { .. } => ("ended", reasons::DELETED),
    }
}
