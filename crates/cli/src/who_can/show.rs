//! The answer for a terminal.

use rolecall_policy::{Origin, PrivilegeOrigin};

use super::{Item, WhoCan};
use crate::table::{Cell, Style, Table};

/// The answer for a terminal: a row for each user, then what gave it each thing.
pub fn table(answer: &WhoCan, colour: bool) -> String {
    let mut sections = Vec::new();
    if let Some(object) = &answer.object {
        let mut head = Table::plain();
        let labels: Vec<String> = object
            .labels
            .iter()
            .map(|label| match &label.given_by {
                Some(by) => format!("{}={} ({}[{}])", label.key, label.value, by.rule, by.mapping),
                None => format!("{}={}", label.key, label.value),
            })
            .collect();
        let labels =
            if labels.is_empty() { "no import rule imports it".to_owned() } else { labels.join(", ") };
        head.row([Cell::new("Labels:", Style::Bold), labels.into()]);
        if let Some(problem) = &object.problem {
            head.row([Cell::new("Problem:", Style::Bold), problem.to_string().into()]);
        }
        sections.push(head.render(colour));
    }
    if !answer.items.is_empty() {
        sections.push(match answer.object {
            Some(_) => by_privilege(answer, colour),
            None => by_role(answer, colour),
        });
    }
    if !answer.refused.is_empty() {
        let mut table = Table::new(&["USER", "GETS", "WHY"]);
        for refused in &answer.refused {
            let mut name = refused.user.as_str();
            for blocked in &refused.blocked {
                let why = format!("{}: {}", blocked.reason, blocked.message);
                let gets = if name.is_empty() { Cell::default() } else { Cell::new("nothing", Style::Bad) };
                table.row([std::mem::take(&mut name).into(), gets, why.into()]);
            }
        }
        sections.push(table.render(colour));
    }
    sections.join("\n")
}

fn by_role(answer: &WhoCan, colour: bool) -> String {
    let mut table = Table::new(&["USER", "LOGICAL DATABASES", "GETS", "WHY"]);
    for item in &answer.items {
        let mut rows: Vec<(Cell, String)> = Vec::new();
        for role in &item.db_roles {
            rows.push((format!("role {}", role.name).into(), places(&role.given_by)));
        }
        for entry in &item.permission_entries.allow {
            let what = format!("{} on objects", entry.spec.permissions.join(", "));
            rows.push((what.into(), place(&entry.origin)));
        }
        if rows.is_empty() {
            rows.push((Cell::new("a login", Style::Dim), places(&item.allowed_by)));
        }
        fill(&mut table, item, rows);
    }
    table.render(colour)
}

fn by_privilege(answer: &WhoCan, colour: bool) -> String {
    let mut table = Table::new(&["USER", "LOGICAL DATABASES", "GETS", "WHY"]);
    for item in &answer.items {
        let granted =
            |granted: bool| item.privileges.iter().flatten().filter(move |origin| origin.granted == granted);
        let mut rows: Vec<(Cell, String)> = Vec::new();
        for origin in granted(true) {
            rows.push((Cell::new(origin.privilege.as_str(), Style::Good), given(origin)));
        }
        for origin in granted(false) {
            let taken: Vec<String> = origin.taken_by.iter().map(|entry| place(&entry.entry)).collect();
            let what = format!("not {}", origin.privilege);
            rows.push((Cell::new(what, Style::Bad), format!("taken by {}", taken.join(", "))));
        }
        if !item.db_roles.is_empty() {
            let roles: Vec<&str> = item.db_roles.iter().map(|role| role.name.as_str()).collect();
            let what = format!("what roles give: {}", roles.join(", "));
            rows.push((Cell::new(what, Style::Dim), "known to the database alone".to_owned()));
        }
        if rows.is_empty() {
            rows.push((Cell::new("a login", Style::Dim), places(&item.allowed_by)));
        }
        fill(&mut table, item, rows);
    }
    table.render(colour)
}

/// The rows of one user; what is the same in all of them stands in the first.
fn fill(table: &mut Table, item: &Item, rows: Vec<(Cell, String)>) {
    let mut user = item.user.clone();
    if item.user != item.username {
        user.push_str(&format!(" ({})", item.username));
    }
    if item.sessions.as_ref().is_some_and(|sessions| !sessions.is_empty()) {
        user.push_str(" *live*");
    }
    let mut names = item.database_names.to_string();
    for (what, why) in rows {
        table.row([std::mem::take(&mut user).into(), std::mem::take(&mut names).into(), what, why.into()]);
    }
}

fn given(origin: &PrivilegeOrigin) -> String {
    let entries = origin.given_by.iter().map(|entry| {
        let by: Vec<String> = entry.by.iter().map(|label| format!("{}={}", label.key, label.value)).collect();
        let by = if by.is_empty() { "every object".to_owned() } else { by.join(", ") };
        format!("role {} {} ({by})", entry.entry.role, entry.entry.path)
    });
    entries.collect::<Vec<_>>().join(", ")
}

fn places(origins: &[Origin]) -> String {
    origins.iter().map(place).collect::<Vec<_>>().join(", ")
}

fn place(origin: &Origin) -> String {
    format!("role {} {}", origin.role, origin.path)
}
