//! The answer as a table.

use rolecall_policy::{EntryMatch, LabelOrigin, Origin, PermissionEntry, PrivilegeOrigin};

use super::{Explanation, ObjectView, ObjectsView, RoleState};
use crate::table::{Cell, Style, Table};

const HOW_TO_SEE: &str =
    "\nOn which objects: add --live to read those of the database, or --objects FILE with --database-name\n";

/// The answer for a terminal: who and where, whether and why, then roles, database roles and objects.
pub fn table(explanation: &Explanation, colour: bool) -> String {
    let mut sections = vec![head(explanation).render(colour)];
    sections.push(roles(explanation).render(colour));
    if !explanation.db_roles.is_empty() || !explanation.withheld_db_roles.is_empty() {
        sections.push(db_roles(explanation).render(colour));
    }
    match &explanation.objects {
        Some(objects) => sections.push(self::objects(objects, colour)),
        None => {
            sections.extend(entries(explanation).map(|table| format!("{}{HOW_TO_SEE}", table.render(colour))))
        }
    }
    sections.join("\n")
}

fn head(explanation: &Explanation) -> Table {
    let Explanation { user, database, .. } = explanation;
    let mut table = Table::plain();
    let mut line = |name: &str, value: Cell| table.row([Cell::new(name, Style::Bold), value]);
    let suspended = |suspended: bool| if suspended { ", suspended" } else { "" };
    line(
        "User:",
        format!("{} ({} in databases{})", user.name, user.username, suspended(user.suspended)).into(),
    );
    let labels: Vec<String> = database.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let labels = if labels.is_empty() { "no labels".to_owned() } else { labels.join(", ") };
    line(
        "Database:",
        format!("{} ({}, {labels}{})", database.name, database.protocol, suspended(database.suspended))
            .into(),
    );
    match &explanation.database_name {
        Some(name) => line("Logical database:", name.into()),
        None => line("Logical databases:", explanation.database_names.to_string().into()),
    }
    if explanation.allowed {
        line("Access:", Cell::new("yes", Style::Good));
        for origin in &explanation.allowed_by {
            line("", format!("role {}: {}", origin.role, origin.text).into());
        }
    } else {
        line("Access:", Cell::new("no", Style::Bad));
        for blocked in &explanation.blocked {
            line("", format!("{}: {}", blocked.reason, blocked.message).into());
        }
    }
    if explanation.mode.is_enabled() {
        let by: Vec<String> =
            explanation.contributing.iter().map(|c| format!("{} {}", c.role, c.mode)).collect();
        line("Mode:", format!("{} ({})", explanation.mode, by.join(", ")).into());
    }
    if let Some(limit) = &explanation.max_session_ttl {
        line(
            "Longest session:",
            format!("{} (role {})", rolecall_policy::format_duration(limit.ttl), limit.role).into(),
        );
    }
    if let Some(owned) = &explanation.owned_objects {
        line("Owned objects:", owned.to_string().into());
    }
    for notice in &explanation.notices {
        line("Note:", notice.into());
    }
    table
}

fn roles(explanation: &Explanation) -> Table {
    let mut table = Table::new(&["ROLE", "SELECTS", "DATABASE NAMES", "MODE", "WHY"]);
    for role in &explanation.roles {
        let (selects, names, mode) = match role.state {
            RoleState::Valid => {
                let names = if role.selects { role.database_names.to_string() } else { "-".to_owned() };
                (Cell::yes(role.selects), names, role.mode.to_string())
            }
            RoleState::NotFound => (Cell::new("not found", Style::Bad), "-".to_owned(), "-".to_owned()),
            RoleState::Invalid => (Cell::new("not valid", Style::Bad), "-".to_owned(), "-".to_owned()),
        };
        let mut why = role.why.clone();
        why.extend(role.denies.iter().map(|origin| format!("denies by {}", place(origin))));
        let mut lines = why.into_iter();
        let first = lines.next().unwrap_or_default();
        table.row([(&role.name).into(), selects, names.into(), mode.into(), first.into()]);
        for line in lines {
            table.row(["".into(), "".into(), "".into(), "".into(), line.into()]);
        }
    }
    if explanation.roles.is_empty() {
        table.row([Cell::new("(none)", Style::Dim)]);
    }
    table
}

fn db_roles(explanation: &Explanation) -> Table {
    let mut table = Table::new(&["DATABASE ROLE", "GIVEN", "WHY"]);
    for given in &explanation.db_roles {
        let mut why = origins(&given.role.given_by);
        if !given.grantable {
            why.push_str("; not among the DatabaseAdmin's grantableDbRoles");
        }
        table.row([(&given.role.name).into(), Cell::yes(given.grantable), why.into()]);
    }
    for withheld in &explanation.withheld_db_roles {
        let why = match withheld.taken_by.as_slice() {
            [] => format!("not requested; {}", origins(&withheld.given_by)),
            taken => format!("taken by {}; given by {}", origins(taken), origins(&withheld.given_by)),
        };
        table.row([(&withheld.name).into(), Cell::yes(false), why.into()]);
    }
    table
}

