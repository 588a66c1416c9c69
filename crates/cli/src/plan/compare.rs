//! What differs between two states of a namespace. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseUser};
use rolecall_policy::{CanonicalEntry, CanonicalPermissions, DatabaseNames, PrivilegeSet};

use super::objects::{self, Labelled};
use super::question::{Decided, Pair, Question};
use super::sessions;
use super::statements;
use super::view::{
    AccessChange, Change, Difference, ObjectChange, OptionChange, PlanView, SessionEffect, Statements, When,
};
use super::{changed, names};
use crate::access::Policy;
use crate::explain::API_VERSION;

/// What would change.
pub fn compare(question: Question<'_>) -> PlanView {
    let Question { before, after, .. } = question;
    let changes = changed::objects(before, after);
    let (before, after) = (Policy::new(before), Policy::new(after));
    let mut notices = notices(&changes, &before, &after);
    let mut labelled = Labelled::default();
    let mut accesses = Vec::new();
    for (user, databases) in affected(&changes, &before, &after) {
        for database in databases {
            let pair = Pair::of(&before, &after, user, database);
            accesses.extend(access_change(&question, &pair, &mut labelled));
        }
    }
    let moved = moved(&before, &after);
    notices.extend(moved.iter().map(|database| {
        format!("the DatabaseAdmin {database:?} has another address: everybody who reaches it gets the same on another server")
    }));
    PlanView {
        api_version: API_VERSION,
        kind: "Plan",
        namespace: question.after.name.clone(),
        grows: !moved.is_empty() || accesses.iter().any(|access| access.grows),
        changes,
        accesses,
        notices,
    }
}

/// The pairs that may differ: of users and roles that changed with all databases, of databases that changed with all
/// users. What policy lets nobody reach, before and afterwards, is left out.
fn affected<'a>(
    changes: &[ObjectChange],
    before: &'a Policy<'a>,
    after: &'a Policy<'a>,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let roles = changed::names(changes, "ProvisioningRole");
    let users = changed::names(changes, "DatabaseUser");
    let admins = changed::names(changes, "DatabaseAdmin");
    let rules = changed::names(changes, "DbObjectImportRule");
    // Whoever shares a name with a user that changed may get the name, or lose it.
    let usernames: BTreeSet<String> = [before, after]
        .into_iter()
        .flat_map(|side| users.iter().filter_map(|name| Some(side.username(side.users().get(name)?))))
        .collect();
    let is_changed = |side: &Policy<'_>, user: &DatabaseUser| {
        users.contains(user.name_any().as_str())
            || user.spec.roles.iter().any(|role| roles.contains(role.as_str()))
            || usernames.contains(&side.username(user))
    };
    let mut pairs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for side in [before, after] {
        let ruled: BTreeSet<&str> = match rules.is_empty() {
            true => BTreeSet::new(),
            false => {
                let differs = |name: &str| !same_rules(before, after, name, &rules);
                side.admins().keys().copied().filter(|name| differs(name)).collect()
            }
        };
        for (name, user) in side.users() {
            let everywhere = is_changed(side, user);
            let candidates = side.admins().iter().filter(|(database, _)| {
                everywhere || admins.contains(*database) || ruled.contains(*database)
            });
            let reached = side.reached(user, candidates.map(|(_, admin)| *admin));
            let databases = pairs.entry(name).or_default();
            databases.extend(
                reached
                    .iter()
                    .filter_map(|database| Some(*side.admins().get_key_value(database.as_str())?.0)),
            );
        }
    }
    pairs
}

