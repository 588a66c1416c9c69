//! The status of a ProvisioningRole: is it valid, which databases does it select, who carries it.

use rolecall_api::{ProvisioningRoleStatus, Time, conditions, reasons};

use crate::Shared;
use crate::model::{Action, ObjectKey, ReconcileError};

/// Reconciles one ProvisioningRole.
///
/// # Errors
///
/// What the API server refused.
pub async fn reconcile(shared: &Shared, key: &ObjectKey) -> Result<Action, ReconcileError> {
    let now = shared.now();
    let (role, status) = {
        let cache = shared.cache();
        let Some(entry) = cache.role(key) else { return Ok(Action::await_change()) };
        let role = &entry.object;
        let databases = entry.state.as_ref().as_ref().ok().map(|_| {
            count(rolecall_resolve::selected(role, cache.admins_in(&key.namespace).map(AsRef::as_ref)))
        });
        let before = role.status.clone().unwrap_or_default();
        let condition = |type_: &str, status: bool, reason: &str, message: String| {
            conditions::new(type_, status, reason, message, role.metadata.generation, Time(now))
        };
        let list = match entry.state.as_ref() {
            Ok(_) => {
                let message = "every template, pattern and expression can be read".to_owned();
                vec![
                    condition(conditions::READY, true, reasons::SUCCEEDED, message.clone()),
                    condition(conditions::VALID, true, reasons::SUCCEEDED, message),
                ]
            }
            Err(faults) => {
                let message = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                vec![
                    condition(conditions::READY, false, reasons::INVALID, message.clone()),
                    condition(conditions::VALID, false, reasons::INVALID, message.clone()),
                    condition(conditions::STALLED, true, reasons::INVALID, message),
                ]
            }
        };
        let status = ProvisioningRoleStatus {
            observed_generation: role.metadata.generation,
            conditions: conditions::merge_transition_times(&before.conditions, list),
            databases,
            users: Some(count(cache.users_with_role(key))),
        };
        (role.clone(), status)
    };
    if role.status.as_ref() != Some(&status) {
        shared.api.apply_status(shared, &*role, &status).await?;
    }
    Ok(Action::await_change())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
