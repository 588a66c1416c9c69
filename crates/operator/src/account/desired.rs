//! What the sessions of an account ask for together. Pure.
//!
//! Sessions of one account have one set of database roles. Those that are live say which. Where none is, the oldest
//! that can start does: one that only waits has nothing, and blocks nobody.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_api::{CreateDbUserMode, reasons};
use rolecall_engine::account::{Credential, Enabled, WantedRole};
use rolecall_engine::{AccountName, Desired, Observed, Owner, Want, plan};

use super::decide::Setback;
use super::permission_sets::sets_of;
use super::session::{Session, reassign_to};
use crate::model::{Blocker, WALK};
use crate::sets::SetState;

type Roles = BTreeMap<String, WantedRole>;

/// What an account is made with, besides its sessions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) account: &'a AccountName,
    /// The record that it gets.
    pub(super) owner: &'a Owner,
    /// Roles that the platform adds to every account.
    pub(super) platform_roles: &'a [&'a str],
    /// Its users log in with a password.
    pub(super) password: bool,
    /// Roles that the server lacks are created.
    pub(super) create_missing_roles: bool,
}

/// Chooses who may start in this attempt: whoever would have what live sessions have; where there is none, whoever
/// would have what the oldest would. The others are refused, or wait for its outcome.
pub(super) fn choose_candidates(sessions: &mut [Session], platform_roles: &[&str]) {
    sessions.iter_mut().for_each(|session| session.set_aside = false);
    if sessions.iter().any(Session::is_live) {
        let Some(current) = account_roles(sessions, platform_roles) else { return };
        for session in sessions.iter_mut().filter(|session| session.is_starting()) {
            if let Some(wanted) = roles_of(session, platform_roles).filter(|wanted| differ(wanted, &current))
            {
                session.set_back(Setback::Failed(roles_changed(&current, &wanted)));
            }
        }
        return;
    }
    let oldest = sessions.iter().filter(|session| session.is_starting()).min_by_key(|session| {
        let meta = &session.object.metadata;
        (meta.creation_timestamp.clone(), meta.name.clone())
    });
    let Some(wanted) = oldest.and_then(|oldest| roles_of(oldest, platform_roles)) else { return };
    for session in sessions.iter_mut().filter(|session| session.is_starting()) {
        session.set_aside = roles_of(session, platform_roles).is_some_and(|roles| differ(&roles, &wanted));
    }
}

/// After an attempt (`started`: it started sessions): should another session be tried? Where one has the account by
/// now, the others are refused.
pub(super) fn has_more_candidates(sessions: &mut [Session], started: bool, platform_roles: &[&str]) -> bool {
    if !sessions.iter().any(|session| session.set_aside) {
        return false;
    }
    let started = started && sessions.iter().any(Session::is_starting);
    if !started && !sessions.iter().any(Session::is_live) {
        // A session that waits for its permission set usually starts in a moment, and triggers the account.
        return !sessions.iter().any(Session::waits_for_set);
    }
    let current = account_roles(sessions, platform_roles).unwrap_or_default();
    for session in sessions.iter_mut().filter(|session| session.set_aside) {
        session.set_aside = false;
        let Some(wanted) = roles_of(session, platform_roles) else { continue };
        let blocker = roles_changed(&current, &wanted);
        // What was done for it before is undone by the next reconcile: this one has concluded.
        session.set_back(match session.touched {
            true => Setback::RolesTaken(blocker),
            false => Setback::Failed(blocker),
        });
    }
    false
}

/// The roles of the account: of its live sessions, else of those that may start.
pub(super) fn account_roles(sessions: &[Session], platform_roles: &[&str]) -> Option<Roles> {
    let mut live = sessions.iter().filter(|session| session.is_live());
    let Some(first) = live.next() else {
        return roles_of(sessions.iter().find(|session| session.is_starting())?, platform_roles);
    };
    // After a change of policy they may differ: nobody gets what one of them must not have.
    let mut roles = roles_of(first, platform_roles)?;
    for session in live {
        let other = roles_of(session, platform_roles)?;
        roles.retain(|role, _| other.contains_key(role));
    }
    Some(roles)
}

fn roles_of(session: &Session, platform_roles: &[&str]) -> Option<Roles> {
    let granted = session.access()?.grant.db_roles.iter();
    let granted = granted.map(|(role, literal)| (role.clone(), WantedRole { named_literally: *literal }));
    let platform =
        platform_roles.iter().map(|role| ((*role).to_owned(), WantedRole { named_literally: true }));
    Some(granted.chain(platform).collect())
}

fn differ(one: &Roles, other: &Roles) -> bool {
    one.keys().ne(other.keys())
}

fn roles_changed(current: &Roles, wanted: &Roles) -> Blocker {
    let list = |roles: &Roles| roles.keys().cloned().collect::<Vec<_>>().join(", ");
    let message = format!(
        "live sessions of this account hold the database roles [{}], this one would hold [{}]; end them first, or ask for the same dbRoles",
        list(current),
        list(wanted)
    );
    Blocker::passing(reasons::ROLES_CHANGED, message)
}

