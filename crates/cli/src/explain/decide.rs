//! The answer, from the objects of a namespace. No I/O; every decision is made by the functions of the operator.

use std::sync::Arc;

use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseUser, conditions, reasons};
use rolecall_engine::AccountName;
use rolecall_policy::{
    Database, DbObject, Decision, Denial, ImportRules, PrivilegeSet, Roles, User, decide_access,
    decide_objects, decide_provisioning, label_objects, list_reach,
};
use rolecall_resolve::{Blocked, Claim, admin_user, grantable, user_spec, username_fault, username_holder};

use super::view::{
    BlockedView, Explanation, GivenRoleView, NamesView, ObjectView, ObjectsSource, ObjectsView, WhereView,
    WhoView,
};
use super::{API_VERSION, roles};
use crate::input::Namespace;

/// The question.
#[derive(Debug)]
pub struct Question<'a> {
    /// The DatabaseUser, by name or by its name in databases.
    pub user: &'a str,
    /// The DatabaseAdmin.
    pub database: &'a str,
    /// The logical database; `None`: any.
    pub database_name: Option<&'a str>,
    /// The database roles that a session would ask for; empty: all.
    pub requested: &'a [String],
    /// Objects to show permissions for.
    pub objects: Option<Objects>,
}

/// Objects to show permissions for.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// The objects.
    pub list: Vec<DbObject>,
    /// Privileges that their server does not know: nobody has them.
    pub unknown: PrivilegeSet,
    /// Where they come from.
    pub source: ObjectsSource,
}

impl Objects {
    /// Objects that somebody wrote down. Which privileges their server knows is not known.
    pub fn of_file(list: Vec<DbObject>) -> Self {
        Self { list, unknown: PrivilegeSet::EMPTY, source: ObjectsSource::File }
    }
}

/// Answers.
///
/// # Errors
///
/// A user or database that does not exist.
pub fn answer(namespace: &Namespace, question: Question<'_>) -> anyhow::Result<Explanation> {
    let user = namespace.user(question.user)?;
    let admin = namespace.admin(question.database)?;
    let username = namespace.username(user);
    let compiled = namespace.compiled_roles_of(user);
    let spec = user_spec(user, &username);
    let resolved = User::resolve(&spec, &compiled);
    let database = rolecall_resolve::database(admin);
    let names = list_reach(&resolved, [&database])
        .first()
        .map_or(NamesView::Only(Vec::new()), |reach| (&reach.database_names).into());

    let mut decision = decision(&resolved, &database, &question, question.requested);
    if !question.requested.is_empty() && !decision.is_allowed() {
        // If only the request is denied, show what could have been requested.
        let unasked = self::decision(&resolved, &database, &question, &[]);
        decision =
            if unasked.is_allowed() { Decision { denial: decision.denial, ..unasked } } else { decision };
    }
    let mut notices = Vec::new();
    let facts = (&question, &decision, &names);
    let blocked = blocked(namespace, user, admin, &compiled, facts, &mut notices);
    notices.extend(not_ready(admin));
    let objects = question.objects.map(|objects| {
        explain_objects(&namespace.import_rules(), &database, question.database_name, &decision, objects)
    });
    let Decision { denial, allowed_by, provisioning } = decision;
    let admin_name = admin_user(admin).name;
    Ok(Explanation {
        api_version: API_VERSION,
        kind: "Explanation",
        user: WhoView {
            name: user.name_any(),
            origin_cluster: user.spec.origin_cluster.clone().filter(|_| username.starts_with("remote-")),
            username,
            suspended: user.spec.suspend,
        },
        database: WhereView {
            name: database.name.clone(),
            protocol: database.protocol,
            labels: database.labels.clone(),
            admin_user: admin_name,
            suspended: admin.spec.suspend,
        },
        database_name: question.database_name.map(str::to_owned),
        database_names: names,
        allowed: blocked.is_empty(),
        blocked,
        denied_by: denial.map(|denial| denial.denied_by).unwrap_or_default(),
        allowed_by,
        mode: provisioning.mode,
        contributing: provisioning.contributing,
        max_session_ttl: provisioning.max_session_ttl,
        owned_objects: Some(provisioning.owned_objects).filter(|owned| !owned.is_silent()),
        roles: roles::view(&spec, &compiled, &database, question.database_name.unwrap_or(UNLISTED)),
        db_roles: provisioning
            .db_roles
            .into_iter()
            .map(|role| GivenRoleView {
                grantable: matches!(grantable(admin, &role.name), Ok(Some(_))),
                role,
            })
            .collect(),
        withheld_db_roles: provisioning.withheld_db_roles,
        permission_entries: provisioning.permissions,
        objects,
        notices,
    })
}

/// What policy decides; without a logical database where one is needed, for any that the user may reach.
fn decision(user: &User, database: &Database, question: &Question<'_>, requested: &[String]) -> Decision {
    if question.database_name.is_some() || !database.protocol.needs_database_name() {
        return decide_access(user, database, question.database_name, requested);
    }
    let denied = |denial| Decision { denial: Some(denial), ..Decision::default() };
    let reach = list_reach(user, [database]).into_iter().next();
    if let Some(denial) = reach.as_ref().and_then(|reach| reach.denial.clone()) {
        // One name represents all that are not listed: it is denied by whatever denies them.
        let detailed = decide_access(user, database, Some(UNLISTED), requested).denial;
        return denied(match detailed {
            Some(detailed) if !detailed.denied_by.is_empty() => {
                Denial { denied_by: detailed.denied_by, ..denial }
            }
            _ => denial,
        });
    }
    match decide_provisioning(user, database, requested) {
        Ok(provisioning) => Decision { provisioning, ..Decision::default() },
        Err(refusal) => denied(refusal.denial),
    }
}

