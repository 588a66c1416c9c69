//! The answer for a terminal.

use super::summary::{self, Sign};
use super::view::{AccessChange, Change, PlanView, SessionEffect, When};
use crate::table::{Cell, Style, Table};

/// The most objects that are listed for an access.
const OBJECTS: usize = 20;

/// The answer for a terminal: what differs in manifests, then for each access, then in one sentence.
pub fn table(plan: &PlanView, colour: bool) -> String {
    let mut sections = Vec::new();
    if !plan.changes.is_empty() {
        let mut table = Table::new(&["CHANGE", "KIND", "NAME", "FIELDS"]);
        for change in &plan.changes {
            let (word, style) = match change.change {
                Change::Created => ("created", Style::Good),
                Change::Changed => ("changed", Style::Plain),
                Change::Deleted => ("deleted", Style::Bad),
            };
            let fields = change.fields.join(", ");
            table.row([Cell::new(word, style), (&change.kind).into(), (&change.name).into(), fields.into()]);
        }
        sections.push(table.render(colour));
    }
    sections.extend(plan.accesses.iter().map(|access| section(access, colour)));
    let mut last = Table::plain();
    for notice in &plan.notices {
        last.row([format!("Note: {notice}").into()]);
    }
    last.row([Cell::new(summary::sentence(plan), Style::Bold)]);
    sections.push(last.render(colour));
    sections.join("\n")
}

fn section(access: &AccessChange, colour: bool) -> String {
    let mut head = Table::plain();
    head.row([Cell::new(summary::heading(access), Style::Bold)]);
    let mut table = Table::plain();
    let mut row = |sign: &str, style: Style, what: &str, text: String| {
        table.row([Cell::new(format!("  {sign}"), style), what.into(), text.into()]);
    };
    for line in summary::lines(access, OBJECTS) {
        let (sign, style) = match line.sign {
            Sign::Gained => ("+", Style::Good),
            Sign::Lost => ("-", Style::Bad),
            Sign::Other => ("~", Style::Plain),
        };
        row(sign, style, line.what, line.text);
    }
    for session in &access.sessions {
        let style = match session.effect {
            SessionEffect::Ends => Style::Bad,
            SessionEffect::Starts => Style::Good,
            _ => Style::Plain,
        };
        row("!", style, "live session", summary::session(session));
    }
    let when = match access.statements.when {
        When::Now => "at once",
        When::NextSession => "next session",
    };
    let mut statements = Table::plain();
    for (number, statement) in access.statements.statements.iter().enumerate() {
        let when = if number == 0 { when } else { "" };
        statements.row([Cell::new(format!("  {when}"), Style::Dim), format!("{statement};").into()]);
    }
    format!("{}{}{}", head.render(colour), table.render(colour), statements.render(colour))
}
