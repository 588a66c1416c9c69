//! What the sessions of an account ask for together, done on its server: observe, plan, apply, read back.

use std::collections::BTreeSet;
use std::time::Duration;

use rolecall_api::{AccountPhase, SessionPhase, reasons};
use rolecall_engine::account::Credential;
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::{
    AccountName, Applied, Class, Desired, OWN_ROLE_PREFIX, Observed, Reason, Refusal, Want,
};

use super::lifecycle::{Blocker, phase, plus};
use super::note::account_phase;
use super::password::Password;
use super::round::Round;
use crate::Shared;
use crate::model::{AccountKey, Priority, ReconcileError, ReconcileKey};
use crate::servers::Server;

/// How soon it is looked whether a standby confirms by now.
const STANDBY_LOOK: Duration = Duration::from_secs(5);

/// Where a look works: one account on one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) shared: &'a Shared,
    pub(super) key: &'a AccountKey,
    pub(super) server: &'a Server,
    pub(super) account: &'a AccountName,
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// What can be done now is done.
    Finished,
    /// A start failed, so that the account should be something else now.
    Again,
}

impl Round {
    /// Tries everything once.
    pub(super) async fn attempt(&mut self, on: Place<'_>) -> Result<Attempt, ReconcileError> {
        let Place { shared, key, server, .. } = on;
        self.choose_candidates(server);
        self.want_sets(shared, key, server);
        let Some(mut desired) = self.desired(on) else { return Ok(Attempt::Finished) };
        let observed = match server.engine.observe(&desired.query()).await {
            Ok(observed) => observed,
            Err(error) => return self.engine_failed(on, &error).await,
        };
        if self.notice_missing_sets(shared, key, &desired, &observed) {
            return Ok(Attempt::Again);
        }
        self.keep_only_sets_that_may_be(&mut desired, &observed);
        if self.refuse_databases(&desired, &observed) {
            return Ok(Attempt::Again);
        }
        let password = self.choose_password(on, &mut desired, &observed).await?;
        match plan::plan(&desired, &observed) {
            Ok(plan) if matches!(desired.want, Want::Ended { .. }) => {
                self.conclude_end(on, &desired, &observed, &plan).await
            }
            Ok(plan) => self.conclude_enabled(on, &desired, &observed, plan, &password, None).await,
            Err(refusal) => self.refused(on, desired, &observed, &refusal, &password).await,
        }
    }

    /// The account cannot be what it should be. Starts go without; what live sessions and ended ones should lose they
    /// lose all the same.
    async fn refused(
        &mut self,
        on: Place<'_>,
        mut desired: Desired,
        observed: &Observed,
        refusal: &Refusal,
        password: &Password,
    ) -> Result<Attempt, ReconcileError> {
        let blocker = Blocker::from(refusal);
        self.note_account(on.key, account_phase(&desired, observed), &[], Some(&blocker.message));
        if !self.starts().is_empty() {
            self.fail_starts(&blocker);
            return Ok(Attempt::Again);
        }
        self.retry = true;
        want_no_more_than_is_held(&mut desired, observed);
        if let Ok(plan @ (Plan::Nothing | Plan::Adjust(_))) = plan::plan(&desired, observed) {
            if let Want::Enabled(enabled) = &desired.want {
                self.held_roles = Some(enabled.roles.keys().cloned().collect());
            }
            return self.conclude_enabled(on, &desired, observed, plan, password, Some(&blocker)).await;
        }
        // Live sessions on an account that somebody took: it is not ours to touch any more.
        match plan::check_ended(&desired, observed, self.was_enabled()) {
            Ok(()) => self.finish_ends(on, &Applied::default()).await,
            Err(refusal) => self.hold_ends(on.shared, on.key, &Blocker::from(&refusal)).await?,
        }
        self.keep_lives(on, Some(&blocker), false).await;
        Ok(Attempt::Finished)
    }

    /// No session needs the account any more.
    async fn conclude_end(
        &mut self,
        on: Place<'_>,
        desired: &Desired,
        observed: &Observed,
        plan: &Plan,
    ) -> Result<Attempt, ReconcileError> {
        let Place { shared, key, .. } = on;
        if let Err(refusal) = plan::check_ended(desired, observed, self.was_enabled()) {
            let blocker = Blocker::from(&refusal);
            self.note_account(key, account_phase(desired, observed), &[], Some(&blocker.message));
            self.hold_ends(shared, key, &blocker).await?;
            return Ok(Attempt::Finished);
        }
        let applied = match apply(on, plan).await {
            Ok(applied) => applied,
            Err(error) => return self.engine_failed(on, &error).await,
        };
        let phase = match (&observed.account, applied.dropped) {
            (None, _) | (_, true) => AccountPhase::Dropped,
            (Some(account), _) if !account.managed => AccountPhase::Conflict,
            _ => AccountPhase::Disabled,
        };
        let leftovers =
            observed.account.as_ref().map(|account| account.leftovers.as_slice()).unwrap_or_default();
        self.note_ended(key, on.account, phase, &applied, leftovers);
        self.finish_ends(on, &applied).await;
        shared.memory.set_password(key, None);
        shared.memory.leave_ended(key);
        Ok(Attempt::Finished)
    }

