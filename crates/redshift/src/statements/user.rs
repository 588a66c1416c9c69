//! Users.
//!
//! The switch is CONNECTION LIMIT: 0 lets nobody in, by whatever means. NOLOGIN, which exists too, stops passwords alone
//! and lets users of IAM in.

use rolecall_engine::AccountName;
use secrecy::{ExposeSecret, SecretString};

use super::{Needs, Statement};
use crate::quote::{identifier, literal};

/// Creates an account that nobody can use yet.
pub(crate) fn create(account: &AccountName) -> Statement {
    Statement::new(
        format!("creating the user {:?}", account.as_str()),
        format!("CREATE USER {} PASSWORD DISABLE CONNECTION LIMIT 0", identifier(account.as_str())),
    )
    .needing(Needs::Users)
}

/// Changes nothing about an account of ours, but the row of the user, so that of two transactions that change it one
/// fails. There are no locks to take.
pub(crate) fn claim(account: &AccountName) -> Statement {
    alter(account, "taking hold of", "NOCREATEDB")
}

/// Lets nobody in any more. Who is in stays in.
pub(crate) fn close(account: &AccountName) -> Statement {
    alter(account, "closing", "CONNECTION LIMIT 0")
}

/// Lets the user in.
pub(crate) fn open(account: &AccountName) -> Statement {
    alter(account, "opening", "CONNECTION LIMIT UNLIMITED")
}

/// Takes the password away.
pub(crate) fn disable_password(account: &AccountName) -> Statement {
    alter(account, "disabling the password of", "PASSWORD DISABLE")
}

/// Stores the verifier of a password.
pub(crate) fn set_password(account: &AccountName, verifier: &SecretString) -> Statement {
    let option = format!("PASSWORD {}", literal(verifier.expose_secret()));
    alter(account, "storing a password for", &option)
}

/// Is it a verifier? Any other text would be taken for a password.
pub(crate) fn is_verifier(verifier: &SecretString) -> bool {
    let digits = verifier.expose_secret().strip_prefix("md5");
    digits.is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Takes the attribute of a superuser away.
pub(crate) fn no_superuser(account: &AccountName) -> Statement {
    alter(account, "taking CREATEUSER from", "NOCREATEUSER").needing(Needs::Superuser)
}

/// Takes away the right to see what others do.
pub(crate) fn restrict_syslog(account: &AccountName) -> Statement {
    alter(account, "restricting SYSLOG ACCESS of", "SYSLOG ACCESS RESTRICTED")
}

/// Takes the password away, and the time until which passwords count, which the manual sets with a password only.
pub(crate) fn disable_password_and_expiry(account: &AccountName) -> Statement {
    alter(account, "clearing password and VALID UNTIL of", "PASSWORD DISABLE VALID UNTIL 'infinity'")
}

/// Clears the time-out of sessions.
pub(crate) fn no_session_timeout(account: &AccountName) -> Statement {
    alter(account, "clearing the session time-out of", "RESET SESSION TIMEOUT")
}

/// Clears a setting.
pub(crate) fn reset(account: &AccountName, setting: &str) -> Statement {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let name = if setting.bytes().all(is_plain) { setting.to_owned() } else { identifier(setting) };
    alter(account, "clearing a setting of", &format!("RESET {name}"))
}

/// Drops a user that nothing depends on.
pub(crate) fn drop(account: &AccountName) -> Statement {
    Statement::new(
        format!("dropping the user {:?}", account.as_str()),
        format!("DROP USER {}", identifier(account.as_str())),
    )
    .needing(Needs::Users)
}

/// Ends a session.
pub(crate) fn terminate(account: &AccountName, process: i64) -> Statement {
    Statement::new(
        format!("ending the session {process} of {:?}", account.as_str()),
        format!("SELECT pg_terminate_backend({process})"),
    )
    .needing(Needs::Superuser)
}

fn alter(account: &AccountName, doing: &str, option: &str) -> Statement {
    Statement::new(
        format!("{doing} the user {:?}", account.as_str()),
        format!("ALTER USER {} {option}", identifier(account.as_str())),
    )
    .needing(Needs::Users)
}
