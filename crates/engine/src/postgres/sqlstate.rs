//! What a SQLSTATE means. Message texts are never looked at: servers speak other languages.

use crate::{Class, Reason};

/// Of our own: under the lock the account is not what it was when the plan was made.
pub(super) const CHANGED: &str = "RC001";
/// Of our own: the account itself holds rights on objects.
pub(super) const HOLDS_RIGHTS: &str = "RC002";
/// Of our own: a role with the name of a permission set does not carry our record.
pub(super) const NOT_OURS: &str = "RC003";

/// How our own checks fail: plain SQL has no other way, and PL/pgSQL would be compiled anew each time.
pub(super) const DIVISION_BY_ZERO: &str = "22012";

pub(super) const INSUFFICIENT_PRIVILEGE: &str = "42501";
pub(super) const UNDEFINED_OBJECT: &str = "42704";
pub(super) const UNDEFINED_DATABASE: &str = "3D000";
pub(super) const DEPENDENT_OBJECTS: &str = "2BP01";
pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
pub(super) const READ_ONLY: &str = "25006";

/// Is the same transaction run again at once (a few times, with jitter) rather than reported?
///
/// Only where another transaction got in the way: serialization failure, deadlock, a unique or exclusion violation
/// (somebody created the same at the same moment), lock time-out, and "tuple concurrently updated" (XX000).
pub fn is_retried(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "23505" | "23P01" | "55P03" | "XX000")
}

/// Does the next database do where the admin user cannot connect to this one? It does not exist, takes no
/// connections, or CONNECT is missing.
pub(super) fn is_about_the_database(code: &str) -> bool {
    matches!(code, "3D000" | "55000" | "42501")
}

/// What a SQLSTATE means for the caller, for a statement or a login.
pub fn meaning(code: &str) -> (Class, Reason) {
    match code {
        _ if is_retried(code) => (Class::Transient, Reason::ServerRefused),
        CHANGED | HOLDS_RIGHTS => (Class::Transient, Reason::AccountInUse),
        NOT_OURS => (Class::Refused, Reason::DbRoleNotGrantable),
        // Somebody created it meanwhile; the next look sees it.
        "42710" => (Class::Transient, Reason::ServerRefused),
        // Cancelled by a time-out of ours, out of resources, or the transaction is already dead.
        "57014" | "25P02" | "25P03" | "25P04" => (Class::Transient, Reason::ServerRefused),
        "53000" | "53100" | "53200" | "53400" => (Class::Transient, Reason::ServerRefused),
        // Shutting down, starting, crashed, full.
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" => (Class::Unreachable, Reason::DatabaseUnreachable),
        READ_ONLY => (Class::Refused, Reason::ReadOnlyEndpoint),
        "3D000" | "55000" => (Class::Refused, Reason::DatabaseNameNotFound),
        "28000" | "28P01" => (Class::Unreachable, Reason::LoginFailed),
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
