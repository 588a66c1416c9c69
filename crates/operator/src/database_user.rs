//! The status of a DatabaseUser: does it own its name, do its roles exist, which accounts it has.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rolecall_api::{AccountStatus, DatabaseUser, DatabaseUserStatus, Time, conditions, reasons};

use crate::Shared;
use crate::cache::RoleEntry;
use crate::model::{Action, Blocker, ObjectKey, Priority, ReconcileError};
use crate::progress::{self, stalled_at};

/// Reconciles one DatabaseUser.
///
/// # Errors
///
/// What the API server refused.
pub async fn reconcile(shared: &Shared, key: &ObjectKey) -> Result<Action, ReconcileError> {
    let (user, facts, accounts) = {
        let cache = shared.cache();
        let Some(user) = cache.user(key) else {
            shared.reports.forget_user(key, None);
            return Ok(Action::await_change());
        };
        let roles = |is_so: fn(Option<&RoleEntry>) -> bool| {
            let named = user.spec.roles.iter();
            named.filter(|role| is_so(cache.role(&key.sibling(role)))).cloned().collect()
        };
        let facts = Facts {
            username: cache.username_of(&user),
            taken_by: cache.username_taken_by(&user).and_then(|holder| holder.metadata.name.clone()),
            // One that is going away counts as gone.
            missing: roles(|role| role.is_none_or(|role| role.object.metadata.deletion_timestamp.is_some())),
            invalid: roles(|role| {
                role.is_some_and(|role| {
                    role.object.metadata.deletion_timestamp.is_none() && role.state.is_err()
                })
            }),
        };
        shared.reports.forget_user(key, Some(&facts.username));
        let in_status = user.status.iter().flat_map(|status| &status.accounts).cloned().collect();
        let mut accounts = accounts(in_status, shared.reports.of_user(key));
        accounts.retain(|account| {
            let admin = key.sibling(&account.database);
            cache.admin(&admin).is_some() || cache.is_unreadable(&admin)
        });
        (user, facts, accounts)
    };
    let now = shared.now();
    let status = status(&user, &facts, accounts, now);
    let stalled_at = in_the_way(&facts).and_then(|blocker| stalled_at(&blocker, &status.conditions, now));
    if user.status.as_ref() != Some(&status) {
        shared.api.apply_status(shared, &*user, &status).await?;
    }
    Ok(Action { at: stalled_at.map(|at| (at, Priority::Normal)), ..Action::await_change() })
}

/// What the namespace says about a user.
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
    let ready = match in_the_way(facts) {
        Some(blocker) => vec![
            condition(conditions::READY, false, &blocker.reason, blocker.message.clone()),
            progress::condition(&blocker, &before.conditions, generation, now),
        ],
        None if user.spec.suspend => {
            let message = "spec.suspend is true: no session starts".to_owned();
            vec![condition(conditions::READY, true, reasons::USER_SUSPENDED, message)]
        }
        None => {
            let message = format!("the database user name is {:?}", facts.username);
            vec![condition(conditions::READY, true, reasons::SUCCEEDED, message)]
        }
    };
    let (resolved, reason, message) = roles(facts);
    let resolved = condition(conditions::ROLES_RESOLVED, resolved, reason, message);
    let list = ready.into_iter().chain([resolved]).collect();
    DatabaseUserStatus {
        observed_generation: generation,
        conditions: conditions::merge_transition_times(&before.conditions, list),
        accounts,
    }
}

/// Why no session of the user can start, for reasons of the user itself.
fn in_the_way(facts: &Facts) -> Option<Blocker> {
    if let Some(holder) = &facts.taken_by {
        return Some(Blocker::from(&rolecall_resolve::username_taken(&facts.username, holder)));
    }
    if let Err(refusal) = rolecall_engine::AccountName::new(facts.username.clone()) {
        return Some(Blocker::stalled(reasons::INVALID_USERNAME, refusal.message));
    }
    let (resolved, reason, message) = roles(facts);
    if resolved {
        return None;
    }
    // Where one of them is not valid, it does not matter what else may come.
    let awaited = facts.invalid.is_empty();
    Some(Blocker { awaited, ..Blocker::stalled(reason, message) })
}

