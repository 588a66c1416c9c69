//! The status of a DatabaseUser: does it hold its name, do its roles exist, which accounts has it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rolecall_api::{
    AccountPhase, AccountStatus, DatabaseUser, DatabaseUserStatus, Time, conditions, reasons,
};

use crate::Shared;
use crate::runtime::{Done, Failed};
use crate::world::{ObjectKey, RoleEntry};

/// Looks at one DatabaseUser.
///
/// # Errors
///
/// What the API server refused.
pub async fn reconcile(shared: &Shared, key: &ObjectKey) -> Result<Done, Failed> {
    let (user, facts, accounts) = {
        let world = shared.world();
        let Some(user) = world.user(key) else {
            shared.memory.forget_user(key, None);
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
        shared.memory.forget_user(key, Some(&facts.username));
        let told = user.status.iter().flat_map(|status| &status.accounts).cloned().collect();
        let mut accounts = accounts(told, shared.memory.reports_of(key));
        accounts.retain(|account| {
            let admin = key.sibling(&account.database);
            world.admin(&admin).is_some() || world.is_unreadable(&admin)
        });
        (user, facts, accounts)
    };
    let status = status(&user, &facts, accounts, Timestamp::now());
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
    accounts: Vec<AccountStatus>,
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
            let message = rolecall_resolve::username_taken(&facts.username, holder).message;
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
        accounts,
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

/// One entry for each DatabaseAdmin. Accounts that nobody looked at since the operator started keep the entry that they
/// had. Where a user was made anew with another name while its old account can still be used, that one is told.
fn accounts(told: Vec<AccountStatus>, reports: Vec<AccountStatus>) -> Vec<AccountStatus> {
    let usable = [AccountPhase::Enabled, AccountPhase::Orphaned];
    let (enabled, others): (Vec<_>, Vec<_>) =
        reports.into_iter().partition(|account| usable.contains(&account.phase));
    let mut accounts = BTreeMap::new();
    for account in enabled.into_iter().chain(others).chain(told) {
        accounts.entry(account.database.clone()).or_insert(account);
    }
    accounts.into_values().collect()
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

    #[test]
    fn each_database_has_one_account_and_the_one_that_can_be_used_is_told() {
        use AccountPhase::{Disabled, Dropped, Enabled};
        let account = |database: &str, username: &str, phase| AccountStatus {
            database: database.into(),
            username: username.into(),
            phase,
            ..AccountStatus::default()
        };
        let before = vec![account("b", "al", Disabled), account("a", "al", Disabled)];
        let reports = vec![
            account("b", "alice", Dropped),
            account("c", "alice", Disabled),
            account("c", "al", Enabled),
        ];
        let wanted =
            [account("a", "al", Disabled), account("b", "alice", Dropped), account("c", "al", Enabled)];
        assert_eq!(accounts(before, reports), wanted);
    }
}
