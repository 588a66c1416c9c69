//! From what an account should be and what it is to what has to change: pure, printable, comparable.
//!
//! Two properties are tested: a plan that was applied leaves nothing to do (`plan(settled, apply(plan)) == Nothing`),
//! and no plan ever names an account that does not carry the marker.

mod checks;
mod display;
mod steps;
mod types;

use std::collections::BTreeSet;

use crate::account::{Account, Credential, Desired, Enabled, Leftover, Observed};
use crate::dialect::sql::identifier;
pub use crate::error::Refusal;
use crate::{AccountName, Claim, Dialect, OWN_ROLE_PREFIX, Owner, Reason, Want};
pub use types::{Activate, Adjust, End, Plan, Strays, TakeOver};

/// The step from what is to what should be.
///
/// # Errors
///
/// A [`Refusal`] when the account may not be touched, or something that it needs is not there. Ending is never
/// refused: what is not ours is left alone ([`Plan::Nothing`]).
pub fn plan(desired: &Desired, observed: &Observed) -> Result<Plan, Refusal> {
    match &desired.want {
        Want::Enabled(enabled) => plan_enabled(desired, enabled, observed),
        Want::Ended { drop, reassign_to } => {
            Ok(plan_ended(desired, *drop, reassign_to.clone().filter(|_| *drop), observed))
        }
    }
}

/// The desired state as it reads once it is reached: what a plan is made against to verify one that was applied.
pub fn settled(desired: &Desired) -> Desired {
    let mut desired = desired.clone();
    if let Want::Enabled(enabled) = &mut desired.want {
        enabled.in_use = true;
        if let Credential::Password { set } = &mut enabled.credential {
            *set = None;
        }
    }
    desired
}

/// Must the password be stored, for an account that was read like this? It does not exist or is enabled again; somebody
/// took its login, and may have taken the password with it; or its record names another password than the one that the
/// sessions have. (What is stored itself nobody but a superuser can read.)
pub fn lacks_password(desired: &Desired, observed: &Observed) -> bool {
    let Want::Enabled(enabled) = &desired.want else { return false };
    if !matches!(enabled.credential, Credential::Password { .. }) {
        return false;
    }
    let Some(account) = &observed.account else { return true };
    !is_live(desired, enabled, observed)
        || !account.enabled
        || records_another_password(desired, observed.dialect, account)
}

/// Does the account carry the marker and a record by which it may be ended here?
pub fn is_ours_to_end(desired: &Desired, observed: &Observed) -> bool {
    let ours = |account: &Account| account.managed && claim(desired, account).is_ours_to_end();
    observed.account.as_ref().is_some_and(ours)
}

/// Is an account whose access should end one that we may end, or one that cannot be used? `was_enabled`: by us, if that
/// is known.
///
/// # Errors
///
/// `UserConflict` when it can be used and is left alone, though the access may be ours and is not gone: it carries our
/// record, but somebody took its marker away; or we enabled it, but somebody took its record away; or it is not known
/// whether the record is that of a predecessor.
pub fn check_ended(desired: &Desired, observed: &Observed, was_enabled: bool) -> Result<(), Refusal> {
    let Some(account) = &observed.account else { return Ok(()) };
    let usable = account.enabled || account.backends > 0;
    let lost_marker = !account.managed && claim(desired, account).is_ours_to_end();
    let lost_record = account.managed && account.owner.is_none() && was_enabled;
    let unclear = account
        .owner
        .as_ref()
        .filter(|_| account.managed && was_enabled && claim(desired, account) == Claim::Unclear);
    if !usable || !(lost_marker || lost_record || unclear.is_some()) {
        return Ok(());
    }
    let dialect = observed.dialect;
    let message = if let Some(record) = unclear {
        format!(
            "{} can still be used, but is left alone: its record names the DatabaseAdmin {} (uid {}), and it is not known whether that was in this cluster; {}",
            desired.account,
            record.admin,
            record.uid,
            dialect.close_account(&desired.account)
        )
    } else if lost_marker {
        format!(
            "{} can still be used and carries our record, but is left alone: {}; {}",
            desired.account,
            dialect.no_marker(),
            dialect.decide_account(&desired.account)
        )
    } else {
        format!(
            "{} can still be used, but is left alone: somebody took away the record that says whose it is; {}",
            desired.account,
            dialect.restore_record(&desired.account, &desired.owner)
        )
    };
    Err(Refusal::new(Reason::UserConflict, message))
}

