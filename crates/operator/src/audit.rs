//! The audit log: who has, had, or did not get access to what. Its lines are in `docs/audit.md`.
//!
//! A line is written before the object says the same. Where the operator ends in between, the next one finds that the
//! object does not say it yet, and writes the line again: each is written at least once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::{DatabaseSession, reasons};
use rolecall_engine::HistoryChange;
use rolecall_ledger::{Entry, Event, Head};

use crate::model::{AccountKey, ObjectKey, session::recorded_username};
use crate::ports::{AuditLog, Need, Unwritten};

/// See the module.
#[derive(Debug)]
pub struct Audit {
    log: Arc<dyn AuditLog>,
    /// The last line about each session, by its uid: where the API server refuses the status for a long time, the
    /// status is retried, and the line is not repeated.
    last: Mutex<HashMap<String, (Event, String)>>,
}

/// What becomes of the access of a session.
#[derive(Clone, Copy, Debug)]
pub struct AuditEntry<'a> {
    /// `active`, `ending`, `ended` and the like.
    pub event: Event,
    /// Why.
    pub reason: &'a str,
    /// The server was read back and shows it.
    pub proven: bool,
    /// The access, where there is one.
    pub granted: Option<Granted<'a>>,
    /// Who approved it.
    pub approved_by: &'a [String],
    /// Who approved or denied it, where it is about that.
    pub by: &'a str,
    /// The hash of what is asked for, where it is about that.
    pub request_hash: &'a str,
}

