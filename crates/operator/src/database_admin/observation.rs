//! What was observed of a server, as plain data.

use rolecall_api::{AccountCounts, DatabaseAdmin, Endpoint, ObjectCounts, reasons};
use rolecall_engine::Preflight;

use super::orphans::Orphan;
use crate::account::reports::AccountReport;
use crate::model::AccountKey;
use crate::servers::ServerState;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Observation {
    /// What accounts go by.
    pub(super) state: ServerState,
    /// Did the server let the admin user in? `None`: it was not asked.
    pub(super) reachable: Option<bool>,
    /// What the server is and lacks.
    pub(super) preflight: Option<Preflight>,
    /// Its accounts.
    pub(super) counts: Option<AccountCounts>,
    /// The objects in the databases that were read.
    pub(super) objects: Option<ObjectCounts>,
    /// Objects whose access list is nearly full.
    pub(super) crowded: Vec<String>,
    /// Accounts of it that have access without any session.
    pub(super) orphans: Vec<AccountKey>,
    /// Accounts that have access without any session and are not ended by themselves; `None`: they were not listed.
    pub(super) named: Option<Vec<Orphan>>,
    /// What DatabaseUsers report of accounts without sessions.
    pub(super) reports: Vec<(AccountKey, AccountReport)>,
    /// Live accounts that somebody else changed.
    pub(super) drifted: Vec<AccountKey>,
    /// The address and admin user that are in use now.
    pub(super) endpoint: Option<Endpoint>,
}

impl Observation {
    /// Is something in the way that may go away?
    pub(super) fn is_failing(&self) -> bool {
        self.state.blocker.as_ref().is_some_and(|blocker| blocker.reason != reasons::UNSUPPORTED)
    }

    /// Did the suspension end, and could the accounts not be read since? Until they are, nothing starts or ends.
    pub(super) fn is_unchecked(&self, admin: &DatabaseAdmin) -> bool {
        self.state.unchecked && self.state.server.is_some() && !admin.spec.suspend
    }
}
