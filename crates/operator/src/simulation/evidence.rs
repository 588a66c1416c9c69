//! What was seen and said, and what was found to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_engine::Account;

use super::moves::Move;

/// A server and a user on it.
pub(super) type Login = (&'static str, String);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) violations: Vec<String>,
    /// How the server showed an account to this operator last; `None`: not since its login was changed.
    pub(super) shown: BTreeMap<Login, bool>,
    /// What the audit log said of a session last.
    pub(super) said: BTreeMap<String, String>,
    /// Sessions of which the audit log said that they are about to get access, and not yet that they have none.
    pub(super) granting: BTreeMap<String, Login>,
    /// Accounts that somebody enabled by hand or took the finalizer of, or that were released with an event: their
    /// state is not checked before everything has settled.
    pub(super) excused: BTreeSet<Login>,
    /// Accounts that were released for good, with an event.
    pub(super) released: BTreeSet<Login>,
    /// How often each account was read.
    pub(super) observed: BTreeMap<Login, u32>,
    /// How often each kind of line was written to the audit log.
    pub(super) lines: BTreeMap<String, u32>,
    /// From which phase to which sessions went.
    pub(super) moves: BTreeSet<Move>,
    /// What was approved by somebody else: the uid of the session, and the hash of what it asked for.
    pub(super) approved: BTreeSet<(String, String)>,
    /// Who approved a session, as the last line about its access says.
    pub(super) approvers: BTreeMap<String, Vec<String>>,
    /// Writes that changed something: to the API server, and plans.
    pub(super) writes: u32,
    /// What was asked of the API server, watches left out: verb, kind and name.
    pub(super) requests: Vec<String>,
}

impl Evidence {
    pub(super) fn begin_life(&mut self) {
        self.shown.clear();
    }

    pub(super) fn observed(&mut self, host: &'static str, username: &str) {
        *self.observed.entry((host, username.to_owned())).or_default() += 1;
    }

    /// A server has answered what an account is.
    pub(super) fn shown(&mut self, host: &'static str, username: &str, account: Option<&Account>) {
        let open =
            account.is_some_and(|account| account.managed && (account.enabled || account.backends > 0));
        self.shown.insert((host, username.to_owned()), open);
    }

    pub(super) fn is_excused(&self, account: &Login) -> bool {
        self.excused.contains(account) || self.released.contains(account)
    }

    pub(super) fn excuse(&mut self, host: &'static str, username: &str) {
        self.excused.insert((host, username.to_owned()));
    }
}
