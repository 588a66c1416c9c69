//! The answer for a terminal. Pure.

use super::report::{Check, Diagnosis, Status, Verdict};
use crate::table::{Cell, Style, Table};

/// What was looked at, and what it comes to.
pub fn text(diagnosis: &Diagnosis, colour: bool) -> String {
    let mut table = Table::new(&["AREA", "STATUS", "WHAT"]);
    for check in &diagnosis.checks {
        let style = match check.status {
            Status::Ok => Style::Good,
            Status::Failed => Style::Bad,
            Status::Warning | Status::Unknown => Style::Bold,
            Status::Note => Style::Dim,
        };
        table.row([
            check.area.as_str().into(),
            Cell::new(check.status.as_str(), style),
            Cell::from(&check.message),
        ]);
    }
    format!("{}\n{}\n", table.render(colour), conclusion(diagnosis))
}

fn conclusion(diagnosis: &Diagnosis) -> String {
    let count = |status| diagnosis.checks.iter().filter(|check| check.status == status).count();
    let (faults, unknown, warnings) = (count(Status::Failed), count(Status::Unknown), count(Status::Warning));
    let and = |number: usize, one: &str, several: &str| match number {
        0 => String::new(),
        1 => format!(", 1 {one}"),
        _ => format!(", {number} {several}"),
    };
    let warned = and(warnings, "warning", "warnings");
    let unseen = and(unknown, "thing that could not be looked at", "things that could not be looked at");
    let name = &diagnosis.database;
    match diagnosis.verdict {
        Verdict::Healthy => format!("{name} is healthy{warned}."),
        Verdict::Incomplete => {
            format!("Nothing is wrong with {name} as far as could be seen{unseen}{warned}.")
        }
        Verdict::Broken => {
            let faults = and(faults, "fault", "faults");
            let mends = diagnosis
                .checks
                .iter()
                .any(|check: &Check| !check.fix.is_empty() && check.status == Status::Failed);
            let script = if mends {
                format!(" What mends its rights: kubectl rolecall doctor {name} --fix-sql")
            } else {
                String::new()
            };
            format!("{name} is broken: {}{unseen}{warned}.{script}", faults.trim_start_matches(", "))
        }
    }
}