/// Do the roles exist, and are they valid? Those that are missing come first.
fn roles(facts: &Facts) -> (bool, &'static str, String) {
    let mut faults = Vec::new();
    if !facts.missing.is_empty() {
        faults.push(format!("these ProvisioningRoles do not exist: {}", facts.missing.join(", ")));
    }
    if !facts.invalid.is_empty() {
        faults.push(format!("these ProvisioningRoles are not valid: {}", facts.invalid.join(", ")));
    }
    let reason = match (facts.missing.is_empty(), facts.invalid.is_empty()) {
        (true, true) => {
            return (true, reasons::SUCCEEDED, "every role exists and is valid".to_owned());
        }
        (false, _) => reasons::ROLE_NOT_FOUND,
        (true, false) => reasons::ROLE_INVALID,
    };
    (false, reason, format!("no session can start: {}", faults.join("; ")))
}

/// One entry for each DatabaseAdmin. Accounts that were not reconciled since the operator started keep the entry that they
/// had. Where a user was made anew with another name while its old account is still usable, that one is reported.
fn accounts(in_status: Vec<AccountStatus>, reports: Vec<AccountStatus>) -> Vec<AccountStatus> {
    let (enabled, others): (Vec<_>, Vec<_>) =
        reports.into_iter().partition(|account| account.phase.is_usable());
    let mut accounts = BTreeMap::new();
    for account in enabled.into_iter().chain(others).chain(in_status) {
        accounts.entry(account.database.clone()).or_insert(account);
    }
    accounts.into_values().collect()
}

#[cfg(test)]
mod tests {
    use rolecall_api::AccountPhase;

    use super::*;

    #[test]
    fn a_user_is_ready_only_when_a_session_of_it_could_start() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let status_of = |user: &DatabaseUser, missing: &[&str], invalid: &[&str], now| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let facts = Facts {
                username: "alice".to_owned(),
                taken_by: None,
                missing: owned(missing),
                invalid: owned(invalid),
            };
            status(user, &facts, Vec::new(), at(now))
        };
        let shown = |status: &DatabaseUserStatus| {
            let conditions = status.conditions.iter();
            let shown = conditions.map(|c| format!("{}={} {}", c.type_, c.status, c.reason));
            shown.collect::<Vec<_>>().join(", ")
        };
        let mut user = DatabaseUser::new("alice", rolecall_api::DatabaseUserSpec::default());
        let well = status_of(&user, &[], &[], 1);
        assert_eq!(shown(&well), "Ready=True Succeeded, RolesResolved=True Succeeded");
        user.status = Some(status_of(&user, &["reader"], &[], 1_000));
        assert_eq!(
            shown(user.status.as_ref().unwrap()),
            "Ready=False RoleNotFound, Reconciling=True RoleNotFound, RolesResolved=False RoleNotFound"
        );
        let late = status_of(&user, &["reader"], &[], 1_120);
        assert_eq!(
            shown(&late),
            "Ready=False RoleNotFound, Stalled=True RoleNotFound, RolesResolved=False RoleNotFound"
        );
        let invalid = status_of(&user, &[], &["reader"], 1_001);
        assert_eq!(
            shown(&invalid),
            "Ready=False RoleInvalid, Stalled=True RoleInvalid, RolesResolved=False RoleInvalid"
        );
        user.spec.suspend = true;
        assert!(shown(&status_of(&user, &["reader"], &[], 1)).starts_with("Ready=False RoleNotFound"));
        assert!(shown(&status_of(&user, &[], &[], 1)).starts_with("Ready=True UserSuspended"));
    }

    #[test]
    fn roles_that_are_missing_are_reported_apart_from_those_that_are_not_valid() {
        let resolved = |missing: &[&str], invalid: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let (missing, invalid) = (owned(missing), owned(invalid));
            roles(&Facts { username: String::new(), taken_by: None, missing, invalid })
        };
        assert_eq!(resolved(&[], &[]).1, reasons::SUCCEEDED);
        let (is_resolved, reason, message) = resolved(&[], &["broken"]);
        assert_eq!((is_resolved, reason), (false, reasons::ROLE_INVALID));
        assert!(message.ends_with("not valid: broken"), "{message}");
        let (_, reason, message) = resolved(&["gone"], &["broken"]);
        assert_eq!(reason, reasons::ROLE_NOT_FOUND);
        assert!(
            message.contains("do not exist: gone; ") && message.ends_with("not valid: broken"),
            "{message}"
        );
    }

    #[test]
    fn each_database_has_one_account_and_the_one_that_can_be_used_is_reported() {
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
