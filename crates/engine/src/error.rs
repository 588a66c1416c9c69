//! What went wrong with a server, classified by code and never by message text: servers speak other languages.

use std::fmt;

use serde::Serialize;

/// Why something cannot be, as PascalCase constants of the API contract. The text is what conditions and events
/// carry as their reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum Reason {
    /// A user of that name exists and does not carry the marker.
    UserConflict,
    /// The account is managed, but somebody else uses it right now.
    AccountInUse,
    /// Something of an earlier session, or of somebody else, must be cleared first.
    LeftoverMembership,
    /// The name cannot be a database user.
    InvalidUsername,
    /// A database role does not exist.
    DbRoleNotFound,
    /// A database role may not be handed out.
    DbRoleNotGrantable,
    /// A database role is not written as the engine wants it.
    DbRoleInvalid,
    /// The logical database does not exist or takes no connections.
    DatabaseNameNotFound,
    /// The server does not answer, or not as a server should.
    DatabaseUnreachable,
    /// Every connection to the server that may be had is in use, and stays so.
    ConnectionsBusy,
    /// The server's certificate is not trusted, or TLS is refused.
    TlsFailed,
    /// The server does not take client certificates of the CA for users.
    ClientCaNotTrusted,
    /// The server refuses the admin user's login.
    LoginFailed,
    /// No admin user is named.
    MissingAdminUser,
    /// The admin user lacks CREATEROLE.
    MissingCreateRole,
    /// The admin user may not grant a role.
    MissingAdminOption,
    /// The admin user, or the account, may not connect to a logical database.
    MissingConnect,
    /// The admin user may not grant some objects.
    MissingObjectPrivileges,
    /// The admin user may not grant `rds_iam`.
    MissingRdsIam,
    /// What an account owns cannot be given to the role that should get it.
    CannotReassign,
    /// The admin user lacks privileges on MongoDB.
    MissingMongoPrivileges,
    /// The admin user does not see other users or their sessions (Redshift).
    MissingSystemAccess,
    /// The server is a read-only replica.
    ReadOnlyEndpoint,
    /// A connection pooler is between here and the server.
    PoolerInBetween,
    /// PUBLIC may connect to logical databases that no session names (a warning).
    PublicConnect,
    /// This kind of server cannot be provisioned.
    Unsupported,
    /// The server refused a statement for another reason: its SQLSTATE, or MongoDB's code, is in the message.
    ServerRefused,
    /// A change is made, but no synchronous standby has confirmed it.
    WaitingForStandby,
    /// The contents of a Secret cannot be used.
    SecretInvalid,
    /// A certificate request cannot be answered.
    CertificateRequestInvalid,
}

impl Reason {
    /// The constant as it appears in conditions and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserConflict => "UserConflict",
            Self::AccountInUse => "AccountInUse",
            Self::LeftoverMembership => "LeftoverMembership",
            Self::InvalidUsername => "InvalidUsername",
            Self::DbRoleNotFound => "DbRoleNotFound",
            Self::DbRoleNotGrantable => "DbRoleNotGrantable",
            Self::DbRoleInvalid => "DbRoleInvalid",
            Self::DatabaseNameNotFound => "DatabaseNameNotFound",
            Self::DatabaseUnreachable => "DatabaseUnreachable",
            Self::ConnectionsBusy => "ConnectionsBusy",
            Self::TlsFailed => "TlsFailed",
            Self::ClientCaNotTrusted => "ClientCaNotTrusted",
            Self::LoginFailed => "LoginFailed",
            Self::MissingAdminUser => "MissingAdminUser",
            Self::MissingCreateRole => "MissingCreateRole",
            Self::MissingAdminOption => "MissingAdminOption",
            Self::MissingConnect => "MissingConnect",
            Self::MissingObjectPrivileges => "MissingObjectPrivileges",
            Self::MissingRdsIam => "MissingRdsIam",
            Self::CannotReassign => "CannotReassign",
            Self::MissingMongoPrivileges => "MissingMongoPrivileges",
            Self::MissingSystemAccess => "MissingSystemAccess",
            Self::ReadOnlyEndpoint => "ReadOnlyEndpoint",
            Self::PoolerInBetween => "PoolerInBetween",
            Self::PublicConnect => "PublicConnect",
            Self::Unsupported => "Unsupported",
            Self::ServerRefused => "ServerRefused",
            Self::WaitingForStandby => "WaitingForStandby",
            Self::SecretInvalid => "SecretInvalid",
            Self::CertificateRequestInvalid => "CertificateRequestInvalid",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a failure means for the caller. It decides requeue, condition, event and metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Class {
    /// The author of an object must edit it (a certificate that does not parse, a uri that no server can have).
    Invalid,
    /// The server cannot be reached at all: every account of it waits.
    Unreachable,
    /// It may work when tried again as it is: a conflict with another transaction, a lock time-out.
    Transient,
    /// The server said no, and will say no again until somebody changes something.
    Refused,
}

/// Why an account cannot be what it should be, with what to do about it. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason that a condition carries.
    pub reason: Reason,
    /// One sentence that names the object and, where there is one, the statement that fixes it.
    pub message: String,
}

impl Refusal {
    /// A refusal with a reason, and one sentence that says what to do.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A failure, complete enough for a person: what was attempted, on what, what the server said, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What it means for the caller.
    pub class: Class,
    /// The reason that a condition carries.
    pub reason: Reason,
    /// What was attempted and on which object, as `granting roles to "alice"`.
    pub attempted: String,
    /// The SQLSTATE; of a server that has none, its name and code (`MongoDB 13`). Empty when the server did not answer.
    pub code: String,
    /// What the server, or the connection, said; no secrets.
    pub detail: String,
    /// What to do about it, with the exact statement where there is one; may be empty.
    pub remedy: String,
}

impl Error {
    /// Is the account not what the plan took it for? What was found is left as it is; some of the plan may have been done
    /// before.
    pub fn is_of_changed_account(&self) -> bool {
        self.class == Class::Transient && self.reason == Reason::AccountInUse
    }

    /// The engine has no such thing.
    pub fn unsupported(attempted: String) -> Self {
        Self {
            class: Class::Refused,
            reason: Reason::Unsupported,
            attempted,
            code: String::new(),
            detail: "this kind of server cannot do it".to_owned(),
            remedy: String::new(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.attempted)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        match self.code.as_str() {
            "" => {}
            named if named.contains(' ') => write!(f, " ({named})")?,
            sqlstate => write!(f, " (SQLSTATE {sqlstate})")?,
        }
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The first cause of this type in an error of a library, also where an `io::Error` wraps it.
pub fn cause<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|inner| inner.downcast_ref::<T>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
