//! The status of a DatabaseUser: does it hold its name, do its roles exist, which accounts has it.

use jiff::Timestamp;
use rolecall_api::{AccountStatus, DatabaseUser, DatabaseUserStatus, Time, conditions, reasons};

use crate::Shared;
use crate::runtime::{Done, Failed};
use crate::world::{ObjectKey, RoleEntry};

/// Looks at one DatabaseUser.
///
/// # Errors
///
/// What the API server refused.
pub async fn reconcile(shared: &Shared, key: &ObjectKey) -> Result<Done, Failed> {
    let (user, facts) = {
        let world = shared.world();
        let Some(user) = world.user(key) else {
            shared.memory.forget_user(key);
            return Ok(Done::nothing());
        };
        let roles = |is_so: fn(Option<&RoleEntry>) -> bool| {
            let named = user.spec.roles.iter();
            named.filter(|role| is_so(world.role(&key.sibling(role)))).cloned().collect()
        };
        let facts = Facts {
            username: world.username_of(&user),
            taken_by: world.username_taken_by(&user).and_then(|holder| holder.metadata.name.clone()),
            missing: roles(|role| role.is_none()),
            invalid: roles(|role| role.is_some_and(|role| role.state.is_err())),
        };
        (user, facts)
    };
    let status = status(&user, &facts, shared.memory.reports_of(key), Timestamp::now());
    if user.status.as_ref() != Some(&status) {
        shared.objects.apply_status(shared, &*user, &status).await?;
    }
    Ok(Done::nothing())
}

/// What the namespace tells about a user.
struct Facts {
    username: String,
    taken_by: Option<String>,
    missing: Vec<String>,
    invalid: Vec<String>,
}

fn status(
    user: &DatabaseUser,
    facts: &Facts,
    reports: Vec<AccountStatus>,
    now: Timestamp,
) -> DatabaseUserStatus {
    let before = user.status.clone().unwrap_or_default();
    let generation = user.metadata.generation;
    let condition = |type_: &str, status: bool, reason: &str, message: String| {
        conditions::new(type_, status, reason, message, generation, Time(now))
    };
    let mut list = Vec::new();
    let name = rolecall_engine::AccountName::new(facts.username.clone());
    match (&facts.taken_by, &name) {
        (Some(holder), _) => {
            let message = format!(
                "the older DatabaseUser {holder:?} has the database user name {:?} too; create this one anew with another spec.username",
                facts.username
            );
            list.push(condition(conditions::READY, false, reasons::USERNAME_TAKEN, message.clone()));
            list.push(condition(conditions::STALLED, true, reasons::USERNAME_TAKEN, message));
        }
        (None, Err(refusal)) => {
            list.push(condition(
                conditions::READY,
                false,
                reasons::INVALID_USERNAME,
                refusal.message.clone(),
            ));
            list.push(condition(
                conditions::STALLED,
                true,
                reasons::INVALID_USERNAME,
                refusal.message.clone(),
            ));
        }
        (None, Ok(_)) if user.spec.suspend => {
            let message = "spec.suspend is true: no session starts".to_owned();
            list.push(condition(conditions::READY, true, reasons::USER_SUSPENDED, message));
        }
        (None, Ok(_)) => {
            let message = format!("the database user name is {:?}", facts.username);
            list.push(condition(conditions::READY, true, reasons::SUCCEEDED, message));
        }
    }
    let (resolved, reason, message) = roles(facts);
    list.push(condition(conditions::ROLES_RESOLVED, resolved, reason, message));
    DatabaseUserStatus {
        observed_generation: generation,
        conditions: conditions::merge_transition_times(&before.conditions, list),
        accounts: merge(before.accounts, reports),
    }
}

/// Do the roles exist, and are they valid? One that is missing is told first.
fn roles(facts: &Facts) -> (bool, &'static str, String) {
    let mut told = Vec::new();
    if !facts.missing.is_empty() {
        told.push(format!("these ProvisioningRoles do not exist: {}", facts.missing.join(", ")));
    }
    if !facts.invalid.is_empty() {
        told.push(format!("these ProvisioningRoles are not valid: {}", facts.invalid.join(", ")));
    }
    let reason = match (facts.missing.is_empty(), facts.invalid.is_empty()) {
        (true, true) => {
            return (true, reasons::SUCCEEDED, "every role exists and is valid".to_owned());
        }
        (false, _) => reasons::ROLE_NOT_FOUND,
        (true, false) => reasons::ROLE_INVALID,
    };
    (false, reason, format!("no session can start: {}", told.join("; ")))
}

/// Accounts that nobody looked at since the operator started keep the entry that they had.
fn merge(before: Vec<AccountStatus>, reports: Vec<AccountStatus>) -> Vec<AccountStatus> {
    let mut accounts: Vec<AccountStatus> =
        before.into_iter().filter(|old| !reports.iter().any(|new| new.database == old.database)).collect();
    accounts.extend(reports);
    accounts.sort_by(|a, b| a.database.cmp(&b.database));
    accounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_are_missing_are_told_from_those_that_are_not_valid() {
        let told = |missing: &[&str], invalid: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let (missing, invalid) = (owned(missing), owned(invalid));
            roles(&Facts { username: String::new(), taken_by: None, missing, invalid })
        };
        assert_eq!(told(&[], &[]).1, reasons::SUCCEEDED);
        let (resolved, reason, message) = told(&[], &["broken"]);
        assert_eq!((resolved, reason), (false, reasons::ROLE_INVALID));
        assert!(message.ends_with("not valid: broken"), "{message}");
        let (_, reason, message) = told(&["gone"], &["broken"]);
        assert_eq!(reason, reasons::ROLE_NOT_FOUND);
        assert!(
            message.contains("do not exist: gone; ") && message.ends_with("not valid: broken"),
            "{message}"
        );
    }
}
