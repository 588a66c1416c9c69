//! What a SQLSTATE means. Message texts are never compared: servers speak other languages.
//!
//! Redshift documents few of them, so where it can be read what is so, it is read instead.

use rolecall_engine::{Class, Reason};

pub(crate) const INSUFFICIENT_PRIVILEGE: &str = "42501";
pub(crate) const UNDEFINED_OBJECT: &str = "42704";
pub(crate) const UNDEFINED_TABLE: &str = "42P01";
pub(crate) const UNDEFINED_FUNCTION: &str = "42883";
pub(crate) const UNDEFINED_SCHEMA: &str = "3F000";
/// Something depends on the user.
pub(crate) const OBJECT_IN_USE: &str = "55006";
/// The login is refused; a wrong password as well.
pub(crate) const LOGIN_REFUSED: &str = "28000";

/// Did another transaction get in the way? The same is tried again, on another connection: the old one stays broken.
///
/// `XX000`: "could not complete because of conflict with concurrent transaction".
pub fn is_conflict(code: &str) -> bool {
    matches!(code, "XX000" | "40001" | "40P01" | "25P02")
}

/// Is the object of a statement gone?
pub(crate) fn is_gone(code: &str) -> bool {
    matches!(code, UNDEFINED_OBJECT | UNDEFINED_TABLE | UNDEFINED_FUNCTION | UNDEFINED_SCHEMA)
}

/// May another logical database do where the admin user cannot log in to this one? Whatever the server says may be
/// about the database, but that the login is refused or the user unknown, or that it starts or stops.
pub(crate) fn may_be_about_the_database(code: &str) -> bool {
    !matches!(code, "" | LOGIN_REFUSED | "28P01" | UNDEFINED_OBJECT | "57P01" | "57P02" | "57P03")
}

/// What a SQLSTATE means where the server refuses a connection, or ends one.
pub(crate) fn meaning_of_login(code: &str) -> (Class, Reason) {
    match code {
        LOGIN_REFUSED | "28P01" | UNDEFINED_OBJECT => (Class::Unreachable, Reason::LoginFailed),
        _ => meaning(code),
    }
}

/// What a SQLSTATE means for the caller where a statement fails with it.
pub fn meaning(code: &str) -> (Class, Reason) {
    match code {
        _ if is_conflict(code) => (Class::Transient, Reason::ServerRefused),
        // Somebody created it meanwhile; the next read shows it.
        "42710" => (Class::Transient, Reason::ServerRefused),
        // Cancelled by a time-out of ours, or out of resources.
        "57014" | "53000" | "53100" | "53200" | "53400" => (Class::Transient, Reason::ServerRefused),
        "57P01" | "57P02" | "57P03" | "53300" => (Class::Unreachable, Reason::DatabaseUnreachable),
        "25006" => (Class::Refused, Reason::ReadOnlyEndpoint),
        "3D000" => (Class::Refused, Reason::DatabaseNameNotFound),
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
    fn conflicts_are_tried_again_and_nothing_else() {
        for code in ["XX000", "40001", "40P01", "25P02"] {
            assert!(is_conflict(code), "{code}");
            assert_eq!(meaning(code).0, Class::Transient, "{code}");
        }
        for code in ["42704", "42710", "42501", "55006", "0A000", "57P01", ""] {
            assert!(!is_conflict(code), "{code}");
        }
    }

    #[test]
    fn a_user_that_does_not_exist_is_a_login_that_failed() {
        assert_eq!(meaning_of_login("42704"), (Class::Unreachable, Reason::LoginFailed));
        assert_eq!(meaning("42704"), (Class::Refused, Reason::DbRoleNotFound));
        assert!(may_be_about_the_database("3D000") && !may_be_about_the_database("28000"));
    }
}