/// An access that a session has, or is about to get.
#[derive(Clone, Copy, Debug)]
pub struct Granted<'a> {
    /// The database user.
    pub username: &'a str,
    /// The ProvisioningRoles that give it.
    pub roles: &'a [String],
    /// Its database roles.
    pub db_roles: &'a [String],
    /// Objects per privilege.
    pub permissions: Option<&'a BTreeMap<String, u64>>,
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
    ///
    /// # Errors
    ///
    /// That the line is not written. What needs it must not happen then; anything else goes on, and its line is kept.
    pub async fn session(
        &self,
        session: &DatabaseSession,
        entry: &AuditEntry<'_>,
        need: Need,
    ) -> Result<(), Unwritten> {
        let AuditEntry { event, reason, proven, granted, approved_by, by, request_hash } = *entry;
        let uid = session.uid().unwrap_or_default();
        let expires_at = granted.and_then(|granted| granted.expires_at);
        let db_roles = granted.map(|granted| granted.db_roles.to_vec()).unwrap_or_default();
        let what = match event {
            // Each change is one of its own.
            Event::Changed => format!("{db_roles:?} until {expires_at:?}"),
            Event::Granting => format!("{reason}: {db_roles:?}"),
            // Each request, and each decision about one.
            Event::Requested | Event::Approved | Event::Denied => format!("{by}: {request_hash}"),
            _ => reason.to_owned(),
        };
        let line = (event, what);
        if self.last().get(&uid) == Some(&line) {
            return Ok(());
        }
        let recorded = || recorded_username(session).unwrap_or_default();
        let entry = Entry {
            session: session.name_any(),
            namespace: session.namespace().unwrap_or_default(),
            uid: uid.clone(),
            user: session.spec.user.clone(),
            database: session.spec.database.clone(),
            database_name: session.spec.database_name.clone().unwrap_or_default(),
            username: granted.map_or_else(recorded, |granted| granted.username).to_owned(),
            reason: reason.to_owned(),
            proven,
            roles: granted.map(|granted| granted.roles.to_vec()).unwrap_or_default(),
            db_roles,
            permissions: granted.and_then(|granted| granted.permissions).cloned().unwrap_or_default(),
            started_at: crate::model::session::started_at(session).filter(|_| granted.is_none()),
            expires_at,
            why: session.spec.reason.clone().unwrap_or_default(),
            approved_by: approved_by.to_vec(),
            by: by.to_owned(),
            request_hash: request_hash.to_owned(),
            requested_by: session.spec.requested_by.clone().unwrap_or_default(),
            ..Entry::new(event)
        };
        let written = self.log.write(entry, need).await;
        match &written {
            Err(_) if need == Need::Before => {
                // What was said of it before has come to nothing: if it is tried again, that is said again.
                self.forget(&uid);
            }
            _ => {
                self.last().insert(uid, line);
            }
        }
        written
    }

    /// What becomes of an account that was enabled though no session accounts for it.
    pub async fn orphan(&self, key: &AccountKey, access: OrphanAccess) {
        let is_over = access == OrphanAccess::Ended;
        let event = if is_over { Event::Ended } else { Event::Ending };
        let line = (event, reasons::ORPHAN_ENDED.to_owned());
        if self.last().insert(format!("account {key}"), line.clone()) == Some(line) {
            return;
        }
        if is_over {
            self.forget(&format!("account {key}"));
        }
        self.keep(Entry {
            reason: reasons::ORPHAN_ENDED.to_owned(),
            proven: is_over,
            ..of_account(key, event)
        })
        .await;
    }

    /// Was the last line about this account that the access through it is about to be taken away?
    pub fn orphan_is_ending(&self, key: &AccountKey) -> bool {
        self.last().get(&format!("account {key}")).is_some_and(|(event, _)| *event == Event::Ending)
    }

    /// Nothing more is said of an account that no session accounts for.
    pub fn forget_orphan(&self, key: &AccountKey) {
        self.forget(&format!("account {key}"));
    }

    /// An access came back though it was over.
    pub async fn returned(&self, key: &AccountKey, action: &str, cause: &str) {
        let entry = Entry {
            action: action.to_owned(),
            cause: cause.to_owned(),
            reason: reasons::ACCESS_RETURNED.to_owned(),
            ..of_account(key, Event::Returned)
        };
        self.keep(entry).await;
    }

    /// A server may have lost changes.
    pub async fn failover(&self, admin: &ObjectKey, change: &HistoryChange) {
        let entry = Entry {
            database: admin.name.to_string(),
            namespace: admin.namespace.to_string(),
            cause: change.to_string(),
            reason: reasons::FAILOVER.to_owned(),
            ..Entry::new(Event::Failover)
        };
        self.keep(entry).await;
    }

    /// What the last line about a session was, as far as this process knows.
    pub fn last_event(&self, uid: &str) -> Option<Event> {
        self.last().get(uid).map(|(event, _)| *event)
    }

    /// A session is gone.
    pub fn forget(&self, uid: &str) {
        self.last().remove(uid);
    }

    /// This operator works from now on. `published`: the line that the one before it published last.
    pub fn begin(&self, published: Option<String>) {
        self.log.begin(published);
    }

    /// The last line that was written, to be published.
    pub fn head(&self) -> Option<Head> {
        self.log.head()
    }

    /// Waits a moment for what is being written. Nothing is written afterwards.
    pub async fn close(&self) {
        self.log.close().await;
    }

    /// Writes about what happens in any case.
    async fn keep(&self, entry: Entry) {
        if let Err(error) = self.log.write(entry, Need::Kept).await {
            tracing::debug!(%error, "a line is kept until it can be written");
        }
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn last(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Event, String)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_account(key: &AccountKey, event: Event) -> Entry {
    Entry {
        namespace: key.admin.namespace.to_string(),
        database: key.admin.name.to_string(),
        username: key.username.to_string(),
        ..Entry::new(event)
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! An audit log for tests that do not look at it.

    use futures::future::BoxFuture;

    use super::*;

    #[derive(Debug)]
    pub(crate) struct Nowhere;

    impl AuditLog for Nowhere {
        fn write(&self, _: Entry, _: Need) -> BoxFuture<'_, Result<(), Unwritten>> {
            Box::pin(async { Ok(()) })
        }
    }
}