/// No logical database has this name: it contains a character that none can.
const UNLISTED: &str = "\0";

/// All that keeps a session from starting, in the operator's order.
fn blocked(
    namespace: &Namespace,
    user: &DatabaseUser,
    admin: &DatabaseAdmin,
    roles: &Roles,
    (question, decision, names): (&Question<'_>, &Decision, &NamesView),
    notices: &mut Vec<String>,
) -> Vec<BlockedView> {
    let username = namespace.username(user);
    let mut blocked = Vec::new();
    if let Err(refusal) = AccountName::new(&*username) {
        blocked.push(Blocked::permanent(reasons::INVALID_USERNAME, refusal.message));
    }
    blocked.extend(username_fault(&username, admin));
    match username_holder(user, &namespace.users, &namespace.cluster_name) {
        Claim::Own => {}
        Claim::Taken(taken) => blocked.push(taken),
        Claim::Unclear(message) => notices.push(message),
    }
    let decide_on = |user: &DatabaseUser, name: Option<&str>| {
        rolecall_resolve::decide(user, &username, admin, roles, name, question.requested).err()
    };
    let decide = |user: &DatabaseUser| decide_on(user, question.database_name);
    let awake = DatabaseUser {
        spec: rolecall_api::DatabaseUserSpec { suspend: false, ..user.spec.clone() },
        ..user.clone()
    };
    if user.spec.suspend {
        blocked.extend(decide(user));
    }
    match decide(&awake) {
        // No logical database was given: what any of them would say.
        Some(reason)
            if reason.reason == reasons::DATABASE_NAME_REQUIRED && question.database_name.is_none() =>
        {
            blocked.extend(match &decision.denial {
                Some(denial) => Some(Blocked::new(denial.reason.as_str(), denial.message.clone())),
                // What grantableDbRoles says is the same for all that the user may connect to.
                None => decide_on(&awake, Some(one_of(names))),
            });
        }
        other => blocked.extend(other),
    }
    if admin_user(admin).name.is_none() {
        blocked.push(Blocked::new(
            reasons::MISSING_ADMIN_USER,
            format!(
                "the DatabaseAdmin {:?} names no admin user: set spec.adminUser.name or the label teleport.dev/db-admin",
                admin.name_any()
            ),
        ));
    }
    if admin.spec.suspend {
        blocked.push(Blocked::new(
            reasons::DATABASE_SUSPENDED,
            format!("the DatabaseAdmin {:?} is suspended", admin.name_any()),
        ));
    }
    blocked.into_iter().map(BlockedView::from).collect()
}

/// A logical database that represents all these.
fn one_of(names: &NamesView) -> &str {
    match names {
        NamesView::Only(names) => names.first().map_or(UNLISTED, String::as_str),
        NamesView::AllExcept(_) => UNLISTED,
    }
}

/// What the operator says about the server, where it says anything bad.
fn not_ready(admin: &DatabaseAdmin) -> Option<String> {
    let status = admin.status.as_ref()?;
    let ready = conditions::find(&status.conditions, conditions::READY)?;
    (ready.status == conditions::FALSE).then(|| {
        format!("the DatabaseAdmin {:?} is not Ready: {}: {}", admin.name_any(), ready.reason, ready.message)
    })
}

fn explain_objects(
    rules: &ImportRules,
    database: &Database,
    database_name: Option<&str>,
    decision: &Decision,
    objects: Objects,
) -> ObjectsView {
    let Objects { list, unknown, source } = objects;
    let objects =
        list.into_iter().filter(|object| database_name.is_none_or(|name| *object.database == *name));
    let labelled = Arc::new(label_objects(rules, database, objects.collect::<Vec<_>>().into()));
    let entries = &decision.provisioning.permissions;
    let decided = decide_objects(rules, database, database_name, entries, &labelled);
    let (problem, permissions) = match decided {
        Ok(permissions) => (None, permissions),
        // The labels are shown nevertheless: without entries nothing is given.
        Err(denial) => (
            Some(denial),
            rolecall_policy::compute_permissions(&Default::default(), &labelled, database_name),
        ),
    };
    let item = |(index, object): (usize, &DbObject)| ObjectView {
        kind: object.kind,
        database: object.database.to_string(),
        schema: object.schema.to_string(),
        name: object.name.to_string(),
        explanation: {
            let mut explanation = permissions.explain(index);
            explanation.privileges.retain(|origin| !unknown.contains(origin.privilege));
            explanation
        },
    };
    let mut counts = permissions.counts();
    counts.retain(|privilege, _| !unknown.contains(*privilege));
    ObjectsView {
        source,
        problem,
        counts,
        imported: labelled.imported(),
        items: labelled.objects().iter().enumerate().map(item).collect(),
    }
}
