//! What became of a session in a reconcile.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rolecall_api::{Connection, CreateDbUserMode, EndReason, SessionPhase, reasons};

use super::proof::{Abandoned, NoAccount, ProvenEnded, Retained, Verified, WasActive};
use crate::model::Blocker;

/// What became of a session.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a reconcile holds a handful of them, and most are the large one"
)]
pub enum SessionResult {
    /// It has access.
    Active(Active),
    /// It waits for its start, or to start again.
    Waiting(Blocker),
    /// It waits, and its access is gone.
    Withdrawn {
        /// What it waits for.
        blocker: Blocker,
        /// How it is known that the access is gone.
        gone: Gone,
    },
    /// Its access is being taken away, and something is in the way.
    Ending {
        /// What `endReason` will be.
        reason: Option<EndReason>,
        /// What is in the way.
        blocker: Blocker,
    },
    /// Its access is gone, or nobody waits for that any more.
    Ended {
        /// Why it ended.
        reason: EndReason,
        /// How it is known.
        gone: Gone,
    },
    /// It never started and never will.
    Rejected(Blocker),
    /// It is being deleted, and its finalizer can be removed.
    Released {
        /// As for `Ended`.
        gone: Gone,
    },
}

/// How it is known that an access is gone, or why nobody waits for that any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The server showed it gone.
    Proven(ProvenEnded),
    /// It may still be there: it could not be taken away on the server in time.
    Abandoned(Abandoned),
    /// It may still be there: the DatabaseAdmin asks for that.
    Retained(Retained),
    /// There never was one.
    NoAccount(NoAccount),
}

/// How it is known that an access is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The server was read back in this reconcile.
    Verified(Verified),
    /// The status of the session says so, and the server could not be asked, or did not contradict it.
    WasActive(WasActive),
}

/// A session that has access.
#[derive(Clone, Debug, PartialEq)]
pub struct Active {
    /// How that is known.
    pub shown: Shown,
    /// The database user.
    pub username: String,
    /// The ProvisioningRoles that give it.
    pub roles: Vec<String>,
    /// Its database roles.
    pub db_roles: Vec<String>,
    /// What becomes of the account at the end.
    pub mode: Option<CreateDbUserMode>,
    /// Who gets what it owns then.
    pub reassign_to: Option<String>,
    /// Since when.
    pub started_at: Option<Timestamp>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// When its credentials have to be renewed.
    pub renew_at: Option<Timestamp>,
    /// The Secret with the credentials.
    pub secret: Option<String>,
    /// The answer to the certificate request, in PEM.
    pub certificate: Option<String>,
    /// Where to connect.
    pub connection: Option<Connection>,
    /// Objects per privilege.
    pub permissions: BTreeMap<String, u64>,
    /// There are object permissions, and all of them were given.
    pub complete: bool,
    /// What is wrong although access is there.
    pub trouble: Option<Blocker>,
    /// Object permissions were decided that could not be given: why.
    pub incomplete: Option<Blocker>,
}

impl Gone {
    /// The message for people.
    pub fn message(self) -> &'static str {
        match self {
            Self::Proven(_) => "the database shows the access gone",
            Self::Abandoned(_) => "the access could not be taken away: see the events",
            Self::Retained(_) => {
                "the account stays as it is on the server: the DatabaseAdmin has deletion: Retain"
            }
            Self::NoAccount(_) => "no account was ever made for it",
        }
    }

    /// Does the database show it, or is there nothing to show?
    pub fn is_certain(self) -> bool {
        matches!(self, Self::Proven(_) | Self::NoAccount(_))
    }
}

impl SessionResult {
    /// The phase of the session with this.
    pub fn phase(&self) -> SessionPhase {
        match self {
            Self::Active(_) => SessionPhase::Active,
            Self::Waiting(_) | Self::Withdrawn { .. } => SessionPhase::Pending,
            Self::Ending { .. } => SessionPhase::Ending,
            Self::Ended { .. } | Self::Released { .. } => SessionPhase::Ended,
            Self::Rejected(_) => SessionPhase::Rejected,
        }
    }

    /// Is the session over with this, so that it needs nothing of its logical database any more?
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::Rejected(_) | Self::Released { .. })
    }
}

/// The reason that conditions and events carry for the end of a session.
pub fn end_reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Deleted => reasons::DELETED,
        EndReason::Expired => reasons::EXPIRED,
        EndReason::AccessRevoked | EndReason::Unknown => reasons::ACCESS_REVOKED,
        EndReason::UserSuspended => reasons::USER_SUSPENDED,
        EndReason::Uninstalled => reasons::UNINSTALLED,
        EndReason::DatabaseRemoved => reasons::DATABASE_REMOVED,
        EndReason::Abandoned => reasons::ABANDONED,
    }
}