/// Do the same import rules apply to a database, with the same content?
fn same_rules(before: &Policy<'_>, after: &Policy<'_>, database: &str, changed: &BTreeSet<&str>) -> bool {
    let applying = |side: &Policy<'_>| {
        let admin = side.admins().get(database)?;
        Some(side.applying_rules(admin).into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let (before, after) = (applying(before), applying(after));
    before == after && !after.into_iter().flatten().any(|rule| changed.contains(rule.as_str()))
}

fn access_change(question: &Question<'_>, pair: &Pair<'_>, labelled: &mut Labelled) -> Option<AccessChange> {
    let (before, after) = (pair.decide(pair.before), pair.decide(pair.after));
    let (gained, lost) = (gain(&after, &before), gain(&before, &after));
    let options = options(&before, &after);
    let admin = pair.after.2.or(pair.before.2)?;
    let user = pair.after.1.or(pair.before.1)?;
    let objects = objects::differences(question.objects, pair, &before, &after, labelled);
    let sessions = sessions::changes(question, pair);
    let has_objects = objects.as_ref().is_some_and(|objects| !objects.is_empty());
    let rules_differ = objects.is_none() && rules_differ(pair, &before, &after);
    if gained.is_empty()
        && lost.is_empty()
        && options.is_empty()
        && !has_objects
        && !rules_differ
        && sessions.is_empty()
    {
        return None;
    }
    let longer = match (&before, &after) {
        (Ok(before), Ok(after)) => is_longer(before.grant.max_session_ttl, after.grant.max_session_ttl),
        _ => false,
    };
    let wider = match (&before, &after) {
        (Ok(before), Ok(after)) => !before.grant.permissions.covers(&after.grant.permissions),
        (Err(_), Ok(_)) => true,
        _ => false,
    };
    // With objects it is known what comes of entries and rules; without, what may come of them counts.
    let on_objects = match &objects {
        Some(objects) => objects.iter().any(|object| !object.gained.is_empty()),
        None => rules_differ,
    };
    let grows = longer
        || wider
        || on_objects
        || gained.database_names.is_some()
        || !gained.db_roles.is_empty()
        || sessions.iter().any(|session| session.effect == SessionEffect::Starts);
    let live = sessions::live_of(question.sessions, pair);
    let statements = match live.is_empty() {
        true => {
            let between = statements::between(pair, &before, &after, question.objects, labelled);
            Statements { when: When::NextSession, ..between }
        }
        false => {
            let of_sessions = statements::of_sessions(pair, &live, question.objects, labelled);
            Statements { when: When::Now, ..of_sessions }
        }
    };
    Some(AccessChange {
        user: pair.user.to_owned(),
        username: pair.after.0.username(user),
        database: pair.database.to_owned(),
        protocol: rolecall_resolve::database(admin).protocol,
        allowed_before: before.is_ok(),
        allowed_after: after.is_ok(),
        blocked: after.err().into_iter().flatten().map(Into::into).collect(),
        grows,
        gained,
        lost,
        options,
        objects,
        sessions,
        statements,
    })
}

/// What `one` has and `other` has not.
fn gain(one: &Decided, other: &Decided) -> Difference {
    let Ok(one) = one else { return Difference::default() };
    let other = other.as_ref().ok();
    let nothing = CanonicalPermissions::default();
    let no_names = DatabaseNames::Only(Vec::new());
    let names = other.map_or(&no_names, |other| &other.names);
    let permissions = other.map_or(&nothing, |other| &other.grant.permissions);
    let has = |role: &str| other.is_some_and(|other| other.grant.db_roles.contains_key(role));
    let db_roles = one.provisioning.db_roles.iter().filter(|role| !has(&role.name));
    let db_roles =
        db_roles.map(|role| (role.name.clone(), role.given_by.iter().map(ToString::to_string).collect()));
    let mut entries: Vec<String> =
        missing(&one.grant.permissions.allow, &permissions.allow).map(|entry| shown(&entry)).collect();
    // A deny that the other has takes away what the one has.
    if other.is_some() {
        let denied = missing(&permissions.deny, &one.grant.permissions.deny);
        entries.extend(denied.map(|entry| format!("no deny of {}", shown(&entry))));
    }
    Difference {
        database_names: names::difference(&one.names, names),
        db_roles: db_roles.collect(),
        permissions: entries,
    }
}

/// The entries of a list that another lacks, or has with fewer privileges.
fn missing<'a>(
    entries: &'a [CanonicalEntry],
    among: &'a [CanonicalEntry],
) -> impl Iterator<Item = CanonicalEntry> + 'a {
    entries.iter().filter_map(|entry| {
        let other = among.iter().find(|other| other.matching == entry.matching);
        let privileges =
            entry.privileges.difference(other.map_or(PrivilegeSet::EMPTY, |other| other.privileges));
        (!privileges.is_empty()).then(|| CanonicalEntry { matching: entry.matching.clone(), privileges })
    })
}