    /// Sessions live or start. `trouble`: why they do not have all that they should.
    async fn conclude_enabled(
        &mut self,
        on: Place<'_>,
        desired: &Desired,
        observed: &Observed,
        mut plan: Plan,
        password: &Password,
        trouble: Option<&Blocker>,
    ) -> Result<Attempt, ReconcileError> {
        let Place { shared, key, server, .. } = on;
        if let Plan::Adjust(adjust) = &mut plan {
            // What connections cached of an inlined function outlives the loss of EXECUTE.
            let wanted = || self.sets.values().map(|(role, _)| role.as_str());
            adjust.terminate |= adjust
                .revoke
                .iter()
                .filter(|role| role.starts_with(OWN_ROLE_PREFIX))
                .any(|role| shared.sets.loses_functions(&key.admin, role, wanted()));
        }
        if self.refuse_late_starts(shared) || !self.prepare_starts(on, password.get()).await {
            return Ok(Attempt::Again);
        }
        let applied = match apply(on, &plan).await {
            Ok(applied) => applied,
            Err(error) => return self.engine_failed(on, &error).await,
        };
        password.keep(shared, key);
        if was_lost(&plan, observed, password) {
            self.tell_of_lost_password(on, password);
        }
        self.renew_shared_password(on, password).await;
        if !plan.is_nothing()
            && let Err(blocker) = verify(server, desired).await
        {
            self.fail_starts(&blocker);
            self.retry = true;
            if self.lives().is_empty() {
                return Ok(Attempt::Again);
            }
            self.hold_ends(shared, key, &blocker).await?;
            self.keep_lives(on, Some(&blocker), false).await;
            return Ok(Attempt::Finished);
        }
        if self.refuse_late_starts(shared) {
            return Ok(Attempt::Again);
        }
        if let Want::Enabled(enabled) = &desired.want {
            let memberships = enabled.roles.keys().chain(&enabled.sets).cloned().collect();
            let generation = matches!(enabled.credential, Credential::Password { .. })
                .then_some(desired.owner.password_generation);
            shared.memory.leave(key, &memberships, generation);
        }
        self.finish_ends(on, &applied).await;
        self.keep_lives(on, trouble, true).await;
        if trouble.is_none() {
            self.finish_starts(on);
        }
        Ok(Attempt::Finished)
    }

    /// The server did not do it.
    async fn engine_failed(
        &mut self,
        on: Place<'_>,
        error: &rolecall_engine::Error,
    ) -> Result<Attempt, ReconcileError> {
        let Place { shared, key, .. } = on;
        let blocker = Blocker::from(error);
        tracing::warn!(account = %key, %error, "the server did not do it");
        self.retry = true;
        if matches!(error.class, Class::Unreachable | Class::Transient) {
            // It would not do it for the others either.
            self.set_aside.clear();
        }
        if error.reason == Reason::WaitingForStandby {
            self.look_again(plus(self.now, STANDBY_LOOK).map(|at| (at, Priority::Urgent)));
        }
        let had_starts = !self.starts().is_empty();
        self.fail_starts(&blocker);
        if error.class == Class::Unreachable {
            shared.servers.mark_unreachable(&key.admin, blocker.clone());
            shared.queue.add(ReconcileKey::Admin(key.admin.clone()), Priority::Normal);
        } else if had_starts && error.class != Class::Transient {
            return Ok(Attempt::Again);
        }
        self.hold_ends(shared, key, &blocker).await?;
        if blocker.stalled {
            self.keep_lives(on, Some(&blocker), false).await;
        }
        Ok(Attempt::Finished)
    }

    /// Had one of the sessions that end access through this account, as far as is known?
    fn was_enabled(&self) -> bool {
        let had_access = |index: usize| {
            matches!(
                phase(&self.gathered.sessions[index].session),
                SessionPhase::Active | SessionPhase::Ending
            )
        };
        self.ends().into_iter().any(had_access)
    }
}

async fn apply(on: Place<'_>, plan: &Plan) -> Result<Applied, rolecall_engine::Error> {
    if !plan.is_nothing() {
        tracing::debug!(account = %on.key, %plan, "applying");
    }
    on.server.engine.apply(plan).await
}

/// Had the server lost the password of sessions that live, as far as it shows?
fn was_lost(plan: &Plan, observed: &Observed, password: &Password) -> bool {
    match (plan, password) {
        // An account that lived is made anew.
        (Plan::Activate(plan), Password::Known(_)) => plan.verifier.is_some(),
        (Plan::Adjust(plan), Password::Known(_)) => plan.verifier.is_some(),
        // Its record is ahead of the sessions: they missed one.
        (Plan::Adjust(_), Password::New(new)) => {
            let owner = observed.account.as_ref().and_then(|account| account.owner.as_ref());
            owner.is_some_and(|owner| new.generation < owner.password_generation)
        }
        _ => false,
    }
}

/// What is to be taken away, and nothing to be given.
fn want_no_more_than_is_held(desired: &mut Desired, observed: &Observed) {
    let Want::Enabled(enabled) = &mut desired.want else { return };
    let memberships = observed.account.iter().flat_map(|account| &account.memberships);
    let held: BTreeSet<&str> = memberships.map(|m| m.role.as_str()).collect();
    enabled.roles.retain(|role, _| held.contains(role.as_str()));
    enabled.sets.retain(|role| held.contains(role.as_str()));
}

/// Reads the account again: a plan on what is seen now must find nothing to do.
async fn verify(server: &Server, desired: &Desired) -> Result<(), Blocker> {
    let settled = plan::settled(desired);
    let observed = match server.engine.observe(&settled.query()).await {
        Ok(observed) => observed,
        Err(error) => return Err(Blocker { stalled: false, ..Blocker::from(&error) }),
    };
    match plan::plan(&settled, &observed) {
        Ok(Plan::Nothing) if plan::lacks_password(&settled, &observed) => Err(Blocker::passing(
            reasons::NOT_VERIFIED,
            "the record of the account tells of another password than the one that was stored",
        )),
        Ok(Plan::Nothing) => Ok(()),
        Ok(plan) => Err(Blocker::passing(
            reasons::NOT_VERIFIED,
            format!("what the server shows is not what was asked for: it would take to {plan}"),
        )),
        Err(refusal) => Err(Blocker::from(&refusal)),
    }
}
