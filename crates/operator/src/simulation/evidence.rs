//! What was seen and said, and what was found to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_engine::Account;

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
    /// Accounts that somebody opened by hand or took the finalizer of, or that were let go with a word: what they are
    /// says nothing before things have settled.
    pub(super) excused: BTreeSet<Login>,
    /// Accounts that were let go with a word, for good.
    pub(super) let_go: BTreeSet<Login>,
    /// How often each account was looked at.
    pub(super) observed: BTreeMap<Login, u32>,
    /// How often each thing was said in the audit log.
    pub(super) lines: BTreeMap<String, u32>,
    /// Writes that changed something: to the API server, and plans.
    pub(super) writes: u32,
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
        self.excused.contains(account) || self.let_go.contains(account)
    }

    pub(super) fn excuse(&mut self, host: &'static str, username: &str) {
        self.excused.insert((host, username.to_owned()));
    }
}
