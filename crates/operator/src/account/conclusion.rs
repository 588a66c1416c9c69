//! The outcome of a reconcile of an account on its server: plain data, from which the results of its sessions follow.

use jiff::Timestamp;
use rolecall_api::AccountPhase;
use rolecall_engine::AccountName;
use rolecall_engine::account::Leftover;
use rolecall_engine::{Account, Applied, Claim, Desired, Observed, Reassigned};
use std::collections::BTreeSet;

use super::proof::{Abandoned, ProvenEnded, Retained, Verified};
use crate::model::{Blocker, Priority};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Conclusion {
    /// What is known of the access of live sessions.
    pub(super) live: Live,
    /// What became of the accesses that should end.
    pub(super) ends: Ends,
    /// What became of the starts.
    pub(super) starts: Starts,
    /// The database roles that the account has.
    pub(super) roles: Vec<String>,
    /// Those that it keeps where it cannot have all that it should.
    pub(super) reduced_roles: Option<Vec<String>>,
    /// What the status of the DatabaseUser will say.
    pub(super) account: Option<AccountState>,
    /// The server had lost the password of live sessions: what was done about that.
    pub(super) lost_password: Option<&'static str>,
    /// What somebody else changed about an account with live sessions, and what became of that.
    pub(super) changed: Option<String>,
    /// When to reconcile again by itself.
    pub(super) again: Option<(Timestamp, Priority)>,
    /// Something failed that may work when it is tried again.
    pub(super) retry: bool,
}

/// What is known of the access of live sessions.
#[derive(Clone, Debug, Default)]
pub(super) enum Live {
    /// Nothing new.
    #[default]
    Unknown,
    /// They have it, as the server shows (`verified`), or as was known before.
    Kept {
        verified: Option<Verified>,
        /// What is wrong nevertheless.
        trouble: Option<Blocker>,
    },
}

/// What became of the accesses that should end.
#[derive(Clone, Debug, Default)]
pub(super) enum Ends {
    /// Nothing new.
    #[default]
    Unknown,
    /// The server shows them gone.
    Gone {
        proof: ProvenEnded,
        /// Why the account was not dropped though it should have been.
        kept_because: Option<String>,
        /// What it owned and somebody else owns now.
        reassigned: Option<Reassigned>,
    },
    /// They cannot be ended now.
    Blocked(Blocker),
    /// Nobody waits for their end any more.
    Abandoned { proof: Abandoned, blocker: Blocker },
    /// They stay.
    Retained(Retained),
}

/// What became of the starts.
#[derive(Clone, Debug, Default)]
pub(super) enum Starts {
    /// They were not tried, or each failed by itself.
    #[default]
    NotTried,
    /// They wait for this; it is no failure.
    Wait(Blocker),
    /// The server shows their access.
    Started(Verified),
}

/// The account as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AccountState {
    pub(super) phase: AccountPhase,
    pub(super) roles: Vec<String>,
    pub(super) message: Option<String>,
}

impl Conclusion {
    /// Another attempt begins: the outcome of the last one for the sessions no longer counts.
    pub(super) fn begin_attempt(&mut self) {
        (self.live, self.ends, self.starts) = (Live::default(), Ends::default(), Starts::default());
    }

    /// Reconcile again at that time, or earlier if that was asked before.
    pub(super) fn at_earliest(&mut self, at: Option<(Timestamp, Priority)>) {
        self.again = self.again.into_iter().chain(at).min();
    }

    /// The account is enabled, with the roles that it has.
    pub(super) fn report_enabled(&mut self) {
        let roles = self.roles.clone();
        self.account = Some(AccountState { phase: AccountPhase::Enabled, roles, message: None });
    }

    /// The account is not what it should be.
    pub(super) fn report_blocked(&mut self, phase: AccountPhase, blocker: &Blocker) {
        self.account =
            Some(AccountState { phase, roles: Vec::new(), message: Some(blocker.message.clone()) });
    }

    /// The account has ended.
    pub(super) fn report_ended(&mut self, desired: &Desired, observed: &Observed, applied: &Applied) {
        let phase = match (&observed.account, applied.dropped) {
            (None, _) | (_, true) => AccountPhase::Dropped,
            (Some(account), _) if !account.managed || is_used_by_others(desired, account) => {
                AccountPhase::Conflict
            }
            _ => AccountPhase::Disabled,
        };
        let found = observed.account.iter().flat_map(|account| &account.leftovers);
        let message = leftover_message(&desired.account, found, applied);
        self.account = Some(AccountState { phase, roles: Vec::new(), message });
    }

    /// Did this attempt start sessions?
    pub(super) fn has_started(&self) -> bool {
        matches!(self.starts, Starts::Started(_))
    }
}

