//! One attempt to make an account what its sessions ask for: desired, observed, plan, apply, read back.
//!
//! Where a step fails for a start, the start is decided again with that ([`Setback`](super::decide::Setback)) and the
//! account should be something else: another attempt follows, from the beginning.

use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::MissingDbRoles;
use rolecall_engine::{Applied, Class, Desired, Observed, Plan, Reason, Want, plan};

use super::conclusion::{Conclusion, Ends, Live, Starts, account_phase};
use super::credentials;
use super::dereference::Snapshot;
use super::desired::{self, Terms};
use super::effects::{self, Effect};
use super::execute::{self, Context};
use super::passwords::{self, Password};
use super::proof::{self, Abandoned, NotEnded};
use super::session::{Session, fail_starts};
use crate::Shared;
use crate::model::session::is_late;
use crate::model::{Blocker, Priority, ReconcileError, WALK, plus};
use crate::servers::Issuer;

/// How soon it is checked again whether a standby confirms.
const STANDBY_RETRY: Duration = Duration::from_secs(5);

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Everything that can be done now is done.
    Concluded,
    /// A start failed, so that the account should be something else now.
    Again,
}

/// Tries everything once.
pub(super) async fn attempt(
    context: Context<'_>,
    snapshot: &mut Snapshot,
    conclusion: &mut Conclusion,
) -> Result<Attempt, ReconcileError> {
    let Context { shared, key, server, account } = context;
    tracing::trace!(target: WALK, %key, "an attempt begins");
    conclusion.begin_attempt();
    desired::choose_candidates(&mut snapshot.sessions, server.platform_roles);
    let kept_sets = execute::want_sets(shared, key, server, snapshot, conclusion);
    credentials::refuse_mismatches(&mut snapshot.sessions, server);
    let admin = snapshot.admin.as_ref();
    let terms = Terms {
        account,
        owner: &server.owner,
        platform_roles: server.platform_roles,
        password: matches!(server.issuer, Issuer::Password),
        create_missing_roles: admin
            .is_some_and(|admin| admin.spec.missing_db_roles == MissingDbRoles::Create),
    };
    let Some(asked) = desired::desired(&snapshot.sessions, &kept_sets, terms) else {
        return Ok(Attempt::Concluded);
    };
    let observed = match execute::observe(context, &asked).await {
        Ok(observed) => observed,
        Err(error) => return Ok(engine_failed(context, snapshot, conclusion, &error).await),
    };
    if execute::remake_missing_sets(context, &asked, &observed) {
        return Ok(Attempt::Again);
    }
    let desired = desired::as_observed(asked, &mut snapshot.sessions, &observed);
    if desired::refuse_databases(&mut snapshot.sessions, &desired, &observed) {
        return Ok(Attempt::Again);
    }
    let password = execute::password(context, snapshot, &desired, &observed).await?;
    let desired = passwords::with_password(desired, &observed, &password);
    let desired = desired::ending_connections(desired, &observed, |role| {
        let wanted = snapshot.sessions.iter().filter_map(|session| session.set.as_ref());
        shared.sets.loses_functions(&key.admin, role, wanted.map(|set| set.role.as_str()))
    });
    let run = Run { context, snapshot, conclusion };
    match plan::plan(&desired, &observed) {
        Ok(plan) if matches!(desired.want, Want::Ended { .. }) => run.end(&desired, &observed, &plan).await,
        Ok(plan) => {
            let sessions = &run.snapshot.sessions;
            match execute::announce_gains(context, sessions, &desired, &observed).await {
                Ok(()) => run.enable(&desired, &observed, &plan, &password, None).await,
                Err(blocker) => run.refused(desired, &observed, blocker, &password).await,
            }
        }
        Err(refusal) => run.refused(desired, &observed, Blocker::from(&refusal), &password).await,
    }
}

/// An attempt whose account has been read and planned.
struct Run<'a> {
    context: Context<'a>,
    snapshot: &'a mut Snapshot,
    conclusion: &'a mut Conclusion,
}

