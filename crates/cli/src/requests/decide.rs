//! From a session that waits to a decision about it. Pure.

use std::collections::BTreeSet;

use anyhow::{anyhow, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use rolecall_api::{
    ApprovalProgress, DatabaseSession, DatabaseSessionDecision, DatabaseSessionDecisionSpec, DecidedSession,
    SessionPhase, SessionRequest, Verdict, conditions, reasons,
};
use rolecall_resolve::{hash_of, request_hash};

/// Whoever decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Decider {
    /// As the API server calls them.
    pub(super) name: String,
    /// The groups that they are in.
    pub(super) groups: Vec<String>,
    /// The roles that ask for approval, and on behalf of which they may decide.
    pub(super) roles: Vec<String>,
}

/// What a session that waits asks for, and how far that has come.
///
/// # Errors
///
/// It does not wait, or its request is not the one that its hash is of.
pub(super) fn waiting(session: &DatabaseSession) -> anyhow::Result<(&SessionRequest, &ApprovalProgress)> {
    let name = session.name_any();
    let status = session.status.as_ref();
    let ready = status.and_then(|status| conditions::find(&status.conditions, conditions::READY));
    let phase = status.and_then(|status| status.phase).unwrap_or_default();
    let asks = status.and_then(|status| status.request.as_ref().zip(status.approval.as_ref()));
    let waits = phase == SessionPhase::Pending
        && session.metadata.deletion_timestamp.is_none()
        && ready.is_some_and(|ready| ready.reason == reasons::AWAITING_APPROVAL);
    let Some((request, progress)) = asks.filter(|_| waits) else {
        let reason = ready.map(|ready| format!(", {}: {}", ready.reason, ready.message)).unwrap_or_default();
        bail!("the session {name} does not wait for approval; it is {}{reason}", phase.as_str());
    };
    if request_hash(request) != request.hash {
        bail!(
            "the hash of the session {name} is not that of what it asks for: this kubectl rolecall is of another version than the \
             operator, or somebody else wrote the status"
        );
    }
    Ok((request, progress))
}

/// The decision.
///
/// # Errors
///
/// Whoever decides may not.
pub(super) fn decision(
    session: &DatabaseSession,
    decider: &Decider,
    verdict: Verdict,
    reason: Option<&str>,
) -> anyhow::Result<DatabaseSessionDecision> {
    let (request, progress) = waiting(session)?;
    let name = session.name_any();
    if decider.name == request.requested_by {
        bail!(
            "you ask for the session {name} yourself ({}): somebody else has to decide about it",
            decider.name
        );
    }
    let may = |role: &str| decider.roles.iter().any(|known| known == role);
    let named: Vec<&str> =
        progress.needs.iter().map(|need| need.role.as_str()).filter(|role| may(role)).collect();
    if named.is_empty() {
        let roles: Vec<&str> = progress.needs.iter().map(|need| need.role.as_str()).collect();
        let namespace = session.namespace().unwrap_or_default();
        bail!(
            "{} may not decide on behalf of {}: that takes the verb approve on it; who may give it: kubectl create rolebinding approvers \
             --clusterrole=rolecall-approve --user={} -n {namespace}",
            decider.name,
            roles.join(", "),
            decider.name
        );
    }
    // Only those that somebody asks about.
    let asked: BTreeSet<&String> =
        progress.needs.iter().filter_map(|need| need.who.as_ref()).flat_map(|who| &who.groups).collect();
    let groups = decider.groups.iter().filter(|group| asked.contains(group)).cloned().collect();
    let uid = session.uid().unwrap_or_default();
    let spec = DatabaseSessionDecisionSpec {
        session_ref: DecidedSession { name: name.clone(), uid: uid.clone() },
        request_hash: request.hash.clone(),
        requested_by: request.requested_by.clone(),
        roles: named.into_iter().map(str::to_owned).collect(),
        decision: verdict,
        decided_by: decider.name.clone(),
        groups,
        reason: reason.map(str::to_owned),
    };
    let mut decision = DatabaseSessionDecision::new(&object_name(&spec), spec);
    decision.metadata.owner_references = Some(vec![OwnerReference {
        api_version: DatabaseSession::api_version(&()).into_owned(),
        kind: DatabaseSession::kind(&()).into_owned(),
        name,
        uid,
        ..OwnerReference::default()
    }]);
    Ok(decision)
}