/// What would be given on objects, where no objects are named.
fn entries(explanation: &Explanation) -> Option<Table> {
    let entries = &explanation.permission_entries;
    if entries.allow.is_empty() && entries.deny.is_empty() {
        return None;
    }
    let mut table = Table::new(&["OBJECT PERMISSIONS", "GIVEN", "ON OBJECTS WITH LABELS", "WHY"]);
    let mut row = |entry: &PermissionEntry, given: bool| {
        let labels: Vec<String> = entry
            .spec
            .matching
            .iter()
            .map(|(key, values)| format!("{key}: {}", values.join(" or ")))
            .collect();
        let privileges = entry.spec.permissions.join(", ");
        table.row([
            privileges.into(),
            Cell::yes(given),
            labels.join(", ").into(),
            format!("role {} {}", entry.origin.role, entry.origin.path).into(),
        ]);
    };
    entries.allow.iter().for_each(|entry| row(entry, true));
    entries.deny.iter().for_each(|entry| row(entry, false));
    Some(table)
}

fn objects(objects: &ObjectsView, colour: bool) -> String {
    let mut table = Table::new(&["OBJECT", "PRIVILEGES", "GIVEN", "WHY", "LABELS"]);
    let mut silent = 0;
    for object in &objects.items {
        if object.explanation.imported_by.is_empty() || object.explanation.privileges.is_empty() {
            silent += usize::from(!object.explanation.imported_by.is_empty());
            continue;
        }
        let mut name = object_name(object);
        let mut labels = object_labels(object);
        for (privileges, granted, why) in grouped(&object.explanation.privileges) {
            table.row([
                std::mem::take(&mut name).into(),
                privileges.join(", ").into(),
                Cell::yes(granted),
                why.into(),
                std::mem::take(&mut labels).into(),
            ]);
        }
    }
    let mut text = table.render(colour);
    let counts: Vec<String> =
        objects.counts.iter().map(|(privilege, count)| format!("{privilege} {count}")).collect();
    let counts = if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") };
    let strange = objects.items.len() - objects.imported;
    text.push_str(&format!(
        "\nOf {} objects: {counts}; {silent} with no entry that matches, {strange} that no rule imports\n",
        objects.items.len()
    ));
    if let Some(problem) = &objects.problem {
        text.push_str(&format!("{problem}\n"));
    }
    text
}

fn object_name(object: &ObjectView) -> String {
    let ObjectView { kind, database, schema, name, .. } = object;
    match schema.as_str() {
        "" => format!("{kind} {database}.{name}"),
        schema if schema == name => format!("{kind} {database}.{name}"),
        _ => format!("{kind} {database}.{schema}.{name}"),
    }
}

fn object_labels(object: &ObjectView) -> String {
    let label = |label: &LabelOrigin| match &label.given_by {
        Some(by) => format!("{}={} ({}[{}])", label.key, label.value, by.rule, by.mapping),
        None => format!("{}={}", label.key, label.value),
    };
    object.explanation.labels.iter().map(label).collect::<Vec<_>>().join(", ")
}

/// Privileges with the same outcome for the same reason.
fn grouped(privileges: &[PrivilegeOrigin]) -> Vec<(Vec<&'static str>, bool, String)> {
    let mut groups: Vec<(Vec<&'static str>, bool, String)> = Vec::new();
    for privilege in privileges {
        let why = privilege_why(privilege);
        let same =
            groups.iter_mut().find(|(_, granted, other)| *granted == privilege.granted && *other == why);
        match same {
            Some((names, _, _)) => names.push(privilege.privilege.as_str()),
            None => groups.push((vec![privilege.privilege.as_str()], privilege.granted, why)),
        }
    }
    groups
}

fn privilege_why(privilege: &PrivilegeOrigin) -> String {
    let given = matches(&privilege.given_by);
    if privilege.granted {
        return given;
    }
    let taken = matches(&privilege.taken_by);
    match (given.is_empty(), taken.is_empty()) {
        (true, true) => String::new(),
        (true, false) => format!("taken by {taken}; given by none"),
        (false, true) => given,
        (false, false) => format!("taken by {taken}; given by {given}"),
    }
}

fn matches(entries: &[EntryMatch]) -> String {
    let one = |entry: &EntryMatch| {
        let by: Vec<String> = entry.by.iter().map(|label| format!("{}={}", label.key, label.value)).collect();
        let by = if by.is_empty() { "every object".to_owned() } else { by.join(", ") };
        format!("role {} {} ({by})", entry.entry.role, entry.entry.path)
    };
    entries.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn origins(origins: &[Origin]) -> String {
    origins.iter().map(place).collect::<Vec<_>>().join(", ")
}

fn place(origin: &Origin) -> String {
    let Origin { role, path, text } = origin;
    if text.is_empty() { format!("role {role} {path}") } else { format!("role {role} {path} = {text}") }
}