/// Can a session on this logical database start, as far as the database goes?
///
/// # Errors
///
/// `DatabaseNameNotFound` or `MissingConnect`, with the statement that fixes it.
pub fn check_database(desired: &Desired, observed: &Observed, database: &str) -> Result<(), Refusal> {
    let Some(facts) = observed.databases.get(database) else {
        return Err(Refusal::new(
            Reason::DatabaseNameNotFound,
            format!(
                "the server has no logical database {database:?}; correct spec.databaseName or create it"
            ),
        ));
    };
    if !facts.allows_connections {
        return Err(Refusal::new(
            Reason::DatabaseNameNotFound,
            format!("the logical database {database:?} takes no connections (datallowconn is false)"),
        ));
    }
    if !facts.connect {
        let grantee = match &desired.want {
            Want::Enabled(enabled) => enabled.roles.keys().chain(&enabled.sets).next().map(String::as_str),
            Want::Ended { .. } => None,
        };
        let database_sql = identifier(database);
        let grantee_sql = grantee.map_or_else(|| "a role that the session gets".to_owned(), identifier);
        return Err(Refusal::new(
            Reason::MissingConnect,
            format!(
                "{} could not connect to the logical database {database:?}: run GRANT CONNECT ON DATABASE {database_sql} TO {grantee_sql}",
                desired.account
            ),
        ));
    }
    Ok(())
}

/// Ends the connections of an account that carries the record of `owner_uid`, and changes nothing else.
/// `session_database`: as in [`Desired`].
pub fn disconnect(account: AccountName, owner_uid: &str, session_database: Option<String>) -> Plan {
    Plan::Adjust(Adjust {
        account,
        owner_uid: owner_uid.to_owned(),
        record: None,
        session_database,
        create_roles: Vec::new(),
        revoke: Vec::new(),
        grant: Vec::new(),
        grant_sets: Vec::new(),
        enable: false,
        terminate: true,
        verifier: None,
        strays: Strays::default(),
    })
}

fn plan_enabled(desired: &Desired, enabled: &Enabled, observed: &Observed) -> Result<Plan, Refusal> {
    if let Some(refusal) = checks::first_refusal(desired, enabled, observed) {
        return Err(refusal);
    }
    let verifier = match &enabled.credential {
        Credential::External => None,
        Credential::Password { set } => set.clone(),
    };
    let Some(account) = &observed.account else {
        return Ok(Plan::Activate(Activate {
            account: desired.account.clone(),
            owner: desired.owner.clone(),
            session_database: desired.session_database.clone(),
            create: true,
            create_roles: absent(enabled, observed, enabled.roles.keys()),
            close_first: false,
            take_over_from: None,
            revoke: Vec::new(),
            settings: BTreeSet::new(),
            expires: false,
            grant: enabled.roles.keys().cloned().collect(),
            grant_sets: enabled.sets.iter().cloned().collect(),
            verifier,
        }));
    };
    if !is_live(desired, enabled, observed) {
        let close_first = account.enabled || account.backends > 0;
        return Ok(Plan::Activate(Activate {
            account: desired.account.clone(),
            owner: desired.owner.clone(),
            session_database: desired.session_database.clone(),
            create: false,
            create_roles: absent(enabled, observed, enabled.roles.keys()),
            close_first,
            take_over_from: predecessor(desired, account)
                .filter(|_| close_first)
                .map(|found| found.uid.clone()),
            // Strip, then grant: a membership found here may carry options (ADMIN) that are not ours to give.
            revoke: revocable(account, |_| true),
            settings: account.settings.clone(),
            expires: account.expires,
            grant: enabled.roles.keys().cloned().collect(),
            grant_sets: enabled.sets.iter().cloned().collect(),
            verifier,
        }));
    }
    let revoke = revocable(account, |role| !enabled.roles.contains_key(role) && !enabled.sets.contains(role));
    let grant = missing(account, enabled.roles.keys());
    let outdated = verifier.is_some() && records_another_password(desired, observed.dialect, account);
    let adjust = Adjust {
        account: desired.account.clone(),
        owner_uid: desired.owner.uid.clone(),
        record: (!is_ours(desired, account) || outdated).then(|| desired.owner.clone()),
        session_database: desired.session_database.clone(),
        create_roles: absent(enabled, observed, &grant),
        terminate: revoke
            .iter()
            .any(|role| !observed.dialect.is_set(role) || enabled.disconnecting_sets.contains(role)),
        revoke,
        grant,
        grant_sets: missing(account, &enabled.sets),
        enable: !account.enabled,
        verifier,
        strays: strays(account, observed.dialect),
    };
    let idle = adjust.only_takes_strays() && adjust.strays.is_empty();
    Ok(if idle { Plan::Nothing } else { Plan::Adjust(adjust) })
}

/// What somebody stored or granted for a live account by hand. On Redshift it goes when the account ends: VALID UNTIL
/// is set with a password only.
fn strays(account: &Account, dialect: Dialect) -> Strays {
    if dialect == Dialect::Redshift {
        return Strays::default();
    }
    let attribute = |leftover: &Leftover| match leftover {
        Leftover::Attribute { attribute } => Some(attribute.clone()),
        _ => None,
    };
    Strays {
        settings: account.settings.clone(),
        limits: account.limits,
        expires: account.expires,
        rights: account.rights,
        attributes: account.leftovers.iter().filter_map(attribute).collect(),
    }
}

