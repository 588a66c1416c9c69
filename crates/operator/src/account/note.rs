//! What the status of the DatabaseUser will say of the account.

use std::collections::BTreeSet;

use rolecall_api::{AccountPhase, AccountStatus, CreateDbUserMode};
use rolecall_engine::account::Leftover;
use rolecall_engine::{Account, AccountName, Applied, Claim, Desired, Observed};
use rolecall_policy::Mode;
use rolecall_resolve::Grant;

use super::memory::Report;
use super::round::Round;
use crate::model::AccountKey;

impl Round {
    /// What becomes of the account when this session ends: as policy says now, else as it said last.
    pub(super) fn mode_of(&self, index: usize) -> Option<CreateDbUserMode> {
        let item = &self.gathered.sessions[index];
        match &item.grant {
            Ok(grant) => api_mode(grant),
            Err(_) => item.session.status.as_ref().and_then(|status| status.mode),
        }
    }

    pub(super) fn note_ended(
        &mut self,
        key: &AccountKey,
        account: &AccountName,
        phase: AccountPhase,
        applied: &Applied,
        leftovers: &[Leftover],
    ) {
        let told: Vec<String> = leftovers
            .iter()
            .chain(&applied.leftovers)
            .map(|leftover| leftover.message(account))
            .chain(applied.kept_because.clone())
            .chain(applied.not_reset.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let message = (!told.is_empty()).then(|| told.join("; "));
        self.note_account(key, phase, &[], message.as_deref());
    }

    pub(super) fn note_account(
        &mut self,
        key: &AccountKey,
        phase: AccountPhase,
        roles: &[String],
        message: Option<&str>,
    ) {
        let Some(first) = self.gathered.sessions.first() else { return };
        let enabled = phase == AccountPhase::Enabled;
        let live = if enabled { self.lives().len() + self.starts().len() } else { 0 };
        let mode = self.indexes(|_| true).into_iter().filter_map(|index| self.mode_of(index)).max();
        self.report = Some(Report {
            user: key.admin.sibling(&first.session.spec.user),
            account: AccountStatus {
                database: key.admin.name.to_string(),
                username: key.username.to_string(),
                phase,
                sessions: u32::try_from(live).unwrap_or(u32::MAX),
                db_roles: roles.to_vec(),
                mode,
                message: message.map(str::to_owned),
            },
        });
    }
}

pub(super) fn api_mode(grant: &Grant) -> Option<CreateDbUserMode> {
    match grant.mode {
        Mode::Disabled => None,
        Mode::Keep => Some(CreateDbUserMode::Keep),
        Mode::BestEffortDrop => Some(CreateDbUserMode::BestEffortDrop),
    }
}

pub(super) fn account_phase(desired: &Desired, observed: &Observed) -> AccountPhase {
    let unclear = |account: &Account| {
        let claim = account.owner.as_ref().map(|record| desired.owner.claim(record));
        claim == Some(Claim::Unclear) && (account.enabled || account.backends > 0)
    };
    match &observed.account {
        None => AccountPhase::Dropped,
        Some(account) if !account.managed => AccountPhase::Conflict,
        // Our sessions hold no account with such a record.
        Some(account) if unclear(account) => AccountPhase::Orphaned,
        Some(account) if account.enabled => AccountPhase::Enabled,
        Some(_) => AccountPhase::Disabled,
    }
}
