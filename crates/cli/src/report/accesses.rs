//! Accesses from the audit log and from objects, each once. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use rolecall_api::{DatabaseSession, EndReason, SessionPhase, Verdict, conditions};
use rolecall_ledger::{Access, State};
use serde::Serialize;

/// Where an access is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The audit log; its session is gone, or was not read.
    Ledger,
    /// Its session alone.
    Object,
    /// Both.
    Both,
}

/// An access of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The access.
    #[serde(flatten)]
    pub access: Access,
    /// Where it is known from.
    pub source: Source,
    /// Where the audit log and the session say different things.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disagreement: Vec<String>,
}

/// What the audit log and the sessions say together. The newest access of a session is the one that its status shows.
pub fn items(ledger: Vec<Access>, sessions: &[DatabaseSession]) -> Vec<Item> {
    let mut objects: BTreeMap<String, Access> = of_sessions(sessions);
    let mut newest: BTreeMap<&str, &str> = BTreeMap::new();
    for access in &ledger {
        newest.insert(&access.uid, &access.id);
    }
    let newest: BTreeSet<String> = newest.into_values().map(str::to_owned).collect();
    let mut items: Vec<Item> = ledger
        .into_iter()
        .map(|access| {
            let object = objects.get(&access.uid).filter(|_| newest.contains(&access.id)).cloned();
            match object {
                None => Item { access, source: Source::Ledger, disagreement: Vec::new() },
                Some(object) => {
                    objects.remove(&access.uid);
                    together(access, &object)
                }
            }
        })
        .collect();
    let alone = |access| Item { access, source: Source::Object, disagreement: Vec::new() };
    items.extend(objects.into_values().map(alone));
    items.sort_by(|a, b| {
        let key = |item: &Item| (item.access.started_at.or(item.access.ended_at), item.access.id.clone());
        key(a).cmp(&key(b))
    });
    items
}

fn together(mut access: Access, object: &Access) -> Item {
    let mut disagreement = Vec::new();
    let is_open = |state: State| matches!(state, State::Active | State::Ending | State::Unclear);
    if is_open(access.state) && !is_open(object.state) {
        disagreement.push(format!(
            "the session is {}, and the audit log does not say that the access ended",
            object.state.as_str()
        ));
        access.state = object.state;
        access.ended_at = object.ended_at;
        access.reason.clone_from(&object.reason);
        access.proven = object.proven;
    } else if !is_open(access.state) && object.state == State::Active {
        disagreement.push("the session is active, and the audit log says that the access ended".to_owned());
    }
    if access.state == State::Unclear && object.state == State::Active {
        access.state = State::Active;
        access.started_at = object.started_at;
        disagreement.push(
            "the session is active, and the audit log does not say that the access was given".to_owned(),
        );
    }
    access.started_at = access.started_at.or(object.started_at);
    if access.requested_by.is_empty() {
        access.requested_by.clone_from(&object.requested_by);
    }
    access.approved_by.extend(object.approved_by.iter().cloned());
    Item { access, source: Source::Both, disagreement }
}

/// What the status of each session says of its access, by uid. Those that have had none are left out.
pub fn of_sessions(sessions: &[DatabaseSession]) -> BTreeMap<String, Access> {
    sessions.iter().filter_map(|session| Some((session.uid()?, of_session(session)?))).collect()
}