fn leftover_message<'a>(
    account: &AccountName,
    found: impl Iterator<Item = &'a Leftover>,
    applied: &'a Applied,
) -> Option<String> {
    let lines: BTreeSet<String> = found
        .chain(&applied.leftovers)
        .map(|leftover| leftover.message(account))
        .chain(applied.reassigned.as_ref().map(ToString::to_string))
        .chain(applied.kept_because.clone())
        .chain(applied.not_reset.clone())
        .collect();
    (!lines.is_empty()).then(|| lines.into_iter().collect::<Vec<_>>().join("; "))
}

/// The phase of an account, as it was read.
pub(super) fn account_phase(desired: &Desired, observed: &Observed) -> AccountPhase {
    match &observed.account {
        None => AccountPhase::Dropped,
        Some(account) if !account.managed || is_used_by_others(desired, account) => AccountPhase::Conflict,
        // Our sessions have no account with such a record.
        Some(account) if usable_claim(desired, account) == Some(Claim::Unclear) => AccountPhase::Orphaned,
        Some(account) if account.enabled => AccountPhase::Enabled,
        Some(_) => AccountPhase::Disabled,
    }
}

/// Does another DatabaseAdmin work with it? One that is idle can be taken over.
fn is_used_by_others(desired: &Desired, account: &Account) -> bool {
    usable_claim(desired, account) == Some(Claim::Others)
}

/// Whose record an account carries that can be used; `None` where it carries none, or cannot be used.
fn usable_claim(desired: &Desired, account: &Account) -> Option<Claim> {
    let record = account.owner.as_ref().filter(|_| account.enabled || account.backends > 0)?;
    Some(desired.owner.claim(record))
}

#[cfg(test)]
mod tests {
    use rolecall_engine::{Owner, Want};

    use super::*;

    fn desired() -> Desired {
        let owner = Owner { uid: "us".into(), admin: "shop/orders".into(), ..Owner::default() };
        let account = AccountName::new("alice").unwrap();
        Desired {
            account,
            owner,
            session_database: None,
            want: Want::Ended { drop: false, reassign_to: None },
        }
    }

    #[test]
    fn an_account_that_another_database_admin_works_with_is_a_conflict() {
        let phases = |uid: &str, enabled| {
            let owner = Owner { uid: uid.into(), admin: format!("shop/{uid}"), ..Owner::default() };
            let account = Account { managed: true, owner: Some(owner), enabled, ..Account::default() };
            let observed = Observed { account: Some(account), ..Observed::default() };
            let mut conclusion = Conclusion::default();
            conclusion.report_ended(&desired(), &observed, &Applied::default());
            (account_phase(&desired(), &observed), conclusion.account.unwrap().phase)
        };
        assert_eq!(phases("us", true), (AccountPhase::Enabled, AccountPhase::Disabled));
        assert_eq!(phases("them", true), (AccountPhase::Conflict, AccountPhase::Conflict));
        assert_eq!(phases("them", false), (AccountPhase::Disabled, AccountPhase::Disabled), "it is idle");
    }

    #[test]
    fn what_is_left_over_is_reported_once_whoever_found_it() {
        let leftover = Leftover::Attribute { attribute: "CREATEDB".to_owned() };
        let account = Account { managed: true, leftovers: vec![leftover.clone()], ..Account::default() };
        let observed = Observed { account: Some(account), ..Observed::default() };
        let applied = Applied {
            leftovers: vec![leftover],
            kept_because: Some("it owns a table".to_owned()),
            ..Applied::default()
        };
        let mut conclusion = Conclusion::default();
        conclusion.report_ended(&desired(), &observed, &applied);
        let state = conclusion.account.unwrap();
        assert_eq!(state.phase, AccountPhase::Disabled);
        let message = state.message.unwrap();
        assert_eq!(message.matches("CREATEDB").count(), 2, "one sentence with its statement: {message}");
        assert!(message.ends_with("; it owns a table"), "{message}");
    }

    #[test]
    fn an_account_that_was_dropped_or_never_was_ours_says_so() {
        let phase = |observed: &Observed, dropped| {
            let mut conclusion = Conclusion::default();
            conclusion.report_ended(&desired(), observed, &Applied { dropped, ..Applied::default() });
            conclusion.account.unwrap().phase
        };
        assert_eq!(phase(&Observed::default(), false), AccountPhase::Dropped);
        let unmanaged = Observed { account: Some(Account::default()), ..Observed::default() };
        assert_eq!(phase(&unmanaged, false), AccountPhase::Conflict);
        assert_eq!(phase(&unmanaged, true), AccountPhase::Dropped);
    }

    #[test]
    fn the_earliest_time_counts() {
        let at = |seconds| Some((Timestamp::from_second(seconds).unwrap(), Priority::Normal));
        let mut conclusion = Conclusion::default();
        conclusion.at_earliest(at(20));
        conclusion.at_earliest(None);
        conclusion.at_earliest(at(30));
        assert_eq!(conclusion.again, at(20));
    }
}