/// What the account should be, before its server is read; `None` where nobody asks for anything. `kept_sets`: permission
/// sets that a live account stays in until it has others.
pub(super) fn desired(
    sessions: &[Session],
    kept_sets: &BTreeSet<String>,
    terms: Terms<'_>,
) -> Option<Desired> {
    tracing::trace!(target: WALK, key = %terms.account, "the desired state");
    let with = |want: Want, databases: &BTreeSet<String>| Desired {
        account: terms.account.clone(),
        owner: terms.owner.clone(),
        session_database: databases.first().cloned(),
        want,
    };
    let in_use = sessions.iter().any(Session::is_live);
    if !in_use && !sessions.iter().any(Session::is_starting) {
        let ending: Vec<&Session> = sessions.iter().filter(|session| session.is_ending()).collect();
        if ending.is_empty() {
            return None;
        }
        let mode = ending.iter().filter_map(|session| session.mode()).max();
        let drop = mode == Some(CreateDbUserMode::BestEffortDrop);
        let reassign_to = reassign_to(ending.iter().copied());
        return Some(with(Want::Ended { drop, reassign_to }, &databases(ending)));
    }
    let databases =
        databases(sessions.iter().filter(|session| session.access().is_some() && !session.set_aside));
    let enabled = Enabled {
        roles: account_roles(sessions, terms.platform_roles)?,
        sets: sets_of(sessions, kept_sets),
        databases: databases.clone(),
        // Which password is decided by what the server shows.
        credential: if terms.password { Credential::Password { set: None } } else { Credential::External },
        in_use,
        create_missing_roles: terms.create_missing_roles,
        ..Enabled::default()
    };
    Some(with(Want::Enabled(enabled), &databases))
}

fn databases<'a>(sessions: impl IntoIterator<Item = &'a Session>) -> BTreeSet<String> {
    sessions.into_iter().filter_map(|session| session.object.spec.database_name.clone()).collect()
}

/// What the account should be, now that its server was read: a live account keeps a set that it has while it is not
/// known whether the set is ready (after a restart, for example), or while it waits for another one, and gets none that
/// is not ready.
pub(super) fn as_observed(mut desired: Desired, sessions: &mut [Session], observed: &Observed) -> Desired {
    let Want::Enabled(enabled) = &mut desired.want else { return desired };
    let current = memberships(observed);
    let sets = sessions.iter_mut().filter_map(|session| session.set.as_mut());
    let mut ready = BTreeSet::new();
    for set in sets {
        set.is_member = Some(current.contains(set.role.as_str()));
        if matches!(set.state, SetState::Ready(_)) {
            ready.insert(set.role.clone());
        }
    }
    enabled.sets.retain(|role| ready.contains(role) || current.contains(role.as_str()));
    desired
}

/// With the permission sets whose loss ends connections: plans of inlined functions that connections cached outlive the
/// loss of EXECUTE. `loses_functions`: would the account lose functions by leaving this set?
pub(super) fn ending_connections(
    mut desired: Desired,
    observed: &Observed,
    loses_functions: impl Fn(&str) -> bool,
) -> Desired {
    if let Want::Enabled(enabled) = &mut desired.want {
        let sets = memberships(observed).into_iter().filter(|role| observed.dialect.is_set(role));
        let leaving = sets.filter(|role| !enabled.sets.contains(*role));
        enabled.disconnecting_sets =
            leaving.filter(|role| loses_functions(role)).map(str::to_owned).collect();
    }
    desired
}

/// What has to be revoked, and nothing granted: for an account that cannot be what it should be.
pub(super) fn without_gains(mut desired: Desired, observed: &Observed) -> Desired {
    if let Want::Enabled(enabled) = &mut desired.want {
        let current = memberships(observed);
        enabled.roles.retain(|role, _| current.contains(role.as_str()));
        enabled.sets.retain(|role| current.contains(role.as_str()));
    }
    desired
}

/// Would the account get a role, or a permission set, that it lacks?
pub(super) fn gains(desired: &Desired, observed: &Observed) -> bool {
    let current = memberships(observed);
    match &desired.want {
        Want::Enabled(enabled) => {
            enabled.roles.keys().chain(&enabled.sets).any(|role| !current.contains(role.as_str()))
        }
        Want::Ended { .. } => false,
    }
}

fn memberships(observed: &Observed) -> BTreeSet<&str> {
    let memberships = observed.account.iter().flat_map(|account| &account.memberships);
    memberships.map(|membership| membership.role.as_str()).collect()
}

/// Each start on a logical database that is not there, or does not let it in, fails by itself. True where one did.
pub(super) fn refuse_databases(sessions: &mut [Session], desired: &Desired, observed: &Observed) -> bool {
    let mut refused = false;
    for session in sessions.iter_mut().filter(|session| session.is_starting()) {
        let Some(database) = session.object.spec.database_name.clone() else { continue };
        if let Err(refusal) = plan::check_database(desired, observed, &database) {
            session.set_back(Setback::Failed(Blocker::from(&refusal)));
            refused = true;
        }
    }
    refused
}

#[cfg(test)]
mod tests;
