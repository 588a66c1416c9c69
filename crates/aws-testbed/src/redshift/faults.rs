//! What a test can make go wrong, and what it can ask.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use super::server::Redshift;
use super::state::FAILED_LOGINS;

impl Redshift {
    /// The next statements of a kind fail as if another transaction had been faster (XX000). Kinds are commands in lower
    /// case (`create user`, `grant role`) and reads with their view (`select stv_sessions`); empty is any.
    pub fn conflict_next(&self, kind: &str, times: u32) {
        self.fail_next(kind, times, "XX000");
    }

    /// The next statements of a kind fail with this SQLSTATE.
    pub fn fail_next(&self, kind: &str, times: u32, code: &'static str) {
        self.shared.lock().faults.fail.push((times, kind.to_owned(), code));
    }

    /// The next statements of a kind do nothing, and the server says that they are done.
    pub fn ignore_next(&self, kind: &str, times: u32) {
        self.shared.lock().faults.ignored.push((times, kind.to_owned()));
    }

    /// The next statements of a kind are done, and the server gives no answer to them.
    pub fn leave_unanswered(&self, kind: &str, times: u32) {
        self.shared.lock().faults.unanswered.push((times, kind.to_owned()));
    }

    /// A view shows nothing any more, or again what there is.
    pub fn blank(&self, view: &str, is_blank: bool) {
        let blank = &mut self.shared.lock().faults.blank;
        if is_blank {
            blank.insert(view.to_owned());
        } else {
            blank.remove(view);
        }
    }

    /// Statements of a kind take longer by this from now on; none ends it.
    pub fn delay(&self, kind: &str, delay: Option<Duration>) {
        let mut state = self.shared.lock();
        state.faults.delays.retain(|(of, _)| of != kind);
        state.faults.delays.extend(delay.map(|delay| (kind.to_owned(), delay)));
    }

    /// Answers nobody any more, without closing anything, until [`Self::thaw`].
    pub fn freeze(&self) {
        self.shared.frozen.send_replace(true);
    }

    /// Ends [`Self::freeze`].
    pub fn thaw(&self) {
        self.shared.frozen.send_replace(false);
    }

    /// Breaks all open connections without a word.
    pub fn drop_connections(&self) {
        self.shared.cut();
    }

    /// Closes new connections at once, or no longer.
    pub fn set_down(&self, down: bool) {
        self.shared.lock().faults.down = down;
    }

    /// Locks a password user out, as five wrong passwords do.
    pub fn lock_out(&self, user: &str) {
        let mut state = self.shared.lock();
        if let Some(id) = state.committed.user(user).map(|user| user.id) {
            state.failed_logins.insert(id, FAILED_LOGINS);
        }
    }

    /// Moves the server's clock ahead, so that passwords run out and pg_stat_activity catches up.
    pub fn advance(&self, by: SignedDuration) {
        let mut state = self.shared.lock();
        state.ahead = state.ahead.saturating_add(by);
    }

    /// How many statements of each kind arrived, and logins.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.shared.lock().counts.clone()
    }

    /// Counts from nothing again.
    pub fn reset_counts(&self) {
        self.shared.lock().counts.clear();
    }

    /// Every text that arrived, with the login that sent it.
    pub fn statements(&self) -> Vec<(String, String)> {
        self.shared.lock().log.clone()
    }
}
