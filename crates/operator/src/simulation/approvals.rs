//! Approvals: what people decide about sessions, and what has to be true of it.

use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::{
    DatabaseSession, DatabaseSessionDecision, DatabaseUser, ProvisioningRole, SessionPhase, Verdict,
    conditions, reasons,
};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::evidence::Evidence;
use super::invariants::Break;
use super::oracle::{Allowed, Grants};
use super::store::Store;
use crate::model::session::phase;

/// Who asks for every session.
pub(super) const ASKS: &str = "alice@example.com";
/// Who may decide.
const DECIDES: &str = "bob@example.com";

/// What somebody does about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decides {
    /// Somebody approves what the session asks for now.
    Approve,
    /// Somebody denies it.
    Deny,
    /// Whoever asks approves it, and gets past admission.
    ApproveOwn,
    /// What was decided is taken back.
    TakeBack,
}

/// Carries that out.
pub(super) fn decide(
    store: &mut Store,
    evidence: &mut Evidence,
    session: &str,
    what: Decides,
    now: Timestamp,
) {
    let (by, decision) = match what {
        Decides::Approve => (DECIDES, Verdict::Approve),
        Decides::Deny => (DECIDES, Verdict::Deny),
        Decides::ApproveOwn => (ASKS, Verdict::Approve),
        Decides::TakeBack => {
            let decisions = store.all::<DatabaseSessionDecision>().into_iter();
            for decision in decisions.filter(|decision| decision.spec.session_ref.name == session) {
                store.delete::<DatabaseSessionDecision>(&decision.name_any(), now);
            }
            return;
        }
    };
    let Some(session) = store.get::<DatabaseSession>(session) else { return };
    let Some(request) = session.status.as_ref().and_then(|status| status.request.as_ref()) else { return };
    let uid = session.uid().unwrap_or_default();
    if what == Decides::Approve {
        evidence.approved.insert((uid.clone(), request.hash.clone()));
    }
    let (name, short) = (session.name_any(), request.hash.get(7..15).unwrap_or_default());
    let object: DatabaseSessionDecision = serde_json::from_value(json!({
        "metadata": {
            "name": format!("{name}-{}-{}-{short}", decision.as_str().to_lowercase(), &by[..3]),
            "ownerReferences": [{
                "apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession", "name": name, "uid": uid,
            }],
        },
        "spec": {
            "sessionRef": {"name": name, "uid": uid},
            "requestHash": request.hash,
            "requestedBy": ASKS,
            "roles": super::operation::ROLES,
            "decision": decision,
            "decidedBy": by,
        },
    }))
    .unwrap();
    store.create(&object, now);
}

/// Does a role of the session's user ask for approval?
pub(super) fn is_asked(store: &Store, session: &DatabaseSession) -> bool {
    let Some(user) = store.get::<DatabaseUser>(&session.spec.user) else { return false };
    let roles = user.spec.roles.iter().filter_map(|role| store.get::<ProvisioningRole>(role));
    roles.into_iter().any(|role| Grants::of(&role) == Grants::Approved)
}

/// What a live session may have where a role asks for approval: nothing beyond what was approved.
pub(super) fn within(store: &Store, session: &DatabaseSession, mut allowed: Allowed) -> Option<Allowed> {
    if !is_asked(store, session) || phase(session) != SessionPhase::Active {
        return Some(allowed);
    }
    let request = session.status.as_ref()?.request.as_ref()?;
    if allowed.select && request.permissions.is_none() {
        return None;
    }
    allowed.roles.retain(|role| request.db_roles.iter().any(|approved| approved == role));
    let approved = request.duration.and_then(|duration| i64::try_from(duration.get().as_secs()).ok());
    allowed.ttl = allowed.ttl.into_iter().chain(approved).min();
    Some(allowed)
}

/// Does a session wait for people, who have not decided?
pub(super) fn waits_for_people(store: &Store, session: &DatabaseSession) -> bool {
    let Some(status) = &session.status else { return false };
    let ready = conditions::find(&status.conditions, conditions::READY);
    let awaits = ready.is_some_and(|ready| ready.reason == reasons::AWAITING_APPROVAL);
    let Some(request) = status.request.as_ref().filter(|_| awaits) else { return false };
    !store
        .all::<DatabaseSessionDecision>()
        .iter()
        .any(|decision| decision.spec.request_hash == request.hash && decision.spec.decided_by == DECIDES)
}

impl Cluster {
    /// A session becomes Active only where exactly that was approved by somebody else.
    pub(super) fn check_approved(&self, is: &DatabaseSession) {
        let Some(request) = is.status.as_ref().and_then(|status| status.request.as_ref()) else { return };
        let of = (is.uid().unwrap_or_default(), request.hash.clone());
        if !self.evidence().approved.contains(&of) {
            self.violated(format!("{} is Active, and nobody else has approved it", is.name_any()));
        }
        let said = self.evidence().approvers.get(&of.0).cloned().unwrap_or_default();
        if !said.iter().any(|by| by == DECIDES) {
            self.violated(format!(
                "{} is Active, and the audit log does not say who approved",
                is.name_any()
            ));
        }
    }

    /// A decision as the operator hears of it: who made it may be somebody else, on purpose.
    pub(super) fn hiding_who_decided(&self, mut object: Value) -> Value {
        if self.breaks(Break::DecidersAreHidden) && object["spec"]["decidedBy"] == ASKS {
            object["spec"]["decidedBy"] = json!(DECIDES);
        }
        object
    }
}