fn plan_ended(desired: &Desired, drop: bool, reassign_to: Option<String>, observed: &Observed) -> Plan {
    let Some(account) = &observed.account else { return plan_vanished(desired, observed) };
    let ours = claim(desired, account).is_ours_to_end();
    if !account.managed || !ours || desired.account.as_str() == observed.admin_user {
        return Plan::Nothing;
    }
    let revoke = revocable(account, |_| true);
    let ended = !account.enabled
        && account.backends == 0
        && revoke.is_empty()
        && account.settings.is_empty()
        && !account.limits
        && !account.unconfirmed;
    if ended && !drop {
        return Plan::Nothing;
    }
    Plan::End(End {
        account: desired.account.clone(),
        owner_uid: desired.owner.uid.clone(),
        take_over: predecessor(desired, account)
            .map(|found| TakeOver { from_uid: found.uid.clone(), owner: desired.owner.clone() }),
        session_database: desired.session_database.clone(),
        revoke,
        settings: account.settings.clone(),
        expires: account.expires,
        drop,
        reassign_to,
    })
}

/// Somebody dropped the account. Its access is over when none of its operations runs any more.
fn plan_vanished(desired: &Desired, observed: &Observed) -> Plan {
    if observed.still_running == 0 {
        return Plan::Nothing;
    }
    Plan::End(End {
        account: desired.account.clone(),
        owner_uid: desired.owner.uid.clone(),
        take_over: None,
        session_database: desired.session_database.clone(),
        revoke: Vec::new(),
        settings: BTreeSet::new(),
        expires: false,
        drop: true,
        reassign_to: None,
    })
}

/// Is the account one that a session of ours works with now? Not when somebody else has taken it over since: then it is
/// found like any other, and started again when it is idle.
fn is_live(desired: &Desired, enabled: &Enabled, observed: &Observed) -> bool {
    let known = |account| is_ours(desired, account) || only_lacks_its_record(enabled, account);
    enabled.in_use && observed.account.as_ref().is_some_and(known)
}

/// Is it, but for a record, what a session of ours works with? Then somebody took the record away.
fn only_lacks_its_record(enabled: &Enabled, account: &Account) -> bool {
    let wanted = || enabled.roles.keys().chain(&enabled.sets).collect::<BTreeSet<_>>();
    let has = || account.memberships.iter().map(|m| &m.role).collect::<BTreeSet<_>>();
    account.owner.is_none() && account.managed && account.enabled && has() == wanted()
}

fn is_ours(desired: &Desired, account: &Account) -> bool {
    claim(desired, account) == Claim::Ours
}

fn claim(desired: &Desired, account: &Account) -> Claim {
    account.owner.as_ref().map_or(Claim::Others, |record| desired.owner.claim(record))
}

/// The record of a predecessor that an account carries.
fn predecessor<'a>(desired: &Desired, account: &'a Account) -> Option<&'a Owner> {
    account.owner.as_ref().filter(|_| claim(desired, account) == Claim::Predecessors)
}

fn records_another_password(desired: &Desired, dialect: Dialect, account: &Account) -> bool {
    if !dialect.records_passwords() {
        return false;
    }
    let recorded = account.owner.as_ref().map_or(0, |owner| owner.password_generation);
    recorded != desired.owner.password_generation
}

fn revocable(account: &Account, unwanted: impl Fn(&str) -> bool) -> Vec<String> {
    let roles: BTreeSet<&str> = account
        .memberships
        .iter()
        .filter(|m| m.revocable && unwanted(&m.role))
        .map(|m| m.role.as_str())
        .collect();
    roles.into_iter().map(str::to_owned).collect()
}

/// Which of the roles to be granted do not exist, or may not.
fn absent<'a>(
    enabled: &Enabled,
    observed: &Observed,
    granted: impl IntoIterator<Item = &'a String>,
) -> Vec<String> {
    let is_absent = |role: &&String| match observed.roles.get(*role) {
        None => true,
        Some(facts) => facts.unseen && enabled.create_missing_roles,
    };
    granted.into_iter().filter(is_absent).cloned().collect()
}

fn missing<'a>(account: &Account, wanted: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let has: BTreeSet<&str> = account.memberships.iter().map(|m| m.role.as_str()).collect();
    wanted.into_iter().filter(|role| !has.contains(role.as_str())).cloned().collect()
}

/// Memberships in permission sets are distinguished from those in database roles by the name, where it can have a colon:
/// see [`Dialect::is_set`].
pub fn is_set(role: &str) -> bool {
    role.starts_with(OWN_ROLE_PREFIX)
}
