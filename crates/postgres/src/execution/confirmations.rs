//! What a synchronous standby has confirmed: see `transport::standby`.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rolecall_engine::{AccountName, Class, Error, Reason};

/// What is known of the ends that were made on this server.
#[derive(Debug, Default)]
pub(crate) struct Confirmations {
    /// Something of ours was confirmed since this engine was made, and so was everything before.
    confirmed: AtomicBool,
    /// Ends that were not.
    unconfirmed: Mutex<HashSet<AccountName>>,
}

impl Confirmations {
    /// Is the end of this account known to be confirmed? Of one that was ended by an operator before
    /// this one nothing is known until anything has been.
    pub(crate) fn has_confirmed(&self, account: &AccountName) -> bool {
        self.confirmed.load(Relaxed) && !self.entries().contains(account)
    }

    /// The end of this account has been confirmed, or not.
    pub(crate) fn note(&self, account: &AccountName, confirmed: bool) {
        if confirmed {
            self.confirmed.store(true, Relaxed);
            self.entries().remove(account);
        } else {
            self.entries().insert(account.clone());
        }
    }

    /// The account is in use again: its end does not matter any more.
    pub(crate) fn forget(&self, account: &AccountName) {
        self.entries().remove(account);
    }

    fn entries(&self) -> MutexGuard<'_, HashSet<AccountName>> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The access is closed here, and no standby knows it.
pub(crate) fn waits(account: &AccountName) -> Error {
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
        let (confirmations, alice, bob) = (Confirmations::default(), name("alice"), name("bob"));
        assert!(!confirmations.has_confirmed(&alice), "somebody else may have ended it without one");
        confirmations.note(&alice, false);
        confirmations.note(&bob, true);
        assert!(confirmations.has_confirmed(&bob) && !confirmations.has_confirmed(&alice));
        confirmations.note(&alice, true);
        assert!(confirmations.has_confirmed(&alice));
        confirmations.note(&alice, false);
        confirmations.forget(&alice);
        assert!(confirmations.has_confirmed(&alice));
    }

    fn name(text: &str) -> AccountName {
        AccountName::new(text).unwrap()
    }
}
