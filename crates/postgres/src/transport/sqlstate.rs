//! What a SQLSTATE means. Message texts are never compared: servers speak other languages.

use rolecall_engine::{Class, Reason};

/// Of our own: under the lock the account is not what it was when the plan was made.
pub(crate) const CHANGED: &str = "RC001";
/// Of our own: the account itself has rights on objects.
pub(crate) const HOLDS_RIGHTS: &str = "RC002";
/// Of our own: a role with the name of a permission set does not carry our record.
pub(crate) const NOT_OURS: &str = "RC003";
/// Of our own: what the account owns carries code that would run with the rights of its new owner, or more is owned than
/// may be dropped.
pub(crate) const CARRIES_CODE: &str = "RC004";
/// Of our own: something would be lost if the account were made anew.
pub(crate) const NOT_MADE_ANEW: &str = "RC005";

/// How our own checks fail: plain SQL has no other way, and not every database has PL/pgSQL.
pub(crate) const DIVISION_BY_ZERO: &str = "22012";

pub(crate) const INSUFFICIENT_PRIVILEGE: &str = "42501";
pub(crate) const UNDEFINED_OBJECT: &str = "42704";
pub(crate) const UNDEFINED_DATABASE: &str = "3D000";
pub(crate) const DEPENDENT_OBJECTS: &str = "2BP01";
pub(crate) const LOCK_NOT_AVAILABLE: &str = "55P03";
pub(crate) const READ_ONLY: &str = "25006";
pub(crate) const PROTOCOL_VIOLATION: &str = "08P01";
pub(crate) const TOO_MANY_CONNECTIONS: &str = "53300";
pub(crate) const QUERY_CANCELED: &str = "57014";
/// EXECUTE of what was not prepared, PREPARE of what is prepared already: the session is not the one that was meant.
pub(crate) const OTHER_SESSION: [&str; 2] = ["26000", "42P05"];
/// The class of warnings. A wait for a synchronous standby that was cancelled shows as one.
pub(crate) const WARNING: &str = "01000";

/// Is the same transaction run again at once (a few times, with jitter) rather than reported?
///
/// Only where another transaction got in the way: serialization failure, deadlock, a unique or exclusion violation
/// (somebody created the same at the same moment), lock time-out, and "tuple concurrently updated" (XX000).
pub fn is_retried(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "23505" | "23P01" | "55P03" | "XX000")
}

/// What the admin user logs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginBy {
    /// A client certificate.
    Certificate,
    /// A password that stays.
    Password,
    /// A password that changes over time.
    Token,
}

/// May another logical database do where the admin user cannot log in to this one? Whatever the server says of a login
/// can be about the database alone (it is gone, full, closed, has a library that cannot be loaded, a rule of its own in
/// pg_hba.conf, a login event trigger), but that it is starting or stopping, or that what the admin user logs in with is
/// wrong: of a password 28P01 says so, of a token 28000, too.
pub(crate) fn may_be_about_the_database(code: &str, by: LoginBy) -> bool {
    match code {
        "" | "57P01" | "57P02" | "57P03" => false,
        "28P01" => by == LoginBy::Certificate,
        "28000" => by != LoginBy::Token,
        _ => true,
    }
}

/// Does a statement that may run in any logical database fail because of the one that it ran in? A name has no letters
/// there, or the database's own files are at fault; where it only reads, also: its catalogues are locked.
pub(crate) fn is_about_the_database(code: &str, reads: bool) -> bool {
    match code {
        "22P05" | "22021" | "57P04" | "58P01" | "58030" | "XX001" | "XX002" => true,
        LOCK_NOT_AVAILABLE | QUERY_CANCELED => reads,
        _ => false,
    }
}

/// May a rule of an extension be behind it, which checks statements about roles (credcheck, passwordcheck)? The server
/// itself refuses logins with the first two, and no such statement.
pub(crate) fn is_of_a_rule(code: &str) -> bool {
    matches!(code, "28000" | "28P01" | "22023")
}