fn shown(entry: &CanonicalEntry) -> String {
    let labels: Vec<String> =
        entry.matching.iter().map(|(key, values)| format!("{key}: {}", values.join(" or "))).collect();
    let privileges = match entry.privileges {
        PrivilegeSet::ALL => "everything".to_owned(),
        some => some.iter().map(|privilege| privilege.as_str()).collect::<Vec<_>>().join(", "),
    };
    format!("{privileges} where {}", labels.join(", "))
}

fn options(before: &Decided, after: &Decided) -> Vec<OptionChange> {
    let (Ok(before), Ok(after)) = (before, after) else { return Vec::new() };
    let mut options = Vec::new();
    if before.grant.mode != after.grant.mode {
        options.push(OptionChange {
            option: "createDbUserMode",
            before: before.grant.mode.to_string(),
            after: after.grant.mode.to_string(),
        });
    }
    let ttl = |limit: Option<std::time::Duration>| {
        limit.map_or("no limit".to_owned(), rolecall_policy::format_duration)
    };
    if before.grant.max_session_ttl != after.grant.max_session_ttl {
        options.push(OptionChange {
            option: "maxSessionTtl",
            before: ttl(before.grant.max_session_ttl),
            after: ttl(after.grant.max_session_ttl),
        });
    }
    if before.grant.reassign_to != after.grant.reassign_to {
        let owned = |to: &Option<String>| match to {
            Some(role) => format!("ReassignTo {role}"),
            None => "Keep".to_owned(),
        };
        options.push(OptionChange {
            option: "ownedObjects",
            before: owned(&before.grant.reassign_to),
            after: owned(&after.grant.reassign_to),
        });
    }
    options
}

fn is_longer(before: Option<std::time::Duration>, after: Option<std::time::Duration>) -> bool {
    match (before, after) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(before), Some(after)) => after > before,
    }
}

/// Do other import rules apply, to somebody who has permissions on objects?
fn rules_differ(pair: &Pair<'_>, before: &Decided, after: &Decided) -> bool {
    let (Ok(_), Ok(after)) = (before, after) else { return false };
    let content = |(policy, _, admin): (&Policy<'_>, Option<&DatabaseUser>, Option<&DatabaseAdmin>)| {
        let admin = admin?;
        Some(policy.rule_specs(admin))
    };
    after.grant.has_permissions() && content(pair.before) != content(pair.after)
}

/// The databases with another address.
fn moved(before: &Policy<'_>, after: &Policy<'_>) -> Vec<String> {
    let pairs =
        before.admins().iter().filter_map(|(name, admin)| Some((name, admin, after.admins().get(name)?)));
    let moved = pairs.filter(|(_, before, after)| before.spec.uri != after.spec.uri);
    moved.map(|(name, _, _)| (*name).to_owned()).collect()
}

/// What can be said of the objects themselves.
fn notices(changes: &[ObjectChange], before: &Policy<'_>, after: &Policy<'_>) -> Vec<String> {
    let mut notices = Vec::new();
    let invalid: HashMap<&str, String> = after.faults().into_iter().collect();
    for change in changes.iter().filter(|change| change.change != Change::Deleted) {
        if change.kind == "ProvisioningRole"
            && let Some(fault) = invalid.get(change.name.as_str())
        {
            notices.push(format!(
                "the ProvisioningRole {:?} is not valid, so that its users get nothing: {fault}",
                change.name
            ));
        }
    }
    if changes.iter().any(|change| change.kind == "DbObjectImportRule") {
        let ruled = before
            .admins()
            .keys()
            .filter(|name| !same_rules(before, after, name, &changed::names(changes, "DbObjectImportRule")));
        let ruled: Vec<&str> = ruled.copied().collect();
        if !ruled.is_empty() {
            notices.push(format!(
                "other import rules apply to {}: what that gives on objects is shown with --objects",
                ruled.join(", ")
            ));
        }
    }
    notices
}
