//! What the admin user can see at all. Views show each user what concerns it and leave the rest out without a word: an
//! admin user who does not see others would take everybody for closed and gone.

use rolecall_engine::{Class, Error, Finding, Reason};

use super::sessions::Session;
use super::users::Users;
use crate::quote::identifier;

/// The server's own user, which has sessions at all times.
pub(crate) const SERVER_USER: &str = "rdsdb";

/// What the admin user sees of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Whether they can log in.
    pub(crate) users: bool,
    /// Their sessions.
    pub(crate) sessions: bool,
    /// It has SYSLOG ACCESS UNRESTRICTED already.
    unrestricted: bool,
    is_superuser: bool,
}

impl Sight {
    /// By what was read: of users in any case the admin user and the server's own one.
    pub(crate) fn of(users: &Users, sessions: Option<&[Session]>, admin: &str) -> Self {
        let is_superuser = users.users.get(admin).is_some_and(|user| user.is_superuser);
        let others = || users.info.keys().any(|name| name != admin);
        // A superuser sees at least the session that asks.
        let is_seen = |session: &Session| is_superuser || !session.is_of(admin);
        Self {
            users: is_superuser || others(),
            sessions: sessions.is_none_or(|sessions| sessions.iter().any(is_seen)),
            unrestricted: users.info.get(admin).is_some_and(|info| info.sees_others),
            is_superuser,
        }
    }

    /// Does it see everything that an end is proven by?
    pub(crate) fn is_clear(&self) -> bool {
        self.users && self.sessions
    }

    /// May it see who has which privileges on objects?
    pub(crate) fn sees_privileges(&self) -> bool {
        self.is_superuser || self.unrestricted
    }

    /// What it does not see.
    fn missing(&self) -> &'static str {
        match (self.users, self.sessions) {
            (false, false) => "sees neither whether other users can log in nor their sessions",
            (false, true) => "does not see whether other users can log in",
            (true, false) => "does not see the sessions of other users",
            (true, true) => "does not see the privileges of other roles",
        }
    }

    /// The statement that lets it see.
    fn remedy(&self, admin: &str) -> String {
        let admin = identifier(admin);
        if self.unrestricted {
            // The password of a superuser cannot be disabled: a random verifier stands for none.
            format!("run ALTER USER {admin} PASSWORD 'md5<32 random hexadecimal digits>' CREATEUSER")
        } else {
            format!("run ALTER USER {admin} SYSLOG ACCESS UNRESTRICTED")
        }
    }

    /// For the preflight.
    pub(crate) fn finding(&self, admin: &str) -> Option<Finding> {
        (!self.is_clear()).then(|| Finding {
            reason: Reason::MissingSystemAccess,
            object: admin.to_owned(),
            message: format!(
                "the admin user {}, so that no end of an access can be proven: {}",
                self.missing(),
                self.remedy(admin)
            ),
        })
    }

    /// For everything else.
    pub(crate) fn error(&self, attempted: impl Into<String>, admin: &str) -> Error {
        Error {
            class: Class::Refused,
            reason: Reason::MissingSystemAccess,
            attempted: attempted.into(),
            code: String::new(),
            detail: format!("the admin user {}", self.missing()),
            remedy: self.remedy(admin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sessions;
    use super::*;
    use crate::transport::rows::tests::row;

    fn sight(superuser: &str, syslog: &str, sees_users: bool, logins: &[&str]) -> Sight {
        let own = ["admin", "f", superuser, "UNLIMITED", syslog, "0"];
        let server = ["rdsdb", "f", "t", "UNLIMITED", "RESTRICTED", "0"];
        let info = if sees_users { vec![row(own), row(server)] } else { vec![row(own)] };
        let users = Users::read(&[row(["admin", "100", superuser, "", ""])], &info, &[]);
        let rows: Vec<_> = logins.iter().map(|login| row(["1", login])).collect();
        Sight::of(&users, Some(&sessions::read(&rows)), "admin")
    }

    #[test]
    fn who_sees_only_itself_is_blind() {
        let blind = sight("f", "RESTRICTED", false, &["IAM:admin"]);
        assert!(!blind.users && !blind.sessions);
        let finding = blind.finding("admin").unwrap();
        assert_eq!(finding.reason, Reason::MissingSystemAccess);
        assert!(
            finding.message.contains("ALTER USER \"admin\" SYSLOG ACCESS UNRESTRICTED"),
            "{}",
            finding.message
        );
    }

    #[test]
    fn where_that_did_not_help_a_superuser_is_needed() {
        let half = sight("f", "UNRESTRICTED", false, &["IAM:admin", "rdsdb"]);
        assert!(!half.users && half.sessions && half.sees_privileges());
        let message = half.error("reading", "admin").to_string();
        assert!(
            message.contains("CREATEUSER") && message.contains("does not see whether other users can log in"),
            "{message}"
        );
    }

    #[test]
    fn who_sees_others_or_everything_sees_enough() {
        assert!(sight("f", "RESTRICTED", true, &["rdsdb"]).is_clear());
        let superuser = sight("t", "RESTRICTED", false, &["IAM:admin"]);
        assert!(superuser.is_clear());
        assert_eq!(superuser.finding("admin"), None);
        assert!(!sight("t", "RESTRICTED", false, &[]).is_clear(), "not even its own session");
    }
}