impl Run<'_> {
    /// The account cannot be what it should be. Starts do not happen; live and ended sessions still lose what they
    /// should lose.
    async fn refused(
        self,
        desired: Desired,
        observed: &Observed,
        blocker: Blocker,
        password: &Password,
    ) -> Result<Attempt, ReconcileError> {
        let Self { context, snapshot, conclusion } = self;
        conclusion.report_blocked(account_phase(&desired, observed), &blocker);
        if snapshot.sessions.iter().any(Session::is_starting) {
            fail_starts(&mut snapshot.sessions, &blocker);
            return Ok(Attempt::Again);
        }
        conclusion.retry = true;
        let desired = desired::without_gains(desired, observed);
        if let Ok(plan @ (Plan::Nothing | Plan::Adjust(_))) = plan::plan(&desired, observed) {
            if let Want::Enabled(enabled) = &desired.want {
                conclusion.reduced_roles = Some(enabled.roles.keys().cloned().collect());
            }
            let run = Run { context, snapshot, conclusion };
            return run.enable(&desired, observed, &plan, password, Some(blocker)).await;
        }
        // Live sessions on an account that somebody took: it is not ours to touch any more.
        let ends = match proof::check_not_ours(&desired, observed, snapshot.was_enabled(), &blocker) {
            Ok(proof) => Ends::Gone { proof, kept_because: None, reassigned: None },
            Err(why) => not_ended(context.shared, snapshot, why),
        };
        conclude_ends(context, snapshot, conclusion, ends).await;
        conclude_live(context, snapshot, conclusion, Trust::Troubled(blocker)).await;
        Ok(Attempt::Concluded)
    }

    /// No session needs the account any more.
    async fn end(
        self,
        desired: &Desired,
        observed: &Observed,
        plan: &Plan,
    ) -> Result<Attempt, ReconcileError> {
        let Self { context, snapshot, conclusion } = self;
        match execute::end(context, desired, observed, plan, snapshot.was_enabled()).await {
            Ok((applied, proof)) => {
                conclusion.report_ended(desired, observed, &applied);
                let Applied { kept_because, reassigned, .. } = applied;
                let ends = Ends::Gone { proof, kept_because, reassigned };
                conclude_ends(context, snapshot, conclusion, ends).await;
                context.carry_out(effects::of_end());
                Ok(Attempt::Concluded)
            }
            Err(NotEnded::LeftAlone(refusal)) => {
                let blocker = Blocker::from(&refusal);
                conclusion.report_blocked(account_phase(desired, observed), &blocker);
                let ends = not_ended(context.shared, snapshot, blocker);
                conclude_ends(context, snapshot, conclusion, ends).await;
                Ok(Attempt::Concluded)
            }
            Err(NotEnded::Engine(error)) => Ok(engine_failed(context, snapshot, conclusion, &error).await),
        }
    }

    /// Sessions live or start. `trouble`: why they do not have all that they should.
    async fn enable(
        self,
        desired: &Desired,
        observed: &Observed,
        plan: &Plan,
        password: &Password,
        trouble: Option<Blocker>,
    ) -> Result<Attempt, ReconcileError> {
        let Self { context, snapshot, conclusion } = self;
        let Want::Enabled(enabled) = &desired.want else { return Ok(Attempt::Concluded) };
        if refuse_late_starts(snapshot, context.shared.now())
            || !execute::prepare_starts(context, snapshot, password.get()).await
        {
            return Ok(Attempt::Again);
        }
        let changed = context.shared.applied.changed(context.key, observed, &desired.owner.uid);
        let applied = match execute::apply(context, plan).await {
            Ok(applied) => applied,
            Err(error) => {
                context.carry_out([Effect::Unsure]);
                return Ok(engine_failed(context, snapshot, conclusion, &error).await);
            }
        };
        let was_lost = passwords::was_lost(plan, observed, password);
        if was_lost {
            tracing::warn!(account = %context.key, "the server had lost the password of a live account");
            conclusion.lost_password = password.restored();
        }
        context.carry_out(effects::of_applied(context.key, password, was_lost));
        execute::renew_shared_password(context, snapshot, password).await;
        let verified = match execute::read_back(context, desired, observed, plan).await {
            Ok(verified) => verified,
            Err(blocker) => {
                fail_starts(&mut snapshot.sessions, &blocker);
                conclusion.retry = true;
                if !snapshot.sessions.iter().any(Session::is_live) {
                    return Ok(Attempt::Again);
                }
                let ends = not_ended(context.shared, snapshot, blocker.clone());
                conclude_ends(context, snapshot, conclusion, ends).await;
                conclude_live(context, snapshot, conclusion, Trust::Troubled(blocker)).await;
                return Ok(Attempt::Concluded);
            }
        };
        if refuse_late_starts(snapshot, context.shared.now()) {
            return Ok(Attempt::Again);
        }
        let effect = effects::of_verified(enabled, &desired.owner, observed.dialect);
        context.carry_out([effect]);
        if let Some(what) = changed {
            tracing::warn!(account = %context.key, what, "somebody changed a live account");
            conclusion.changed = Some(match &applied.not_reset {
                None => format!("{what}; it is as it should be again"),
                Some(why) => format!("{what}; not all of it could be taken back: {why}"),
            });
        }
        let Applied { kept_because, reassigned, .. } = applied;
        let ends = Ends::Gone { proof: verified.others_ended(), kept_because, reassigned };
        conclude_ends(context, snapshot, conclusion, ends).await;
        let is_whole = trouble.is_none();
        conclude_live(context, snapshot, conclusion, Trust::Verified { verified, trouble }).await;
        if is_whole {
            conclusion.starts = Starts::Started(verified);
            conclusion.report_enabled();
        }
        Ok(Attempt::Concluded)
    }
}

