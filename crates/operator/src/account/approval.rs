//! May a session start, as far as that takes the approval of other people? Pure.
//!
//! A decision counts for the exact request that whoever decided has read: it names the session by its uid, and the hash of
//! everything that is asked for. Admission policies have checked who decided, and on behalf of which roles; everything else is
//! checked here, each time that the session is decided, until it starts.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rolecall_api::{
    ApprovalNeed, ApprovalProgress, Approvers, DatabaseSession, DatabaseSessionDecision, ReceivedDecision,
    SessionPhase, SessionRequest, Time, Verdict, reasons,
};
use rolecall_policy::RequiredApproval;
use rolecall_resolve::{Blocked, Grant, exceeds};

use crate::model::session::phase;
use crate::model::{Blocker, plus};

/// Whether a session has the approval that it needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Approval {
    /// It needs none, or is not about to start.
    #[default]
    NotAsked,
    /// It is asked for.
    Asked(Box<Asked>),
}

/// An approval that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// For what.
    pub(super) request: SessionRequest,
    /// How far it has come.
    pub(super) progress: ApprovalProgress,
    /// The decisions that count, the earliest first.
    pub(super) decisions: Vec<ReceivedDecision>,
    /// What came of it so far.
    pub(super) outcome: Outcome,
}

/// What came of a request so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// It waits.
    Waiting(Blocker),
    /// Enough people approved; the last of them then.
    Approved(Timestamp),
    /// Denied, or not decided in time.
    Final(Blocker),
}

/// What an approval is decided from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) session: &'a DatabaseSession,
    /// What the roles ask for.
    pub(super) needs: &'a [RequiredApproval],
    /// What the session asks for now.
    pub(super) request: &'a SessionRequest,
    /// The decisions about it, each with when it was first seen.
    pub(super) decisions: &'a [(&'a DatabaseSessionDecision, Timestamp)],
    pub(super) now: Timestamp,
}

impl Approval {
    /// When it was given, where it was.
    pub(super) fn given_at(&self) -> Option<Timestamp> {
        match self.asked()?.outcome {
            Outcome::Approved(at) => Some(at),
            _ => None,
        }
    }

    /// What is asked for, where something is.
    pub(super) fn asked(&self) -> Option<&Asked> {
        match self {
            Self::NotAsked => None,
            Self::Asked(asked) => Some(asked),
        }
    }
}

/// Why no approval of this session could be relied on, whoever gave it.
pub(super) fn unreliable(session: &DatabaseSession, enforced: bool) -> Result<(), Blocked> {
    if session.spec.requested_by.is_none() {
        return Err(Blocked::permanent(
            reasons::REQUESTER_UNKNOWN,
            "a role asks for approval, and spec.requestedBy does not say who asks for the session, so that nobody could be kept from \
             approving their own; recreate it with spec.requestedBy, or with kubectl rolecall connect",
        ));
    }
    if !enforced {
        return Err(Blocked::new(
            reasons::APPROVALS_NOT_ENFORCED,
            "a role asks for approval, and the operator was not told that the admission policies are in force \
             (--admission-enforced), without which anybody can decide in the name of others",
        ));
    }
    Ok(())
}

/// What came of the decisions about a session that is not live.
pub(super) fn decide(facts: Facts<'_>) -> Asked {
    let Facts { session, needs, request, decisions, now } = facts;
    let before = session.status.as_ref();
    let same =
        before.is_some_and(|status| status.request.as_ref().is_some_and(|known| known.hash == request.hash));
    let since = before.filter(|_| same).and_then(|status| status.approval.as_ref());
    let requested_at = since.map_or(now, |progress| progress.requested_at.0);
    let timeout = needs.iter().map(|need| need.approval.timeout).min().unwrap_or_default();
    let expires_at = plus(requested_at, timeout).unwrap_or(Timestamp::MAX);

    let mut counting: Vec<_> = decisions.iter().filter(|(decision, _)| counts(decision, facts)).collect();
    counting.sort_by_key(|(decision, seen)| (*seen, decision.metadata.name.as_deref()));
    let progress = ApprovalProgress {
        requested_at: Time(requested_at),
        expires_at: Time(expires_at),
        needs: needs.iter().map(|need| state_of(need, &counting)).collect(),
    };
    let received = |(decision, seen): &&(&DatabaseSessionDecision, Timestamp)| ReceivedDecision {
        name: decision.metadata.name.clone().unwrap_or_default(),
        by: decision.spec.decided_by.clone(),
        decision: decision.spec.decision,
        roles: decision.spec.roles.clone(),
        time: decision.metadata.creation_timestamp.clone().unwrap_or(Time(*seen)),
        reason: decision.spec.reason.clone(),
    };
    let void = decisions.len() - counting.len();
    let outcome = outcome(needs, &progress, &counting, void, now);
    Asked { request: request.clone(), progress, decisions: counting.iter().map(received).collect(), outcome }
}

