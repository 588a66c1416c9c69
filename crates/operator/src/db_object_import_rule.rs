//! The status of a DbObjectImportRule: is it valid, which databases does it select, how many objects does it label.

use std::sync::Arc;

use rolecall_api::{DbObjectImportRuleStatus, Time, conditions, reasons};

use crate::Shared;
use crate::model::{Action, ObjectKey, ReconcileError};

/// Reconciles one DbObjectImportRule.
///
/// # Errors
///
/// What the API server refused.
pub async fn reconcile(shared: &Shared, key: &ObjectKey) -> Result<Action, ReconcileError> {
    let now = shared.now();
    let (rule, compiled, databases) = {
        let cache = shared.cache();
        let Some(entry) = cache.rule(key) else { return Ok(Action::await_change()) };
        let databases = entry.compiled.faults().is_empty().then(|| {
            let selected = cache
                .admins_in(&key.namespace)
                .filter(|admin| entry.compiled.applies_to(&rolecall_resolve::database(admin)))
                .count();
            u32::try_from(selected).unwrap_or(u32::MAX)
        });
        (Arc::clone(&entry.object), Arc::clone(&entry.compiled), databases)
    };
    let before = rule.status.clone().unwrap_or_default();
    let condition = |type_: &str, status: bool, reason: &str, message: &str| {
        conditions::new(type_, status, reason, message, rule.metadata.generation, Time(now))
    };
    let list = match compiled.faults() {
        [] => {
            let message = "every pattern and template can be read";
            vec![
                condition(conditions::READY, true, reasons::SUCCEEDED, message),
                condition(conditions::VALID, true, reasons::SUCCEEDED, message),
            ]
        }
        faults => {
            let message = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            vec![
                condition(conditions::READY, false, reasons::INVALID, &message),
                condition(conditions::VALID, false, reasons::INVALID, &message),
                condition(conditions::STALLED, true, reasons::INVALID, &message),
            ]
        }
    };
    let status = DbObjectImportRuleStatus {
        observed_generation: rule.metadata.generation,
        conditions: conditions::merge_transition_times(&before.conditions, list),
        databases,
        objects: shared.sets.labelled_by(&key.namespace, &key.name),
    };
    if rule.status.as_ref() != Some(&status) {
        shared.api.apply_status(shared, &*rule, &status).await?;
    }
    Ok(Action::await_change())
}
