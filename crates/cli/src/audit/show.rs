//! What was found, for a terminal.

use rolecall_ledger::Verification;

use crate::table::{Cell, Style, Table};

/// What was found, for a terminal.
pub fn table(found: &Verification, colour: bool) -> String {
    let mut sections = Vec::new();
    if !found.chains.is_empty() {
        let mut table = Table::new(&["CHAIN", "WRITER", "LINES", "NUMBERS", "FROM", "UNTIL", "END"]);
        for chain in &found.chains {
            let time = |at: Option<jiff::Timestamp>| at.map(seconds).unwrap_or_default();
            table.row([
                (&chain.chain).into(),
                (&chain.writer).into(),
                chain.lines.to_string().into(),
                format!("{}-{}", chain.first, chain.last).into(),
                time(chain.from).into(),
                time(chain.until).into(),
                if chain.stopped { "stopped" } else { "open" }.into(),
            ]);
        }
        sections.push(table.render(colour));
    }
    let mut table = Table::plain();
    for fault in &found.faults {
        table.row([Cell::new("wrong:", Style::Bad), (&fault.message).into()]);
    }
    for note in &found.notes {
        table.row([Cell::new("note:", Style::Dim), note.into()]);
    }
    match (found.faults.is_empty(), found.chains.last()) {
        (true, Some(newest)) => {
            table.row([Cell::new("whole:", Style::Good), format!("up to {}", newest.head).into()]);
        }
        _ => {
            let faults = found.faults.len();
            let what = if faults == 1 { "1 fault".to_owned() } else { format!("{faults} faults") };
            table.row([Cell::new("not whole:", Style::Bad), what.into()]);
        }
    }
    sections.push(table.render(colour));
    sections.join("\n")
}

/// To the second.
pub(crate) fn seconds(at: jiff::Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
