//! The proofs that a session's status rests on. Each can be made only here, and only from what a server was seen to be.
//!
//! A status says that an access is there, or that it is gone, only with one of these.

use jiff::Timestamp;
use rolecall_api::{DatabaseAdmin, DatabaseSession, Deletion, SessionPhase, reasons};
use rolecall_engine::{Applied, Desired, Observed, Plan, Refusal, Want, plan};

use crate::model::Blocker;
use crate::model::plus;
use crate::model::session::{is_unclear, phase, recorded_username};
use crate::ports::Clock;
use crate::servers::{Server, ServerState};

/// The server was read and shows the account as it should be: enabled, with exactly what its sessions should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    at: Timestamp,
}

/// The server was read and shows the access gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenEnded(());

/// The session has been Active before this reconcile, and nothing that was seen contradicts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WasActive(());

/// The access could not be taken away on the server before the teardown deadline: it may still be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abandoned(());

/// The DatabaseAdmin says `deletion: Retain`: the access may still be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained(());

/// No account was ever recorded for the session: there was nothing to take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAccount(());

/// An account that is [`Verified`], or why it is not.
///
/// # Errors
///
/// What the server shows instead.
pub(super) fn check_enabled(
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) -> Result<Verified, Blocker> {
    let settled = plan::settled(desired);
    match plan::plan(&settled, observed) {
        Ok(Plan::Nothing | Plan::Adjust(_)) if plan::lacks_password(&settled, observed) => {
            Err(Blocker::passing(
                reasons::NOT_VERIFIED,
                "the account's record names another password than the one that was stored",
            ))
        }
        Ok(Plan::Nothing) => Ok(Verified { at: now }),
        // What the server does not let the admin user take away stops nothing.
        Ok(Plan::Adjust(adjust)) if adjust.only_takes_strays() => Ok(Verified { at: now }),
        Ok(plan) => Err(Blocker::passing(
            reasons::NOT_VERIFIED,
            format!("the server does not show the desired state; still to do: {plan}"),
        )),
        Err(refusal) => Err(Blocker::from(&refusal)),
    }
}

/// Reads an account back after its plan was applied.
///
/// # Errors
///
/// What the server shows instead, or that it does not answer.
pub(super) async fn read_back(
    server: &Server,
    desired: &Desired,
    clock: &dyn Clock,
) -> Result<Verified, Blocker> {
    match server.engine.observe(&plan::settled(desired).query()).await {
        Ok(observed) => check_enabled(desired, &observed, clock.now()),
        Err(error) => Err(Blocker { stalled: false, ..Blocker::from(&error) }),
    }
}

