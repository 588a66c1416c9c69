//! What a synchronous standby has confirmed.
//!
//! With a synchronous standby lost a commit waits for ever: no time-out of the server ends that, its locks stay, and
//! nobody sees the change meanwhile. A wait that is cancelled is a success all the same: the change is made on this
//! server, and a failover to a standby that lacks it takes it back.
//!
//! So a login is closed without waiting (`synchronous_commit = local`: it survives a crash of this server). That an
//! access has ended is told only once a later change has been confirmed: standbys confirm in the order of the log, so
//! that one proves everything before it.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rolecall_engine::{AccountName, Class, Error, Reason};

use super::message::{Message, Reply};
use super::server::STANDBY_PATIENCE;

/// What is known of the ends that were made on this server.
#[derive(Debug, Default)]
pub(super) struct Standby {
    /// Something of ours was confirmed since this engine was made, and so was everything before.
    confirmed: AtomicBool,
    /// Ends that were not.
    unconfirmed: Mutex<HashSet<AccountName>>,
}

impl Standby {
    /// Has the end of this account been confirmed, as far as is known here? Of one that was ended by an operator before
    /// this one nothing is known until anything has been.
    pub(super) fn has_confirmed(&self, account: &AccountName) -> bool {
        self.confirmed.load(Relaxed) && !self.entries().contains(account)
    }

    /// The end of this account has been confirmed, or not.
    pub(super) fn note(&self, account: &AccountName, confirmed: bool) {
        if confirmed {
            self.confirmed.store(true, Relaxed);
            self.entries().remove(account);
        } else {
            self.entries().insert(account.clone());
        }
    }

    /// The account is in use again: its end is no matter any more.
    pub(super) fn forget(&self, account: &AccountName) {
        self.entries().remove(account);
    }

    fn entries(&self) -> MutexGuard<'_, HashSet<AccountName>> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the commit of this message wait for no standby.
pub(super) fn wait_for_none(message: &mut Message) {
    message.push("committing on this server", "SET LOCAL synchronous_commit = local");
}

/// Did the commit end its wait for the standby early, or may it have?
pub(super) fn is_doubtful(reply: &Reply) -> bool {
    reply.unconfirmed || reply.warned
}

/// Cancels the waits of our own changes that last for longer than a change of ours waits: whoever made them is gone.
pub(super) fn cancel_waits() -> Message {
    let mut message = Message::new();
    message.lock_timeout(200);
    message.ask(
        "cancelling changes that wait for a standby",
        format!(
            "SELECT pg_catalog.pg_cancel_backend(a.pid) FROM pg_catalog.pg_stat_activity a
WHERE a.usename = CURRENT_USER AND a.application_name = 'rolecall' AND a.wait_event = 'SyncRep'
  AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.query_start < pg_catalog.clock_timestamp() - '{} ms'::pg_catalog.interval",
            STANDBY_PATIENCE.as_millis()
        ),
    );
    message
}

/// Ends backends of ours that were given up within a statement; tells those that are still there.
pub(super) fn terminate(abandoned: &BTreeSet<i32>) -> Message {
    let list: Vec<String> = abandoned.iter().map(i32::to_string).collect();
    Message::one(
        "ending what was abandoned",
        format!(
            "SELECT a.pid, pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
WHERE a.usename = CURRENT_USER AND a.application_name = 'rolecall' AND a.pid = ANY (ARRAY[{}]::pg_catalog.int4[])",
            list.join(", ")
        ),
    )
}

/// They do not end.
pub(super) fn still_there(backends: usize) -> Error {
    Error {
        class: Class::Transient,
        reason: Reason::ServerRefused,
        attempted: "ending what was abandoned".to_owned(),
        code: String::new(),
        detail: format!("{backends} backends of the admin user may still carry out what they had begun"),
        remedy: "wait, or end them with pg_terminate_backend".to_owned(),
    }
}

/// The access is closed here, and no standby knows it.
pub(super) fn waits(account: &AccountName) -> Error {
    Error {
        class: Class::Transient,
        reason: Reason::WaitingForStandby,
        attempted: format!("ending the access of {:?}", account.as_str()),
        code: String::new(),
        detail: "its login is off and its connections are ended on this server, but the end waits for the standby: \
                 no synchronous standby has confirmed it, and a failover to one that lacks it would let the user in again"
            .to_owned(),
        remedy: "bring the standby back, or take it out of synchronous_standby_names and reload".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_proven_by_a_confirmation_that_came_later() {
        let (standby, alice, bob) = (Standby::default(), name("alice"), name("bob"));
        assert!(!standby.has_confirmed(&alice), "somebody else may have ended it without one");
        standby.note(&alice, false);
        standby.note(&bob, true);
        assert!(standby.has_confirmed(&bob) && !standby.has_confirmed(&alice));
        standby.note(&alice, true);
        assert!(standby.has_confirmed(&alice));
        standby.note(&alice, false);
        standby.forget(&alice);
        assert!(standby.has_confirmed(&alice));
    }

    fn name(text: &str) -> AccountName {
        AccountName::new(text).unwrap()
    }
}
