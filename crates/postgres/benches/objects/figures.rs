//! A table of times, one column for each number of tables.

use std::time::Duration;

/// What was measured beside one number of tables.
#[derive(Default)]
pub(crate) struct Column {
    pub(crate) tables: usize,
    /// What, in milliseconds or as a ratio, and what is aimed at; in order.
    figures: Vec<(&'static str, f64, &'static str)>,
}

impl Column {
    pub(crate) fn new(tables: usize) -> Self {
        Self { tables, ..Self::default() }
    }

    /// A time.
    pub(crate) fn time(&mut self, what: &'static str, time: Duration, aim: &'static str) {
        self.figures.push((what, time.as_secs_f64() * 1e3, aim));
    }

    /// How many times one is the other.
    pub(crate) fn ratio(&mut self, what: &'static str, one: Duration, other: Duration, aim: &'static str) {
        self.figures.push((what, one.as_secs_f64() / other.as_secs_f64(), aim));
    }
}

/// Prints the columns beside each other.
pub(crate) fn print(columns: &[Column]) {
    let numbers: String = columns.iter().map(|column| format!("{:>12}", thousands(column.tables))).collect();
    println!("{:<54}{numbers}  aim", "milliseconds, or times; beside so many tables");
    let Some(first) = columns.first() else { return };
    for (row, (what, _, aim)) in first.figures.iter().enumerate() {
        let figures: String =
            columns.iter().map(|column| format!("{:>12}", figure(column.figures[row].1))).collect();
        println!("{what:<54}{figures}  {aim}");
    }
}

fn figure(number: f64) -> String {
    if number < 100.0 { format!("{number:.2}") } else { format!("{number:.0}") }
}

/// `50,000`
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join(",")
}
