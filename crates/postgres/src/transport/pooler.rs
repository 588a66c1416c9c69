//! Signs that something between here and the server keeps connections of its own.
//!
//! Behind a pooler a session is not what it was made: settings of the startup packet are dropped, and in transaction
//! mode each message may meet another session. Statements that end an access still go through, as each message then
//! brings along what it needs; nothing is started.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rolecall_engine::{Finding, Reason};

/// How long a sign counts that was seen in passing: another client had the session that was meant.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// What to do about it.
pub(crate) const REMEDY: &str =
    "let uri name the server itself, past the pooler: the admin user needs sessions of its own";

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Signs(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// At the last login.
    login: Option<String>,
    /// While working.
    meanwhile: Option<(Instant, String)>,
}

impl Signs {
    /// What the last login showed.
    pub(crate) fn at_login(&self, sign: Option<String>) {
        self.seen().login = sign;
    }

    /// What a message was answered.
    pub(crate) fn note(&self, sign: String) {
        self.seen().meanwhile = Some((Instant::now(), sign));
    }

    /// What to report.
    pub(crate) fn finding(&self, address: &str) -> Option<Finding> {
        let mut seen = self.seen();
        seen.meanwhile.take_if(|(since, _)| since.elapsed() > KEPT);
        let sign = seen.login.as_ref().or(seen.meanwhile.as_ref().map(|(_, sign)| sign))?;
        Some(Finding::new(
            Reason::PoolerInBetween,
            address,
            format!("a connection pooler is between the operator and the server ({sign}): {REMEDY}"),
        ))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_login_decides_and_what_was_seen_since_is_kept() {
        let signs = Signs::default();
        assert!(signs.finding("db:5432").is_none());
        signs.at_login(Some("no settings".to_owned()));
        let finding = signs.finding("db:5432").unwrap();
        assert!(finding.message.contains("no settings") && finding.message.contains("uri"), "{finding:?}");
        signs.at_login(None);
        assert!(signs.finding("db:5432").is_none());
        signs.note("another backend".to_owned());
        signs.at_login(None);
        assert_eq!(signs.finding("db:5432").unwrap().reason, Reason::PoolerInBetween);
    }
}
