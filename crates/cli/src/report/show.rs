//! A report for a terminal.

use jiff::Timestamp;
use rolecall_ledger::State;

use super::{Item, Report};
use crate::audit::seconds;
use crate::explain::NamesView;
use crate::table::{Cell, Style, Table};

/// A report for a terminal: accesses, or with `reach` who reaches what.
pub fn table(report: &Report, reach: bool, colour: bool) -> String {
    let mut sections = vec![if reach { of_reach(report, colour) } else { of_accesses(report, colour) }];
    if !report.missing.is_empty() {
        let mut notes = Table::plain();
        for missing in &report.missing {
            notes.row([Cell::new("note:", Style::Dim), missing.into()]);
        }
        sections.push(notes.render(colour));
    }
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}

fn of_accesses(report: &Report, colour: bool) -> String {
    if report.accesses.is_empty() {
        return "No accesses.\n".to_owned();
    }
    let mut table = Table::new(&[
        "USER",
        "DATABASE",
        "DBNAME",
        "DB ROLES",
        "FROM",
        "UNTIL",
        "STATE",
        "REASON",
        "BY ROLE",
        "ASKED BY",
        "APPROVED BY",
        "WHY",
    ]);
    for item in &report.accesses {
        let access = &item.access;
        let style = match access.state {
            State::Active | State::Ending => Style::Good,
            State::LeftOpen | State::Unclear => Style::Bad,
            State::Ended | State::Refused => Style::Dim,
        };
        table.row([
            (&access.user).into(),
            (&access.database).into(),
            (&access.database_name).into(),
            join(&access.db_roles).into(),
            time(access.started_at).into(),
            time(access.ended_at).into(),
            Cell::new(state(item), style),
            (&access.reason).into(),
            join(&access.roles).into(),
            (&access.requested_by).into(),
            join(&access.approved_by).into(),
            (&access.why).into(),
        ]);
    }
    table.render(colour)
}

fn of_reach(report: &Report, colour: bool) -> String {
    let Some(reach) = &report.reach else { return String::new() };
    let mut table =
        Table::new(&["USER", "DATABASE", "LABELS", "LOGICAL DATABASES", "DB ROLES", "BY ROLE", "AT MOST"]);
    for item in &reach.items {
        let labels: Vec<String> = item.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        table.row([
            (&item.user).into(),
            (&item.database).into(),
            labels.join(",").into(),
            names(&item.database_names).into(),
            item.db_roles.join(",").into(),
            item.roles.join(",").into(),
            item.max_session_ttl.clone().unwrap_or_default().into(),
        ]);
    }
    let mut text = table.render(colour);
    if let Some(changes) = &reach.changes {
        let mut table = Table::new(&["USER", "DATABASE", "CHANGE"]);
        for change in changes {
            let gained = change.gained.iter().map(|what| Cell::new(format!("+ {what}"), Style::Bad));
            let lost = change.lost.iter().map(|what| Cell::new(format!("- {what}"), Style::Good));
            let (mut user, mut database) = (change.user.as_str(), change.database.as_str());
            for what in gained.chain(lost) {
                table.row([std::mem::take(&mut user).into(), std::mem::take(&mut database).into(), what]);
            }
        }
        text.push('\n');
        text.push_str(&if changes.is_empty() { "No changes.\n".to_owned() } else { table.render(colour) });
    }
    text
}

/// What became of an access, in a word.
pub(super) fn state(item: &Item) -> &'static str {
    let access = &item.access;
    match access.state {
        State::Ended if access.proven => "ended, proven",
        State::LeftOpen => "left open",
        state => state.as_str(),
    }
}

pub(super) fn join<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    texts.into_iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

pub(super) fn time(at: Option<Timestamp>) -> String {
    at.map(seconds).unwrap_or_default()
}

pub(super) fn names(names: &NamesView) -> String {
    names.to_string()
}