/// One name for one decision of one person about one request: made twice it is there already.
fn object_name(spec: &DatabaseSessionDecisionSpec) -> String {
    let of = (&spec.session_ref.uid, &spec.request_hash, &spec.decided_by, spec.decision.as_str());
    let hash = hash_of(&of);
    let name: String = spec.session_ref.name.chars().take(200).collect();
    format!("{name}-{}", &hash["sha256:".len().."sha256:".len() + 12])
}

/// What an API server says of a decision that is there already.
pub(super) fn already(session: &str) -> anyhow::Error {
    anyhow!("you have decided so about the session {session} already")
}

#[cfg(test)]
mod tests {
    use rolecall_api::{ApprovalNeed, Approvers, DatabaseSessionSpec, DatabaseSessionStatus, Time};

    use super::*;

    fn session() -> DatabaseSession {
        let spec =
            DatabaseSessionSpec { requested_by: Some("alice".into()), ..DatabaseSessionSpec::default() };
        let mut session = DatabaseSession::new("alice-orders", spec);
        session.metadata.uid = Some("uid".into());
        let mut request = SessionRequest { requested_by: "alice".into(), ..SessionRequest::default() };
        request.hash = request_hash(&request);
        let time = Time("2126-01-01T10:00:00Z".parse().unwrap());
        let need = |role: &str, groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
            let who = (!groups.is_empty()).then(|| Approvers { groups, ..Approvers::default() });
            ApprovalNeed { role: role.into(), count: 1, given: 0, who }
        };
        let ready =
            conditions::new(conditions::READY, false, reasons::AWAITING_APPROVAL, "", None, time.clone());
        session.status = Some(DatabaseSessionStatus {
            conditions: vec![ready],
            request: Some(request),
            approval: Some(ApprovalProgress {
                requested_at: time.clone(),
                expires_at: time,
                needs: vec![need("r", &["dba"]), need("s", &[])],
            }),
            ..DatabaseSessionStatus::default()
        });
        session
    }

    fn bob(roles: &[&str]) -> Decider {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Decider { name: "bob".into(), groups: owned(&["dba", "secret-project"]), roles: owned(roles) }
    }

    #[test]
    fn a_decision_names_what_was_read_and_on_whose_behalf_and_no_group_that_nobody_asks_about() {
        let decision = decision(&session(), &bob(&["r", "t"]), Verdict::Approve, Some("ok")).unwrap();
        let spec = &decision.spec;
        assert_eq!(spec.roles, ["r"]);
        assert_eq!(spec.groups, ["dba"]);
        assert_eq!(Some(&spec.request_hash), session().status.unwrap().request.as_ref().map(|r| &r.hash));
        assert_eq!((spec.session_ref.uid.as_str(), spec.decided_by.as_str()), ("uid", "bob"));
        let owner = &decision.metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.block_owner_deletion), ("DatabaseSession", None));
    }

    #[test]
    fn whoever_asks_or_lacks_the_verb_is_told_so() {
        let alice = Decider { name: "alice".into(), ..bob(&["r"]) };
        let why = decision(&session(), &alice, Verdict::Approve, None).unwrap_err().to_string();
        assert!(why.contains("you ask for the session"), "{why}");
        let why = decision(&session(), &bob(&["t"]), Verdict::Deny, None).unwrap_err().to_string();
        assert!(why.contains("may not decide on behalf of r, s"), "{why}");
    }

    #[test]
    fn what_does_not_wait_and_what_is_not_what_its_hash_says_is_not_decided() {
        let mut over = session();
        over.status.as_mut().unwrap().phase = Some(SessionPhase::Active);
        assert!(waiting(&over).unwrap_err().to_string().contains("it is Active"));
        let mut other = session();
        other.status.as_mut().unwrap().request.as_mut().unwrap().db_roles = vec!["root".into()];
        assert!(waiting(&other).unwrap_err().to_string().contains("is not that of what it asks for"));
    }

    #[test]
    fn the_same_decision_has_the_same_name() {
        let of = |verdict| decision(&session(), &bob(&["r"]), verdict, None).unwrap().name_any();
        assert_eq!(of(Verdict::Approve), of(Verdict::Approve));
        assert_ne!(of(Verdict::Approve), of(Verdict::Deny));
        assert!(of(Verdict::Deny).starts_with("alice-orders-"));
    }
}
