//! The audit log: who has, had, or did not get access to what. Its fields are in `docs/audit.md`.
//!
//! A line is written before the object says the same. Where the operator ends in between, the next one finds that the
//! object does not say it yet, and writes the line again: each is written at least once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::{DatabaseSession, reasons};
use rolecall_engine::HistoryChange;

use crate::model::{AccountKey, ObjectKey, session::recorded_username};
use crate::ports::{Access, AuditLine, AuditLog};

/// See the module.
#[derive(Debug)]
pub struct Audit {
    log: Arc<dyn AuditLog>,
    /// The last line about each session, by its uid: where the API server refuses the status for a long time, the
    /// status is retried, and the line is not repeated.
    last: Mutex<HashMap<String, (&'static str, String)>>,
}

/// What became of the access of a session.
#[derive(Clone, Copy, Debug)]
pub struct AuditEntry<'a> {
    /// `active`, `ending`, `ended` and the like.
    pub access: &'static str,
    /// Why.
    pub reason: &'a str,
    /// The access, where there is one.
    pub granted: Option<Granted<'a>>,
}

/// An access that a session has.
#[derive(Clone, Copy, Debug)]
pub struct Granted<'a> {
    /// The database user.
    pub username: &'a str,
    /// Its database roles.
    pub db_roles: &'a [String],
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// What becomes of the access through an account that no session accounts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanAccess {
    /// It is about to be taken away.
    Ending,
    /// The server shows it gone.
    Ended,
}

impl Audit {
    /// Written to that log.
    pub fn new(log: Arc<dyn AuditLog>) -> Self {
        Self { log, last: Mutex::default() }
    }

    /// What becomes of a session.
    pub fn session(&self, session: &DatabaseSession, entry: &AuditEntry<'_>) {
        let AuditEntry { access, reason, granted } = *entry;
        let uid = session.uid().unwrap_or_default();
        let line = (access, reason.to_owned());
        if self.last().insert(uid.clone(), line.clone()) == Some(line) {
            return;
        }
        let recorded = || recorded_username(session).unwrap_or_default();
        let expires_at = granted.and_then(|granted| granted.expires_at);
        self.log.write(&AuditLine::Access(Access {
            session: &session.name_any(),
            namespace: &session.namespace().unwrap_or_default(),
            uid: &uid,
            user: &session.spec.user,
            database: &session.spec.database,
            database_name: session.spec.database_name.as_deref().unwrap_or_default(),
            username: granted.map_or_else(recorded, |granted| granted.username),
            access,
            reason,
            db_roles: granted.map(|granted| granted.db_roles.join(",")).unwrap_or_default(),
            expires_at: expires_at.map(|at| at.to_string()).unwrap_or_default(),
            why: session.spec.reason.as_deref().unwrap_or_default(),
        }));
    }

    /// What becomes of an account that was enabled though no session accounts for it.
    pub fn orphan(&self, key: &AccountKey, access: OrphanAccess) {
        let is_over = access == OrphanAccess::Ended;
        let access = if is_over { "ended" } else { "ending" };
        let line = (access, reasons::ORPHAN_ENDED.to_owned());
        if self.last().insert(format!("account {key}"), line.clone()) == Some(line) {
            return;
        }
        if is_over {
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

    /// Was the last line about this account that the access through it is about to be taken away?
    pub fn orphan_is_ending(&self, key: &AccountKey) -> bool {
        self.last().get(&format!("account {key}")).is_some_and(|(access, _)| *access == "ending")
    }

    /// Nothing more is said of an account that no session accounts for.
    pub fn forget_orphan(&self, key: &AccountKey) {
        self.forget(&format!("account {key}"));
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
