//! When accounts were disabled, or were seen not to be there any more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mongodb::bson::Timestamp;

use rolecall_engine::AccountName;

/// The moments since which accounts are disabled (or gone), as a majority has confirmed them: what a member must have made
/// to keep the account out.
///
/// Not state of an account: where an entry is missing, the moment at which the account was read to be disabled does, which
/// is later. A moment is kept after the end is complete, so that a member that always lags a little does not seem to let
/// the account in again with each reading.
#[derive(Debug, Default)]
pub(crate) struct Locks(Mutex<HashMap<AccountName, Timestamp>>);

impl Locks {
    /// Since when the account is disabled; `None` where that is not known.
    pub(crate) fn of(&self, account: &AccountName) -> Option<Timestamp> {
        self.entries().get(account).copied()
    }

    pub(crate) fn remember(&self, account: &AccountName, at: Timestamp) {
        self.entries().insert(account.clone(), at);
    }

    /// For an account that was seen not to be disabled (or gone) any more.
    pub(crate) fn forget(&self, account: &AccountName) {
        self.entries().remove(account);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<AccountName, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