fn of_session(session: &DatabaseSession) -> Option<Access> {
    let status = session.status.as_ref()?;
    let given = status.started_at.is_some();
    let abandoned = matches!(status.end_reason, Some(EndReason::Abandoned));
    let state = match status.phase.unwrap_or_default() {
        SessionPhase::Active => State::Active,
        SessionPhase::Ending if given => State::Ending,
        SessionPhase::Ended if abandoned => State::LeftOpen,
        SessionPhase::Ended if given => State::Ended,
        SessionPhase::Rejected => State::Refused,
        _ => return None,
    };
    let ready = conditions::find(&status.conditions, conditions::READY);
    let reason = match state {
        State::Active => String::new(),
        _ => ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
    };
    let spec = &session.spec;
    Some(Access {
        id: session.uid().unwrap_or_default(),
        namespace: session.namespace().unwrap_or_default(),
        session: session.name_any(),
        uid: session.uid().unwrap_or_default(),
        user: spec.user.clone(),
        database: spec.database.clone(),
        database_name: spec.database_name.clone().unwrap_or_default(),
        username: status.username.clone().unwrap_or_default(),
        db_roles: status.db_roles.iter().cloned().collect(),
        permissions: status.permissions.clone(),
        roles: BTreeSet::new(),
        why: spec.reason.clone().unwrap_or_default(),
        requested_by: spec.requested_by.clone().unwrap_or_default(),
        approved_by: approvers(session),
        state,
        started_at: status.started_at.as_ref().map(|at| at.0),
        expires_at: status.expires_at.as_ref().map(|at| at.0),
        ended_at: status.ended_at.as_ref().map(|at| at.0),
        reason,
        proven: state == State::Ended,
        returned: Vec::new(),
        evidence: Vec::new(),
    })
}

/// Who approved, as `status.approvals` says.
fn approvers(session: &DatabaseSession) -> BTreeSet<String> {
    let decisions = session.status.iter().flat_map(|status| &status.approvals);
    let approving = decisions.filter(|decision| decision.decision == Verdict::Approve);
    approving.map(|decision| decision.by.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::report::samples;

    fn session(uid: &str, status: Value) -> DatabaseSession {
        serde_json::from_value(json!({
            "metadata": {"name": uid, "namespace": "shop", "uid": uid},
            "spec": {"user": "alice", "database": "orders", "requestedBy": "carol"},
            "status": status,
        }))
        .unwrap()
    }

    fn active() -> Value {
        json!({"phase": "Active", "startedAt": "2026-11-01T00:00:00Z", "dbRoles": ["reader"]})
    }

    #[test]
    fn an_access_of_both_is_listed_once() {
        let sessions =
            [session("a", active()), session("b", active()), session("waits", json!({"phase": "Pending"}))];
        let all =
            items(vec![samples::access("a", State::Active), samples::access("c", State::Ended)], &sessions);
        let found: Vec<_> = all.iter().map(|item| (&*item.access.id, item.source)).collect();
        assert_eq!(found, [("b", Source::Object), ("a", Source::Both), ("c", Source::Ledger)]);
        assert!(all.iter().all(|item| item.disagreement.is_empty()), "{all:?}");
    }

    #[test]
    fn a_session_shows_its_newest_access_only() {
        let (mut old, mut new) = (samples::access("a", State::Ended), samples::access("a#2", State::Active));
        (old.uid, new.uid) = ("a".into(), "a".into());
        let all = items(vec![old, new], &[session("a", active())]);
        let found: Vec<_> = all.iter().map(|item| (&*item.access.id, item.source)).collect();
        assert_eq!(found, [("a", Source::Ledger), ("a#2", Source::Both)]);
    }

    #[test]
    fn what_the_log_lacks_is_said() {
        let over = json!({"phase": "Ended", "startedAt": "2026-11-01T00:00:00Z", "endedAt": "2026-11-01T01:00:00Z",
            "endReason": "Expired"});
        let all = items(vec![samples::access("a", State::Active)], &[session("a", over)]);
        assert_eq!(all[0].access.state, State::Ended);
        assert!(all[0].disagreement[0].contains("does not say that the access ended"));
        let all = items(vec![samples::access("a", State::Ended)], &[session("a", active())]);
        assert_eq!(all[0].disagreement.len(), 1);
    }

    #[test]
    fn an_access_that_was_abandoned_is_not_called_ended() {
        let over = json!({"phase": "Ended", "startedAt": "2026-11-01T00:00:00Z", "endReason": "Abandoned"});
        let found = of_sessions(&[session("a", over)]);
        assert_eq!((found["a"].state, found["a"].proven), (State::LeftOpen, false));
    }
}