type Seen<'a> = &'a (&'a DatabaseSessionDecision, Timestamp);

fn outcome(
    needs: &[RequiredApproval],
    progress: &ApprovalProgress,
    counting: &[Seen<'_>],
    void: usize,
    now: Timestamp,
) -> Outcome {
    let denial = counting.iter().find(|(decision, _)| decision.spec.decision == Verdict::Deny);
    if let Some((decision, _)) = denial {
        let why = decision.spec.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let message = format!("{} denied it{why}", decision.spec.decided_by);
        return Outcome::Final(Blocker::stalled(reasons::APPROVAL_DENIED, message));
    }
    // The first moment at which nothing was lacking.
    let at = (1..=counting.len()).find_map(|end| {
        let so_far = &counting[..end];
        let is_whole =
            needs.iter().all(|need| approvers(need, so_far).len() >= as_usize(need.approval.count));
        is_whole.then(|| so_far[end - 1].1)
    });
    let in_time = |at: &Timestamp| *at <= progress.expires_at.0;
    if let Some(at) = at.filter(in_time) {
        return Outcome::Approved(at);
    }
    let lacking: Vec<String> =
        progress.needs.iter().filter(|need| need.given < need.count).map(lack).collect();
    let lacking = lacking.join(", ");
    if now >= progress.expires_at.0 {
        let message = format!(
            "it was not approved by {}: it lacked {lacking}; create it again, and tell those who may approve it",
            progress.expires_at.0
        );
        return Outcome::Final(Blocker::stalled(reasons::APPROVAL_EXPIRED, message));
    }
    let void = match void {
        0 => String::new(),
        void => format!(
            "; {void} decision(s) do not count: they are about another request, by whoever asks, or by somebody whom the role does not name"
        ),
    };
    let message = format!(
        "it lacks {lacking}, until {}: somebody else with the verb approve on the role runs kubectl rolecall approve{void}",
        progress.expires_at.0
    );
    Outcome::Waiting(Blocker::passing(reasons::AWAITING_APPROVAL, message))
}

fn lack(need: &ApprovalNeed) -> String {
    format!(
        "{} of {} approval(s) for the ProvisioningRole {:?}",
        need.count - need.given,
        need.count,
        need.role
    )
}

fn state_of(need: &RequiredApproval, counting: &[Seen<'_>]) -> ApprovalNeed {
    let (users, groups) = (need.approval.users.clone(), need.approval.groups.clone());
    let anybody = users.is_empty() && groups.is_empty();
    let given = u32::try_from(approvers(need, counting).len()).unwrap_or(u32::MAX);
    ApprovalNeed {
        role: need.role.clone(),
        count: need.approval.count,
        given: given.min(need.approval.count),
        who: (!anybody).then_some(Approvers { users, groups }),
    }
}

/// Who approved on behalf of a role, each person once.
fn approvers<'a>(need: &RequiredApproval, counting: &[Seen<'a>]) -> BTreeSet<&'a str> {
    let approving = counting
        .iter()
        .filter(|(decision, _)| decision.spec.decision == Verdict::Approve && speaks_for(decision, need));
    approving.map(|(decision, _)| decision.spec.decided_by.as_str()).collect()
}

/// Was this decided on behalf of this role, by somebody whom the role lets decide?
fn speaks_for(decision: &DatabaseSessionDecision, need: &RequiredApproval) -> bool {
    let (users, groups) = (&need.approval.users, &need.approval.groups);
    let is_named = users.is_empty() && groups.is_empty()
        || users.contains(&decision.spec.decided_by)
        || decision.spec.groups.iter().any(|group| groups.contains(group));
    is_named && decision.spec.roles.contains(&need.role)
}

/// Is this decision about this very request, and by somebody who may decide about it?
fn counts(decision: &DatabaseSessionDecision, facts: Facts<'_>) -> bool {
    let Facts { session, needs, request, .. } = facts;
    let spec = &decision.spec;
    let asks = session.spec.requested_by.as_deref().unwrap_or_default();
    decision.metadata.deletion_timestamp.is_none()
        && matches!(spec.decision, Verdict::Approve | Verdict::Deny)
        && session.metadata.uid.as_deref() == Some(spec.session_ref.uid.as_str())
        && session.metadata.name.as_deref() == Some(spec.session_ref.name.as_str())
        && spec.request_hash == request.hash
        // Whoever lied about who asks has got past the admission policy, and no further.
        && spec.requested_by == asks
        && !asks.is_empty()
        && !spec.decided_by.is_empty()
        && spec.decided_by != asks
        && needs.iter().any(|need| speaks_for(decision, need))
}

/// What a live session may have now: what policy gives, and nothing beyond what was approved.
///
/// # Errors
///
/// Policy gives more in a way in which a session cannot be given less: it has to be approved anew.
pub(super) fn within_approved(
    grant: Grant,
    request: &SessionRequest,
    session: &DatabaseSession,
) -> Result<Grant, Blocked> {
    let anew = |what: &str| {
        let message = format!("{what}, which takes an approval of its own; create another session");
        Err(Blocked::new(reasons::AWAITING_APPROVAL, message))
    };
    let approved = session.status.as_ref().and_then(|status| status.request.as_ref());
    let Some(approved) = approved else {
        return anew("a role of the user asks for approval now, and the session started without");
    };
    if let Some(what) = exceeds(request, approved) {
        return anew(&format!("policy gives the session something else than was approved ({what})"));
    }
    let mut grant = grant;
    grant.db_roles.retain(|role, _| approved.db_roles.contains(role));
    let approved = approved.duration.map(rolecall_api::GoDuration::get);
    grant.max_session_ttl = grant.max_session_ttl.into_iter().chain(approved).min();
    Ok(grant)
}

/// Does a session have access, so that it is not about to start?
pub(super) fn is_live(session: &DatabaseSession) -> bool {
    phase(session) == SessionPhase::Active
}

fn as_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