/// Why an access that should end is not proven gone.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotEnded {
    /// It can be used and may be ours, but is left alone: what to do.
    #[error(transparent)]
    LeftAlone(#[from] Refusal),
    /// The server failed or refused.
    #[error(transparent)]
    Engine(#[from] rolecall_engine::Error),
}

/// Carries out the plan that ends an account; the engine reads it back before it answers. Where the plan is
/// [`Plan::Nothing`], `observed` is what was read. `was_enabled`: by us, where that is known.
///
/// # Errors
///
/// See [`NotEnded`].
pub(super) async fn end(
    server: &Server,
    desired: &Desired,
    observed: &Observed,
    plan: &Plan,
    was_enabled: bool,
) -> Result<(Applied, ProvenEnded), NotEnded> {
    plan::check_ended(desired, observed, was_enabled)?;
    Ok((server.engine.apply(plan).await?, ProvenEnded(())))
}

/// An account that cannot be enabled, because it is not ours (any more): then no session of ours has access through it.
///
/// # Errors
///
/// It may be ours and can be used: what to do, or else `refused`.
pub(super) fn check_not_ours(
    desired: &Desired,
    observed: &Observed,
    was_enabled: bool,
    refused: &Blocker,
) -> Result<ProvenEnded, Blocker> {
    plan::check_ended(desired, observed, was_enabled).map_err(|refusal| Blocker::from(&refusal))?;
    let ended = Desired { want: Want::Ended { drop: false, reassign_to: None }, ..desired.clone() };
    match plan::plan(&ended, observed) {
        Ok(Plan::Nothing) => Ok(ProvenEnded(())),
        _ => Err(refused.clone()),
    }
}

impl Verified {
    /// When the server was read.
    pub(super) fn at(self) -> Timestamp {
        self.at
    }

    /// An account that has exactly what its other sessions should have: nothing is left of those that end.
    pub(super) fn others_ended(self) -> ProvenEnded {
        ProvenEnded(())
    }
}

impl WasActive {
    /// By its status.
    pub(super) fn of(session: &DatabaseSession) -> Option<Self> {
        (phase(session) == SessionPhase::Active).then_some(Self(()))
    }
}

impl Retained {
    /// Is the DatabaseAdmin being deleted with `deletion: Retain`?
    pub(super) fn of(admin: Option<&DatabaseAdmin>) -> Option<Self> {
        let admin = admin.filter(|admin| admin.metadata.deletion_timestamp.is_some())?;
        (admin.spec.deletion == Deletion::Retain).then_some(Self(()))
    }
}

impl NoAccount {
    /// By what is recorded.
    pub(super) fn of(session: &DatabaseSession) -> Option<Self> {
        (recorded_username(session).is_none() && !is_unclear(session)).then_some(Self(()))
    }
}

impl Abandoned {
    /// Is ending accesses on a server given up? Never while its DatabaseAdmin is declared; when it is gone, or is being
    /// deleted for longer than `deadline`.
    ///
    /// `admin_deleted_at`: since when the DatabaseAdmin is being deleted, where it is there.
    pub(super) fn after(
        deadline: std::time::Duration,
        admin_deleted_at: Option<Option<Timestamp>>,
        server: Option<&ServerState>,
        now: Timestamp,
    ) -> Option<Self> {
        let since = match admin_deleted_at {
            Some(deleted_at) => deleted_at,
            // While its server is known, its reconciler records since when, or is about to.
            None => match server.filter(|state| state.server.is_some() && !state.retain) {
                Some(state) => state.gone_since,
                None => return Some(Self(())),
            },
        };
        plus(since?, deadline).filter(|end| *end <= now).map(|_| Self(()))
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Proofs for tests of what follows from them.

    use super::*;

    pub(crate) fn verified(at: i64) -> Verified {
        Verified { at: Timestamp::from_second(at).unwrap() }
    }

    pub(crate) fn ended() -> ProvenEnded {
        ProvenEnded(())
    }

    pub(crate) fn abandoned() -> Abandoned {
        Abandoned(())
    }

    pub(crate) fn retained() -> Retained {
        Retained(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rolecall_engine::account::Enabled;
    use rolecall_engine::{Account, AccountName, Owner};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(300);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn is_abandoned(admin: Option<Option<Timestamp>>, server: Option<&ServerState>, now: i64) -> bool {
        Abandoned::after(DEADLINE, admin, server, at(now)).is_some()
    }

    #[test]
    fn ends_are_given_up_only_after_the_teardown_deadline_or_where_nobody_knows_the_server() {
        assert!(!is_abandoned(Some(None), None, 9_999_999), "its DatabaseAdmin is declared");
        assert!(!is_abandoned(Some(Some(at(1_000))), None, 1_299));
        assert!(is_abandoned(Some(Some(at(1_000))), None, 1_300));
        assert!(is_abandoned(None, None, 1_000), "the DatabaseAdmin is gone and its server is not known");
        let unknown = ServerState { gone_since: Some(at(1_000)), ..ServerState::default() };
        assert!(is_abandoned(None, Some(&unknown), 1_000), "there is no server to reach");
    }

    #[test]
    fn only_a_status_that_says_so_proves_that_a_session_was_active() {
        let mut session = DatabaseSession::new("a", rolecall_api::DatabaseSessionSpec::default());
        assert_eq!(WasActive::of(&session), None);
        session.status = Some(rolecall_api::DatabaseSessionStatus {
            phase: Some(SessionPhase::Active),
            ..Default::default()
        });
        assert!(WasActive::of(&session).is_some());
    }

    fn desired(want: Want) -> Desired {
        let owner = Owner { uid: "us".into(), admin: "shop/orders".into(), ..Owner::default() };
        Desired { account: AccountName::new("alice").unwrap(), owner, session_database: None, want }
    }

    /// An account that can be used, of this owner.
    fn observed(owner: &str, managed: bool) -> Observed {
        let owner = Owner { uid: owner.into(), admin: format!("shop/{owner}"), ..Owner::default() };
        let account = Account { managed, owner: Some(owner), enabled: true, ..Account::default() };
        Observed { account: Some(account), ..Observed::default() }
    }

    #[test]
    fn an_account_is_not_ours_only_where_ending_it_would_do_nothing() {
        let refused = Blocker::stalled(reasons::ACCESS_DENIED, "refused");
        let check = |observed: &Observed| {
            check_not_ours(&desired(Want::Enabled(Enabled::default())), observed, true, &refused)
        };
        assert!(check(&Observed::default()).is_ok(), "it does not exist");
        assert!(check(&observed("them", true)).is_ok(), "it is somebody else's");
        assert_eq!(check(&observed("us", true)), Err(refused.clone()), "it is ours and can be used");
        let left_alone = check(&observed("us", false)).unwrap_err();
        assert_eq!(left_alone.reason, "UserConflict", "somebody took the marker away");
    }

    #[test]
    fn an_account_is_verified_only_as_it_should_be() {
        let enabled = |roles: &[&str]| {
            let roles = roles.iter().map(|&role| (role.to_owned(), Default::default())).collect();
            desired(Want::Enabled(Enabled { roles, ..Enabled::default() }))
        };
        let seen = observed("us", true);
        assert!(check_enabled(&enabled(&[]), &seen, at(1)).is_ok());
        let lacking = check_enabled(&enabled(&["reader"]), &seen, at(1)).unwrap_err();
        assert!(["NotVerified", "DbRoleNotFound"].contains(&lacking.reason.as_str()), "{lacking:?}");
        assert!(check_enabled(&enabled(&[]), &Observed::default(), at(1)).is_err(), "it is gone");
    }
}
