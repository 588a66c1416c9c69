//! A report as CSV (RFC 4180), for spreadsheets.

use anyhow::Context;
use csv::{Terminator, WriterBuilder};

use super::Report;
use super::show::{join, names, time};

/// The accesses, one a row.
///
/// # Errors
///
/// None, in truth: it is written to memory.
pub fn accesses(report: &Report) -> anyhow::Result<String> {
    const HEADINGS: [&str; 22] = [
        "id",
        "namespace",
        "session",
        "user",
        "username",
        "database",
        "databaseName",
        "dbRoles",
        "permissions",
        "startedAt",
        "expiresAt",
        "endedAt",
        "state",
        "reason",
        "proven",
        "roles",
        "requestedBy",
        "approvedBy",
        "why",
        "returned",
        "source",
        "evidence",
    ];
    let rows = report.accesses.iter().map(|item| {
        let access = &item.access;
        let permissions: Vec<String> =
            access.permissions.iter().map(|(privilege, objects)| format!("{privilege}:{objects}")).collect();
        let returned: Vec<String> =
            access.returned.iter().map(|back| format!("{} {}", time(Some(back.at)), back.action)).collect();
        let source = serde_json::to_value(item.source).unwrap_or_default();
        vec![
            access.id.clone(),
            access.namespace.clone(),
            access.session.clone(),
            access.user.clone(),
            access.username.clone(),
            access.database.clone(),
            access.database_name.clone(),
            join(&access.db_roles),
            permissions.join(","),
            time(access.started_at),
            time(access.expires_at),
            time(access.ended_at),
            access.state.as_str().to_owned(),
            access.reason.clone(),
            access.proven.to_string(),
            join(&access.roles),
            access.requested_by.clone(),
            join(&access.approved_by),
            access.why.clone(),
            returned.join(","),
            source.as_str().unwrap_or_default().to_owned(),
            access.evidence.join(" "),
        ]
    });
    write(&HEADINGS, rows)
}

/// Who reaches what, one user on one database a row; what changed since another state is in the last two columns.
///
/// # Errors
///
/// As [`accesses`].
pub fn reach(report: &Report) -> anyhow::Result<String> {
    const HEADINGS: [&str; 11] = [
        "user",
        "username",
        "database",
        "labels",
        "databaseNames",
        "dbRoles",
        "permissions",
        "roles",
        "maxSessionTtl",
        "gained",
        "lost",
    ];
    let Some(reach) = &report.reach else { return write(&HEADINGS, std::iter::empty()) };
    let mut changes = reach.changes.clone().unwrap_or_default();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for item in &reach.items {
        let place =
            changes.iter().position(|change| change.user == item.user && change.database == item.database);
        let change = place.map(|place| changes.remove(place));
        let labels: Vec<String> = item.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        rows.push(vec![
            item.user.clone(),
            item.username.clone(),
            item.database.clone(),
            labels.join(","),
            names(&item.database_names),
            item.db_roles.join(","),
            item.permissions.join("; "),
            item.roles.join(","),
            item.max_session_ttl.clone().unwrap_or_default(),
            change.as_ref().map(|change| change.gained.join("; ")).unwrap_or_default(),
            change.map(|change| change.lost.join("; ")).unwrap_or_default(),
        ]);
    }
    // What was reached and is not any more.
    for change in changes {
        let mut row = vec![String::new(); HEADINGS.len()];
        (row[0], row[2]) = (change.user, change.database);
        (row[9], row[10]) = (change.gained.join("; "), change.lost.join("; "));
        rows.push(row);
    }
    write(&HEADINGS, rows)
}

fn write(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> anyhow::Result<String> {
    let mut csv = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    csv.write_record(headings)?;
    for row in rows {
        csv.write_record(row.iter().map(|cell| inert(cell)))?;
    }
    let bytes = csv.into_inner().map_err(|error| anyhow::anyhow!("writing CSV: {error}"))?;
    String::from_utf8(bytes).context("writing CSV")
}

/// A cell that no spreadsheet takes for a formula: people choose the reasons and names in it. An apostrophe in front
/// makes it a text.
fn inert(cell: &str) -> String {
    // The wide forms count as the narrow ones where a spreadsheet is set to a language that writes them.
    let formula = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠', '|', '%'];
    match cell.trim_start_matches([' ', '\u{a0}', '\u{feff}']).starts_with(formula) {
        true => format!("'{cell}"),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rolecall_ledger::State;

    use super::*;
    use crate::report::samples;

    #[test]
    fn a_cell_is_no_formula_whatever_somebody_wrote() {
        for evil in
            ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", " =1", "\u{feff}=1", "=cmd|' /C calc'!A0"]
        {
            let mut access = samples::access("a", State::Ended);
            access.why = evil.to_owned();
            let text = accesses(&samples::report(vec![access])).unwrap();
            let mut rows = csv::Reader::from_reader(text.as_bytes());
            let row = rows.records().next().unwrap().unwrap();
            assert_eq!(&row[18], format!("'{evil}"), "{text}");
        }
        assert_eq!(inert("INC-1 = fine"), "INC-1 = fine");
    }

    #[test]
    fn commas_quotes_and_line_breaks_stay_in_their_cell() {
        let mut access = samples::access("a", State::Ended);
        access.why = "a, \"b\"\nc".to_owned();
        let text = accesses(&samples::report(vec![access])).unwrap();
        let mut rows = csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
        assert_eq!((rows.len(), &rows[0][18]), (1, "a, \"b\"\nc"));
    }
}
