//! What MongoDB's error codes mean. Message texts are never compared.

use rolecall_engine::{Class, Reason};

pub(crate) const BAD_VALUE: i32 = 2;
pub(crate) const USER_NOT_FOUND: i32 = 11;
pub(crate) const UNAUTHORIZED: i32 = 13;
pub(crate) const AUTHENTICATION_FAILED: i32 = 18;
pub(crate) const ROLE_NOT_FOUND: i32 = 31;
pub(crate) const WRITE_CONCERN_FAILED: i32 = 64;
pub(crate) const ROLE_EXISTS: i32 = 51002;
pub(crate) const USER_EXISTS: i32 = 51003;

/// As [`Error::code`](crate::Error) has it.
pub(crate) fn text(code: i32) -> String {
    format!("MongoDB {code}")
}

/// The server is not primary any more, shuts down, or recovers: another may be primary in a moment.
pub(crate) fn is_election(code: i32) -> bool {
    matches!(code, 10107 | 13435 | 10058 | 189 | 11600 | 11602 | 13436 | 91)
}

/// What a code means for the caller.
pub(crate) fn meaning(code: i32) -> (Class, Reason) {
    match code {
        _ if is_election(code) => (Class::Unreachable, Reason::DatabaseUnreachable),
        // The connection of the server to another one.
        6 | 7 | 89 | 9001 => (Class::Unreachable, Reason::DatabaseUnreachable),
        AUTHENTICATION_FAILED => (Class::Unreachable, Reason::LoginFailed),
        UNAUTHORIZED => (Class::Refused, Reason::MissingMongoPrivileges),
        ROLE_NOT_FOUND => (Class::Refused, Reason::DbRoleNotFound),
        // Somebody was quicker; the next reading sees it.
        USER_NOT_FOUND => (Class::Transient, Reason::AccountInUse),
        USER_EXISTS | ROLE_EXISTS => (Class::Transient, Reason::ServerRefused),
        // A member that has just started has not got the keys yet that signatures of times are verified with.
        211 => (Class::Transient, Reason::ServerRefused),
        // Time is up, not enough members have confirmed, or another write got in the way.
        24 | 46 | 50 | 11601 | WRITE_CONCERN_FAILED | 112 | 202 | 251 | 262 | 391 => {
            (Class::Transient, Reason::ServerRefused)
        }
        _ => (Class::Refused, Reason::ServerRefused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_what_to_do() {
        for (code, class, reason) in [
            (11, Class::Transient, Reason::AccountInUse),
            (13, Class::Refused, Reason::MissingMongoPrivileges),
            (18, Class::Unreachable, Reason::LoginFailed),
            (31, Class::Refused, Reason::DbRoleNotFound),
            (51003, Class::Transient, Reason::ServerRefused),
            (10107, Class::Unreachable, Reason::DatabaseUnreachable),
            (189, Class::Unreachable, Reason::DatabaseUnreachable),
            (11600, Class::Unreachable, Reason::DatabaseUnreachable),
            (91, Class::Unreachable, Reason::DatabaseUnreachable),
            (11601, Class::Transient, Reason::ServerRefused),
            (64, Class::Transient, Reason::ServerRefused),
            (2, Class::Refused, Reason::ServerRefused),
        ] {
            assert_eq!(meaning(code), (class, reason), "{code}");
        }
    }
}
