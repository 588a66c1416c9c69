//! What the operator says of a DatabaseAdmin. Pure.

use rolecall_api::{Condition, DatabaseAdmin, conditions, reasons};

use super::report::{Area, Check, Status};

/// Conditions that are good when they are True, in the order in which they are shown.
const GOOD: [&str; 3] = [conditions::READY, conditions::REACHABLE, conditions::CAPABLE];

/// Does the operator reach the server? `None`: it does not say.
pub(super) fn reaches(admin: &DatabaseAdmin) -> Option<bool> {
    let reachable =
        conditions::find(&admin.status.as_ref()?.conditions, conditions::REACHABLE)?.status.clone();
    match reachable.as_str() {
        conditions::TRUE => Some(true),
        conditions::FALSE => Some(false),
        _ => None,
    }
}

/// What the status and the spec say.
pub(super) fn checks(admin: &DatabaseAdmin) -> Vec<Check> {
    let mut checks = Vec::new();
    if admin.metadata.deletion_timestamp.is_some() {
        checks.push(Check::new(
            Area::Cluster,
            Status::Warning,
            "the DatabaseAdmin is being deleted: no session starts, and its accounts are torn down",
        ));
    }
    if admin.spec.suspend {
        checks.push(Check::new(
            Area::Cluster,
            Status::Warning,
            "spec.suspend is true: the operator touches nothing on this server, and no session starts or ends",
        ));
    }
    let status = admin.status.clone().unwrap_or_default();
    let Some(observed) = status.observed_generation else {
        checks.push(Check::failed(
            Area::Cluster,
            "no operator has processed it yet: is rolecall-operator running, and does it watch this namespace?",
        ));
        return checks;
    };
    if admin.metadata.generation.is_some_and(|generation| generation != observed) {
        checks.push(Check::new(
            Area::Cluster,
            Status::Warning,
            "the operator has not processed the newest spec yet: what it says is about an older one",
        ));
    }
    let mut said: Vec<(String, String)> = Vec::new();
    for type_ in GOOD {
        match conditions::find(&status.conditions, type_) {
            Some(condition) => checks.extend(good(condition, &mut said)),
            None if type_ == conditions::READY => {
                checks.push(Check::failed(Area::Cluster, "the operator says nothing about it"));
            }
            None => {}
        }
    }
    for (type_, is) in [
        // Somebody has access without a session.
        (conditions::ORPHANED_ACCOUNTS, Status::Failed),
        (conditions::ACCESS_LISTS_CROWDED, Status::Warning),
    ] {
        let found = conditions::find(&status.conditions, type_);
        if let Some(condition) = found.filter(|condition| condition.status == conditions::TRUE) {
            checks.extend(lines(condition).map(|line| check(is, condition, line)));
        }
    }
    if let Some(accounts) = status.accounts {
        let version = status.version.map(|version| format!("version {version}, ")).unwrap_or_default();
        checks.push(Check::new(
            Area::Cluster,
            Status::Note,
            format!(
                "{version}{} accounts enabled, {} disabled, {} orphaned",
                accounts.enabled, accounts.disabled, accounts.orphaned
            ),
        ));
    }
    checks
}

/// A condition that should be True. What another one has said already is not said again.
fn good(condition: &Condition, said: &mut Vec<(String, String)>) -> Vec<Check> {
    let key = (condition.reason.clone(), condition.message.clone());
    if condition.status == conditions::FALSE {
        if said.contains(&key) {
            return Vec::new();
        }
        said.push(key);
    }
    let status = match condition.status.as_str() {
        conditions::FALSE => Status::Failed,
        conditions::TRUE if condition.reason == reasons::PUBLIC_CONNECT => Status::Warning,
        conditions::TRUE => return vec![check(Status::Ok, condition, &condition.message)],
        _ => Status::Unknown,
    };
    lines(condition).map(|line| check(status, condition, line)).collect()
}

fn check(status: Status, condition: &Condition, line: &str) -> Check {
    Check::new(Area::Cluster, status, format!("{}: {line}", condition.type_)).because(&condition.reason)
}

fn lines(condition: &Condition) -> impl Iterator<Item = &str> {
    condition.message.lines()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn admin(status: Value, generation: i64) -> DatabaseAdmin {
        serde_json::from_value(json!({
            "metadata": {"name": "orders", "generation": generation},
            "spec": {"protocol": "postgres", "uri": "db:5432", "auth": {}},
            "status": status,
        }))
        .expect("it is one")
    }

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
               "lastTransitionTime": "2024-01-01T00:00:00Z"})
    }

    fn shown(admin: &DatabaseAdmin) -> Vec<(Status, String)> {
        checks(admin).into_iter().map(|check| (check.status, check.message)).collect()
    }

    #[test]
    fn each_fault_is_said_once_and_each_line_of_it_for_itself() {
        let status = json!({"observedGeneration": 2, "conditions": [
            condition("Ready", "False", "MissingCreateRole", "run ALTER ROLE"),
            condition("Reachable", "True", "Succeeded", "the admin user can log in"),
            condition("Capable", "False", "MissingCreateRole", "run ALTER ROLE\nrun GRANT"),
            condition("Stalled", "True", "MissingCreateRole", "run ALTER ROLE"),
            condition("OrphanedAccounts", "True", "Orphaned", "bob"),
        ]});
        let expected = [
            (Status::Failed, "Ready: run ALTER ROLE"),
            (Status::Ok, "Reachable: the admin user can log in"),
            (Status::Failed, "Capable: run ALTER ROLE"),
            (Status::Failed, "Capable: run GRANT"),
            (Status::Failed, "OrphanedAccounts: bob"),
        ];
        assert_eq!(shown(&admin(status.clone(), 2)), expected.map(|(is, text)| (is, text.to_owned())));
        assert_eq!(shown(&admin(status, 3))[0].0, Status::Warning, "an older spec");
        let unreachable = json!({"observedGeneration": 1, "conditions": [
            condition("Ready", "False", "DatabaseUnreachable", "no route"),
            condition("Reachable", "False", "DatabaseUnreachable", "no route"),
        ]});
        let unreachable = admin(unreachable, 1);
        assert_eq!(shown(&unreachable), [(Status::Failed, "Ready: no route".to_owned())]);
        assert_eq!((reaches(&unreachable), reaches(&admin(json!({}), 1))), (Some(false), None));
    }

    #[test]
    fn an_open_database_is_a_warning_and_no_operator_a_fault() {
        let status = json!({"observedGeneration": 1, "conditions": [
            condition("Ready", "True", "Succeeded", "fine"),
            condition("Capable", "True", "PublicConnect", "app2\napp3"),
        ]});
        let statuses: Vec<Status> = shown(&admin(status, 1)).into_iter().map(|(is, _)| is).collect();
        assert_eq!(statuses, [Status::Ok, Status::Warning, Status::Warning]);
        let unseen = shown(&admin(json!({}), 1));
        assert!(unseen[0].0 == Status::Failed && unseen[0].1.contains("is rolecall-operator running"));
    }
}
