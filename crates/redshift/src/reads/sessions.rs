//! Whose session a row of stv_sessions is.
//!
//! The name there is that of the login, in 50 bytes, padded: `alice` by password, `IAM:alice` by GetClusterCredentials,
//! `IAMA:alice` where it may create users, and `IAMA:alice:group,...` with groups. Names are compared here and not in
//! a LIKE: `_` is a letter like any other in them.

use rolecall_engine::AccountName;

use crate::transport::rows::{Row, number, text};

/// A session of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The number of its process.
    pub(crate) process: i64,
    /// The name of its login, without padding.
    pub(crate) login: String,
}

/// Reads all sessions.
pub(crate) fn read(rows: &[Row]) -> Vec<Session> {
    rows.iter().map(|row| Session { process: number(row, 0), login: text(row, 1).to_owned() }).collect()
}

impl Session {
    /// Is it one of this user?
    pub(crate) fn is_of(&self, user: &str) -> bool {
        let name = ["IAMA:", "IAM:"].iter().find_map(|prefix| self.login.strip_prefix(prefix));
        let is_user = |login: &str| {
            login.strip_prefix(user).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        is_user(&self.login) || name.is_some_and(is_user)
    }
}

/// The sessions of an account.
pub(crate) fn of<'a>(sessions: &'a [Session], account: &'a AccountName) -> impl Iterator<Item = &'a Session> {
    sessions.iter().filter(|session| session.is_of(account.as_str()))
}

/// How many there are.
pub(crate) fn count(sessions: &[Session], account: &AccountName) -> u32 {
    u32::try_from(of(sessions, account).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::rows::tests::row;

    #[test]
    fn every_kind_of_login_shows_whose_it_is() {
        let rows = [
            row(["1", "alice                                             "]),
            row(["2", "IAM:alice                                         "]),
            row(["3", "IAMA:alice"]),
            row(["4", "IAMA:alice:readers,writers"]),
            row(["5", "alice2"]),
            row(["6", "IAM:alice2"]),
            row(["7", "IAMR:alice"]),
            row(["8", "xIAM:alice"]),
            row(["9", "rdsdb"]),
        ];
        let sessions = read(&rows);
        let alice = AccountName::new("alice").unwrap();
        let found: Vec<i64> = of(&sessions, &alice).map(|session| session.process).collect();
        assert_eq!(found, [1, 2, 3, 4]);
        assert_eq!(count(&sessions, &alice), 4);
    }

    #[test]
    fn the_longest_name_is_shown_whole_with_every_prefix() {
        const SHOWN: usize = 50;
        let longest = "x".repeat(rolecall_engine::dialect::redshift::name::MAX_USER_BYTES);
        for login in ["", "IAM:", "IAMA:"].map(|prefix| format!("{prefix}{longest}:readers")) {
            let shown = login.chars().take(SHOWN).collect();
            assert!(Session { process: 1, login: shown }.is_of(&longest), "{login}");
        }
    }

    #[test]
    fn an_underscore_is_no_wildcard() {
        assert!(!Session { process: 1, login: "IAM:axb".to_owned() }.is_of("a_b"));
    }
}
