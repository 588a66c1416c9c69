//! What keeps an account from being enabled, each with what to do about it.

use std::collections::BTreeSet;

use super::{claim, is_live};
use crate::account::{Desired, Enabled, Observed, WantedRole};
use crate::error::Refusal;
use crate::{Claim, MARKER, Reason};

/// The first reason not to enable the account.
pub(super) fn first_refusal(desired: &Desired, enabled: &Enabled, observed: &Observed) -> Option<Refusal> {
    CHECKS.iter().find_map(|check| check(desired, enabled, observed))
}

/// One reason not to enable an account. The first that applies is reported.
type Check = fn(&Desired, &Enabled, &Observed) -> Option<Refusal>;

const CHECKS: &[Check] = &[
    // The server must take the user for who it is.
    impossible,
    // The admin user hands the marker out; it is no account.
    admin_user,
    // A user that somebody made by hand is never touched.
    unmanaged,
    // Nor is an account that another DatabaseAdmin, or Teleport, works with now.
    used_by_somebody_else,
    // What the last session left must be gone before the next one.
    leftover,
    // The roles must be there, and be such as may be handed out.
    roles,
    // So must the permission sets, and be our own.
    sets,
];

fn impossible(desired: &Desired, _: &Enabled, observed: &Observed) -> Option<Refusal> {
    let fault = observed.dialect.user_fault(&desired.account).or_else(|| observed.user_fault.clone())?;
    Some(Refusal::new(
        Reason::InvalidUsername,
        format!(
            "{:?} cannot be a database user: {fault}; set another spec.username in the DatabaseUser",
            desired.account.as_str()
        ),
    ))
}

fn admin_user(desired: &Desired, _: &Enabled, observed: &Observed) -> Option<Refusal> {
    (desired.account.as_str() == observed.admin_user).then(|| {
        Refusal::new(
            Reason::InvalidUsername,
            format!(
                "{:?} is the admin user of the server; set another spec.username in the DatabaseUser",
                observed.admin_user
            ),
        )
    })
}

fn unmanaged(desired: &Desired, _: &Enabled, observed: &Observed) -> Option<Refusal> {
    let account = observed.account.as_ref()?;
    (!account.managed).then(|| {
        Refusal::new(
            Reason::UserConflict,
            format!(
                "a user {:?} exists that is not managed ({}) and is left alone; rename or drop that user, or set another spec.username in the DatabaseUser",
                desired.account.as_str(),
                observed.dialect.no_marker()
            ),
        )
    })
}

fn used_by_somebody_else(desired: &Desired, enabled: &Enabled, observed: &Observed) -> Option<Refusal> {
    let account = observed.account.as_ref()?;
    let claim = claim(desired, account);
    if claim.is_ours_to_end() || is_live(desired, enabled, observed) {
        return None;
    }
    let holder = account
        .owner
        .as_ref()
        .map_or_else(|| "somebody else".to_owned(), |o| format!("DatabaseAdmin {} (uid {})", o.admin, o.uid));
    let busy = if account.backends > 0 {
        format!("has {} open connections", account.backends)
    } else if account.enabled && account.owner.is_some() {
        "is enabled".to_owned()
    } else {
        return None;
    };
    let lost = (enabled.in_use && account.owner.is_none()).then(|| {
        let restore = observed.dialect.restore_record(&desired.account, &desired.owner);
        format!(". Where it is the one of a session and only lost its record: {restore}")
    });
    let gone = account.owner.is_some().then(|| {
        let why = match claim {
            Claim::Unclear => {
                "it has the name of this one, and it is not known whether it was in this cluster"
            }
            _ => "it is none of this one's",
        };
        let close = observed.dialect.close_account(&desired.account);
        format!(". Where that DatabaseAdmin is gone ({why}), {close}")
    });
    Some(Refusal::new(
        Reason::AccountInUse,
        format!(
            "the account {:?} of {holder} {busy}; it can be taken over when it is idle{}",
            desired.account.as_str(),
            lost.or(gone).unwrap_or_default()
        ),
    ))
}

fn leftover(desired: &Desired, enabled: &Enabled, observed: &Observed) -> Option<Refusal> {
    if is_live(desired, enabled, observed) {
        return None;
    }
    let leftovers = &observed.account.as_ref()?.leftovers;
    if leftovers.is_empty() {
        return None;
    }
    let messages: Vec<String> =
        leftovers.iter().take(5).map(|leftover| leftover.message(&desired.account)).collect();
    Some(Refusal::new(Reason::LeftoverMembership, messages.join("; ")))
}

/// What a live account is a member of already; of any other nothing counts.
fn live_memberships<'a>(desired: &Desired, enabled: &Enabled, observed: &'a Observed) -> BTreeSet<&'a str> {
    let live = observed.account.iter().filter(|_| is_live(desired, enabled, observed));
    live.flat_map(|account| &account.memberships).map(|membership| membership.role.as_str()).collect()
}

fn roles(desired: &Desired, enabled: &Enabled, observed: &Observed) -> Option<Refusal> {
    let has = live_memberships(desired, enabled, observed);
    enabled
        .roles
        .iter()
        .filter(|(role, _)| !has.contains(role.as_str()))
        .find_map(|(role, wanted)| role_refusal(desired, enabled, observed, role, wanted))
}

