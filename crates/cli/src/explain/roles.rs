//! What each role of a user says on its own: it answers "why not" when all of them together say no.

use rolecall_policy::spec::{RoleConditions, Traits, UserSpec};
use rolecall_policy::{Database, Expression, Pattern, Protocol, Role, Roles, User, check_access, list_reach};

use super::{NamesView, RoleState, RoleView};

/// The roles in the order in which the user names them, each once.
///
/// `database_name` is the logical database, or a name that none has.
pub(super) fn view(
    user: &UserSpec,
    roles: &Roles,
    database: &Database,
    database_name: &str,
) -> Vec<RoleView> {
    let mut names: Vec<&String> = Vec::new();
    for name in &user.roles {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| role(name, user, roles, database, database_name)).collect()
}

fn role(name: &str, user: &UserSpec, roles: &Roles, database: &Database, database_name: &str) -> RoleView {
    let view = RoleView {
        name: name.to_owned(),
        state: RoleState::Valid,
        selects: false,
        why: Vec::new(),
        database_names: NamesView::Only(Vec::new()),
        mode: rolecall_policy::Mode::Disabled,
        denies: Vec::new(),
    };
    let role = match roles.get(name) {
        None => {
            let why = vec!["there is no ProvisioningRole of that name".to_owned()];
            return RoleView { state: RoleState::NotFound, why, ..view };
        }
        Some(Err(faults)) => {
            let why = faults.iter().map(ToString::to_string).collect();
            return RoleView { state: RoleState::Invalid, why, ..view };
        }
        Some(Ok(role)) => role,
    };
    let alone = User::resolve(&UserSpec { roles: vec![name.to_owned()], ..user.clone() }, roles);
    let reach = list_reach(&alone, [database]).into_iter().next();
    let denies = match check_access(&alone, database, Some(database_name)) {
        Err(denial) => denial.denied_by,
        Ok(_) => Vec::new(),
    };
    let (selects, why) = selects(role, user, database);
    RoleView {
        selects,
        why,
        database_names: reach.map_or(view.database_names, |reach| (&reach.database_names).into()),
        mode: role.mode(),
        denies,
        ..view
    }
}

/// Whether `allow` selects the database, and by what; or what is missing.
fn selects(role: &Role, user: &UserSpec, database: &Database) -> (bool, Vec<String>) {
    let expanded = role.allow().expanded(&user.traits);
    let missing = missing(&expanded, &database.labels, &user.traits);
    if !missing.is_empty() {
        return (false, missing);
    }
    // The same check that lets a session in, with everything but labels and expression taken away: of a server whose
    // protocol needs no logical database no name is checked, and nothing is denied by a role that only allows.
    let mut spec = rolecall_policy::spec::RoleSpec::default();
    spec.allow.db_labels = expanded.db_labels;
    spec.allow.db_labels_expression = expanded.db_labels_expression;
    let mut roles = Roles::new();
    roles.insert(role.name(), &spec);
    let anybody = User::resolve(&UserSpec { roles: vec![role.name().to_owned()], ..user.clone() }, &roles);
    let database = Database { protocol: Protocol::Mongodb, ..database.clone() };
    match check_access(&anybody, &database, None) {
        Ok(origins) => (true, origins.into_iter().map(|origin| origin.text).collect()),
        Err(denial) => (false, vec![denial.message]),
    }
}

/// What of the conditions the database lacks.
fn missing(allow: &RoleConditions, labels: &rolecall_policy::spec::Labels, traits: &Traits) -> Vec<String> {
    let any = |values: &[String]| matches!(values, [value] if value == "*");
    if allow.db_labels.is_empty() && allow.db_labels_expression.is_none() {
        return vec![
            "allow has neither dbLabels nor dbLabelsExpression, which selects no database".to_owned(),
        ];
    }
    let mut missing = Vec::new();
    if !allow.db_labels.get("*").is_some_and(|values| any(values)) {
        for (key, patterns) in &allow.db_labels {
            let matches = |value: &str| {
                patterns.iter().any(|pattern| {
                    pattern == "*" || Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(value))
                })
            };
            match labels.get(key) {
                None => {
                    missing.push(format!("the database has no label {key} ({} is wanted)", wanted(patterns)))
                }
                Some(value) if matches(value) => {}
                Some(value) => missing.push(format!("{key}={value} does not match {}", wanted(patterns))),
            }
        }
    }
    if let Some(source) = &allow.db_labels_expression
        && let Ok(expression) = Expression::compile(source)
    {
        match expression.evaluate(labels, traits) {
            Ok(true) => {}
            Ok(false) => missing.push(format!("the expression does not hold: {source}")),
            Err(failure) => missing.push(format!("the expression has no answer ({failure}): {source}")),
        }
    }
    missing
}

fn wanted(patterns: &[String]) -> String {
    match patterns {
        [] => "nothing at all".to_owned(),
        patterns => patterns.join(" or "),
    }
}
