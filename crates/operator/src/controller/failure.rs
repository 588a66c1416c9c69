//! What is reported on an object when its reconcile timed out or panicked: its status from before may be outdated.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use kube::Resource;
use rolecall_api::{Condition, reasons};
use serde::Serialize;
use serde_json::Value;

use crate::cache::Cached;
use crate::model::{Blocker, ReconcileError, ReconcileKey};
use crate::progress::conditions_after_failure;
use crate::{Shared, account, sets};

/// Reports on the object that its reconcile failed so. What the API server refused is not reported there.
pub async fn report(shared: &Shared, key: &ReconcileKey, failed: &ReconcileError) {
    let Some(blocker) = blocker(failed) else { return };
    let written = match key {
        ReconcileKey::Account(key) => {
            account::report_failure(shared, key, &blocker).await;
            Ok(())
        }
        ReconcileKey::Session(key) => {
            let session = shared.cache().session(key);
            report_on(shared, session.as_deref(), &blocker).await
        }
        ReconcileKey::Admin(key) => {
            let admin = shared.cache().admin(key);
            report_on(shared, admin.as_deref(), &blocker).await
        }
        // It is retried soon; what it finds is reported on other objects.
        ReconcileKey::Inventory(_) => Ok(()),
        ReconcileKey::User(key) => {
            let user = shared.cache().user(key);
            report_on(shared, user.as_deref(), &blocker).await
        }
        ReconcileKey::Role(key) => {
            let role = shared.cache().role(key).map(|role| role.object.clone());
            report_on(shared, role.as_deref(), &blocker).await
        }
        ReconcileKey::Rule(key) => {
            let rule = shared.cache().rule(key).map(|rule| rule.object.clone());
            report_on(shared, rule.as_deref(), &blocker).await
        }
        ReconcileKey::PermissionSets(key) => {
            sets::report_failure(shared, key, &blocker);
            Ok(())
        }
    };
    if let Err(error) = written {
        tracing::debug!(%key, %error, "a failed reconcile could not be reported");
    }
}

fn blocker(failed: &ReconcileError) -> Option<Blocker> {
    let (reason, message) = match failed {
        ReconcileError::TimedOut(patience) => (
            reasons::RECONCILE_TIMED_OUT,
            format!(
                "the reconcile was cancelled after {} s and is retried; the status from before may be outdated",
                patience.as_secs()
            ),
        ),
        ReconcileError::Panicked => {
            let message =
                "a bug in the operator: the reconcile panicked and is retried; see the operator's log";
            (reasons::INTERNAL_ERROR, message.to_owned())
        }
        ReconcileError::Unwritten(error) => (reasons::AUDIT_LOG_UNAVAILABLE, error.to_string()),
        ReconcileError::Api(_) | ReconcileError::Engine(_) => return None,
    };
    Some(Blocker::passing(reason, message))
}

/// Ready is False for this reason; all else of the status stays.
async fn report_on<K>(shared: &Shared, object: Option<&K>, blocker: &Blocker) -> kube::Result<()>
where
    K: Cached + Serialize,
{
    let Some(object) = object else { return Ok(()) };
    // What panicked once may panic again.
    let status = catch_unwind(AssertUnwindSafe(|| status(object, blocker, shared.now()))).ok().flatten();
    match status {
        Some(status) => shared.api.apply_status(shared, object, &status).await,
        None => Ok(()),
    }
}

/// The status of an object after a failed reconcile; `None` where it says so already.
fn status<K: Resource<DynamicType = ()> + Serialize>(
    object: &K,
    blocker: &Blocker,
    now: Timestamp,
) -> Option<Value> {
    let mut status =
        serde_json::to_value(object).ok()?.get_mut("status").map(Value::take).unwrap_or_default();
    if !status.is_object() {
        status = serde_json::json!({});
    }
    let before: Vec<Condition> = status
        .get("conditions")
        .cloned()
        .and_then(|list| serde_json::from_value(list).ok())
        .unwrap_or_default();
    let after = conditions_after_failure(&before, object.meta().generation, blocker, now);
    status["conditions"] = serde_json::to_value(&after).ok()?;
    (after != before).then_some(status)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rolecall_api::DatabaseAdmin;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reconcile_that_timed_out_or_panicked_is_reported_with_its_own_reason() {
        let admin: DatabaseAdmin = serde_json::from_value(json!({
            "metadata": {"name": "orders", "generation": 3},
            "spec": {"protocol": "postgres", "uri": "db:5432", "auth": {}},
            "status": {"version": "17.1", "conditions": [
                {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": "2026-01-01T12:00:00Z"},
                {"type": "Stalled", "status": "True", "reason": "X", "message": "", "lastTransitionTime": "2026-01-01T12:00:00Z"},
                {"type": "Capable", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": "2026-01-01T12:00:00Z"},
            ]},
        }))
        .unwrap();
        for (failed, reason) in [
            (ReconcileError::TimedOut(Duration::from_secs(120)), "ReconcileTimedOut"),
            (ReconcileError::Panicked, "InternalError"),
        ] {
            let blocker = blocker(&failed).unwrap();
            let after = status(&admin, &blocker, Timestamp::now()).unwrap();
            assert_eq!(after["version"], "17.1", "all else stays");
            let found = after["conditions"].as_array().unwrap().iter();
            let found: Vec<_> =
                found.map(|c| (c["type"].as_str(), c["status"].as_str(), c["reason"].as_str())).collect();
            let wanted = [
                ("Ready", "False", reason),
                ("Reconciling", "True", reason),
                ("Capable", "True", "Succeeded"),
            ];
            assert_eq!(found, wanted.map(|(a, b, c)| (Some(a), Some(b), Some(c))));
            let mut after_it = admin.clone();
            after_it.status = serde_json::from_value(after).unwrap();
            assert!(status(&after_it, &blocker, Timestamp::now()).is_none(), "it is written once");
        }
    }

    #[test]
    fn what_the_api_server_refused_is_not_reported_there() {
        let refused = kube::Error::Service("no answer".into());
        assert!(blocker(&ReconcileError::Api(refused)).is_none());
    }
}