fn role_refusal(
    desired: &Desired,
    enabled: &Enabled,
    observed: &Observed,
    role: &str,
    wanted: &WantedRole,
) -> Option<Refusal> {
    let not_grantable = |why: &str| {
        Some(Refusal::new(
            Reason::DbRoleNotGrantable,
            format!("the database role {role:?} cannot be handed out: {why}"),
        ))
    };
    let dialect = observed.dialect;
    if let Some(fault) = dialect.role_fault(role) {
        return Some(Refusal::new(Reason::DbRoleInvalid, fault));
    }
    if role == MARKER || dialect.is_own_role(role) {
        return not_grantable("it is Rolecall's own");
    }
    if role == observed.admin_user {
        return not_grantable("it is the admin user");
    }
    if role == desired.account.as_str() {
        return not_grantable("it is the account itself");
    }
    if let Some(why) = dialect.why_literally(role).filter(|_| !wanted.named_literally) {
        return not_grantable(why);
    }
    let Some(facts) = observed.roles.get(role) else {
        if dialect.is_servers_own(role) {
            return Some(Refusal::new(
                Reason::DbRoleNotFound,
                format!(
                    "the database has no role {role:?}, and only the server or its platform creates roles of such names; correct dbRoles, or spec.platform of the DatabaseAdmin"
                ),
            ));
        }
        if enabled.create_missing_roles {
            return None;
        }
        return Some(Refusal::new(
            Reason::DbRoleNotFound,
            format!("the database has no role {role:?}; {}", dialect.create_role(role)),
        ));
    };
    if facts.managed {
        return not_grantable("it is a managed account");
    }
    if !facts.attributes.is_empty() && !wanted.named_literally {
        return not_grantable(&format!(
            "it has {}; name it literally in spec.grantableDbRoles of the DatabaseAdmin if that is meant",
            facts.attributes.join(", ")
        ));
    }
    if !facts.grantable {
        let (reason, remedy) = dialect.not_grantable(role, &observed.admin_user);
        return Some(Refusal::new(
            reason,
            format!("the admin user may not grant the database role {role:?}: {remedy}"),
        ));
    }
    None
}

fn sets(desired: &Desired, enabled: &Enabled, observed: &Observed) -> Option<Refusal> {
    let has = live_memberships(desired, enabled, observed);
    let lacking = enabled.sets.iter().filter(|set| !has.contains(set.as_str()));
    lacking.into_iter().find_map(|set| set_refusal(desired, observed, set))
}

fn set_refusal(desired: &Desired, observed: &Observed, set: &str) -> Option<Refusal> {
    let refused = |reason, why: &str| {
        Some(Refusal::new(reason, format!("the permission set {set:?} cannot be handed out: {why}")))
    };
    if !observed.dialect.is_set(set) {
        return refused(Reason::DbRoleInvalid, "its name is not that of a permission set");
    }
    let Some(facts) = observed.sets.get(set) else {
        return refused(Reason::DbRoleNotFound, "it does not exist yet, or not any more");
    };
    let dialect = observed.dialect;
    if let Some(why) = &facts.unseen {
        return refused(dialect.not_grantable(set, &observed.admin_user).0, why);
    }
    if facts.owner_uid.as_deref() != Some(&desired.owner.uid) {
        return refused(
            Reason::DbRoleNotGrantable,
            &format!("a role of that name exists that does not carry our record; {}", dialect.drop_set(set)),
        );
    }
    if !facts.attributes.is_empty() {
        let attributes = facts.attributes.join(", ");
        return refused(
            Reason::DbRoleNotGrantable,
            &format!("somebody gave it {attributes}; {}", dialect.strip_set(set, &facts.attributes)),
        );
    }
    if !facts.grantable {
        let (reason, remedy) = dialect.not_grantable(set, &observed.admin_user);
        return refused(reason, &format!("the admin user may not grant it; {remedy}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::account::Credential;
    use crate::{AccountName, Dialect, Owner, Want};

    #[test]
    fn a_role_of_the_servers_own_is_never_created() {
        let refused = |dialect: Dialect, role: &str| {
            let wanted = WantedRole { named_literally: true };
            let enabled = Enabled {
                roles: BTreeMap::from([(role.to_owned(), wanted.clone())]),
                sets: BTreeSet::new(),
                databases: BTreeSet::new(),
                credential: Credential::External,
                in_use: false,
                create_missing_roles: true,
                disconnecting_sets: BTreeSet::new(),
            };
            let desired = Desired {
                account: AccountName::new("alice").unwrap(),
                owner: Owner::default(),
                session_database: None,
                want: Want::Enabled(enabled.clone()),
            };
            let observed = Observed { dialect, ..Observed::default() };
            role_refusal(&desired, &enabled, &observed, role, &wanted).map(|refusal| refusal.reason)
        };
        for role in ["rds_iam", "rds_superuser", "pg_monitor"] {
            assert_eq!(refused(Dialect::PostgreSql, role), Some(Reason::DbRoleNotFound), "{role}");
        }
        assert_eq!(refused(Dialect::Redshift, "sys:dba"), Some(Reason::DbRoleNotFound));
        assert_eq!(refused(Dialect::PostgreSql, "reader"), None);
    }
}
