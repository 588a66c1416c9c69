//! What the demo says: headlines, commands as a person would type them, and what came back.

use std::io::{IsTerminal, Write, stdout};

const BOLD: &str = "1";
const COMMAND: &str = "36";
const FAINT: &str = "2";

/// A guided tour on standard output. Coloured on a terminal, plain and complete elsewhere.
#[derive(Debug)]
pub(super) struct Tour {
    steps: usize,
    coloured: bool,
}

impl Tour {
    pub(super) fn new() -> Self {
        let coloured = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { steps: 0, coloured }
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, headline: &str) {
        self.steps += 1;
        self.line("");
        self.line(&self.paint(BOLD, &format!("{}. {headline}", self.steps)));
    }

    /// The step that the tour is at.
    pub(super) fn at(&self) -> usize {
        self.steps
    }

    /// A headline without a number.
    pub(super) fn headline(&self, text: &str) {
        self.line("");
        self.line(&self.paint(BOLD, text));
    }

    /// A remark.
    pub(super) fn say(&self, text: &str) {
        for line in text.lines() {
            self.line(&format!("   {line}"));
        }
    }

    /// A command, before it runs.
    pub(super) fn command(&self, command: &str) {
        for (index, line) in command.lines().enumerate() {
            let prompt = if index == 0 { "$" } else { " " };
            self.line(&format!("   {}", self.paint(COMMAND, &format!("{prompt} {line}"))));
        }
    }

    /// What a command answered.
    pub(super) fn output(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.line(format!("     {}", self.paint(FAINT, line.trim_end())).trim_end());
        }
    }

    fn line(&self, text: &str) {
        // Nothing is lost when nobody reads any more: the steps check what came back by themselves.
        let _ = writeln!(stdout().lock(), "{text}");
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.coloured && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