/// Has the server refused what the admin user logs in with?
pub(crate) fn is_of_login(code: &str) -> bool {
    matches!(code, "28000" | "28P01")
}

/// What a SQLSTATE means where the server ends a connection with it, or refuses a new one.
pub(crate) fn meaning_of_login(code: &str) -> (Class, Reason) {
    match code {
        _ if is_of_login(code) => (Class::Unreachable, Reason::LoginFailed),
        _ => meaning(code),
    }
}

/// What a SQLSTATE means for the caller where a statement fails with it.
pub fn meaning(code: &str) -> (Class, Reason) {
    match code {
        _ if is_retried(code) => (Class::Transient, Reason::ServerRefused),
        CHANGED | HOLDS_RIGHTS => (Class::Transient, Reason::AccountInUse),
        NOT_OURS => (Class::Refused, Reason::DbRoleNotGrantable),
        CARRIES_CODE => (Class::Refused, Reason::CannotReassign),
        // Somebody created it meanwhile; the next read shows it.
        "42710" => (Class::Transient, Reason::ServerRefused),
        // Cancelled by a time-out of ours, out of resources, or the transaction is already dead.
        "57014" | "25P02" | "25P03" | "25P04" => (Class::Transient, Reason::ServerRefused),
        "53000" | "53100" | "53200" | "53400" => (Class::Transient, Reason::ServerRefused),
        // Shutting down, starting, crashed, full.
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" => (Class::Unreachable, Reason::DatabaseUnreachable),
        READ_ONLY => (Class::Refused, Reason::ReadOnlyEndpoint),
        "3D000" | "55000" => (Class::Refused, Reason::DatabaseNameNotFound),
        UNDEFINED_OBJECT => (Class::Refused, Reason::DbRoleNotFound),
        INSUFFICIENT_PRIVILEGE => (Class::Refused, Reason::MissingAdminOption),
        _ if code.starts_with("08") => (Class::Unreachable, Reason::DatabaseUnreachable),
        _ => (Class::Refused, Reason::ServerRefused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_may_concern_one_database_is_recognized() {
        let [x509, password, token] = [LoginBy::Certificate, LoginBy::Password, LoginBy::Token];
        for code in ["3D000", "55000", "42501", "53300", "58P01", "42P01", "P0001", "28000", "57P05", "08P01"]
        {
            assert!(may_be_about_the_database(code, password), "{code}");
        }
        for code in ["57P01", "57P03", ""] {
            assert!(!may_be_about_the_database(code, x509), "{code}");
        }
        assert!(may_be_about_the_database("28P01", x509) && !may_be_about_the_database("28P01", password));
        for code in ["28P01", "28000"] {
            assert!(!may_be_about_the_database(code, token), "{code}");
        }
        assert!(may_be_about_the_database("3D000", token));
        assert!(is_about_the_database("55P03", true) && !is_about_the_database("55P03", false));
        assert!(is_about_the_database("22P05", false) && !is_about_the_database("42501", true));
    }

    #[test]
    fn a_statement_that_a_rule_refuses_is_no_login_that_failed() {
        for code in ["28000", "28P01"] {
            assert!(is_of_a_rule(code));
            assert_eq!(meaning(code), (Class::Refused, Reason::ServerRefused), "{code}");
            assert_eq!(meaning_of_login(code), (Class::Unreachable, Reason::LoginFailed), "{code}");
        }
        assert_eq!(meaning("22023"), (Class::Refused, Reason::ServerRefused));
        assert_eq!(meaning_of_login("57P01"), meaning("57P01"));
    }

    #[test]
    fn conflicts_are_retried_and_nothing_else() {
        for code in ["40001", "40P01", "23505", "23P01", "55P03", "XX000"] {
            assert!(is_retried(code), "{code}");
            assert_eq!(meaning(code).0, Class::Transient, "{code}");
        }
        for code in ["42704", "42710", "42501", "2BP01", "0LP01", "25006", "57P01", "RC001", ""] {
            assert!(!is_retried(code), "{code}");
        }
    }
}