/// How far the access of live sessions can be trusted.
pub(super) enum Trust {
    /// The server was read back. `trouble`: what they lack nevertheless.
    Verified { verified: super::proof::Verified, trouble: Option<Blocker> },
    /// The server was not asked, or cannot be: they have what they had.
    Unasked,
    /// Something is wrong.
    Troubled(Blocker),
}

/// What is known of live sessions now. Their credentials are renewed when it is time, unless that would do no good.
pub(super) async fn conclude_live(
    context: Context<'_>,
    snapshot: &mut Snapshot,
    conclusion: &mut Conclusion,
    trust: Trust,
) {
    let wanted =
        || desired::account_roles(&snapshot.sessions, context.server.platform_roles).unwrap_or_default();
    conclusion.roles = conclusion.reduced_roles.clone().unwrap_or_else(|| wanted().into_keys().collect());
    let renew = !matches!(trust, Trust::Troubled(_));
    execute::keep_live(context, snapshot, renew).await;
    let (verified, trouble) = match trust {
        Trust::Verified { verified, trouble } => (Some(verified), trouble),
        Trust::Unasked => (None, None),
        Trust::Troubled(blocker) => (None, Some(blocker)),
    };
    if trouble.is_none() && snapshot.sessions.iter().any(Session::is_live) {
        conclusion.report_enabled();
    }
    conclusion.live = Live::Kept { verified, trouble };
}

async fn conclude_ends(
    context: Context<'_>,
    snapshot: &mut Snapshot,
    conclusion: &mut Conclusion,
    ends: Ends,
) {
    conclusion.ends = ends;
    execute::revoke_ended(context.shared, Some(context.server), &mut snapshot.sessions, conclusion).await;
}

/// Accesses that should end and cannot: where the server is gone for good they are abandoned, otherwise they stay.
pub(super) fn not_ended(shared: &Shared, snapshot: &Snapshot, blocker: Blocker) -> Ends {
    let abandoned = Abandoned::after(
        shared.settings.teardown_deadline,
        snapshot.admin.as_ref().map(|_| snapshot.admin_deleted_at),
        snapshot.server.as_ref(),
        snapshot.now,
    );
    match abandoned {
        Some(proof) => Ends::Abandoned { proof, blocker },
        None => Ends::Blocked(blocker),
    }
}

/// The server failed or refused.
async fn engine_failed(
    context: Context<'_>,
    snapshot: &mut Snapshot,
    conclusion: &mut Conclusion,
    error: &rolecall_engine::Error,
) -> Attempt {
    let Context { shared, key, .. } = context;
    let blocker = Blocker::from(error);
    tracing::warn!(account = %key, %error, "an access could not be ended");
    conclusion.retry = true;
    if matches!(error.class, Class::Unreachable | Class::Transient) {
        // It would fail for the others too.
        snapshot.sessions.iter_mut().for_each(|session| session.set_aside = false);
    }
    if error.reason == Reason::WaitingForStandby {
        conclusion.at_earliest(plus(snapshot.now, STANDBY_RETRY).map(|at| (at, Priority::Urgent)));
    }
    let had_starts = snapshot.sessions.iter().any(Session::is_starting);
    fail_starts(&mut snapshot.sessions, &blocker);
    context.carry_out(effects::of_failure(key, error));
    if had_starts && matches!(error.class, Class::Refused | Class::Invalid) {
        return Attempt::Again;
    }
    let ends = not_ended(shared, snapshot, blocker.clone());
    conclude_ends(context, snapshot, conclusion, ends).await;
    if blocker.stalled {
        conclude_live(context, snapshot, conclusion, Trust::Troubled(blocker)).await;
    }
    Attempt::Concluded
}

/// Whoever could not start in time does not start, whatever the server has done by now. True where there was one.
fn refuse_late_starts(snapshot: &mut Snapshot, now: Timestamp) -> bool {
    let mut late = false;
    for session in snapshot.sessions.iter_mut().filter(|session| session.is_starting()) {
        let times = crate::model::session::Times { now, ..session.times };
        if is_late(&session.object, session.timed, times) {
            session.set_back_late(now);
            late = true;
        }
    }
    if late {
        snapshot.now = now;
    }
    late
}
