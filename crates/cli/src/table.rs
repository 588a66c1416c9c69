//! Tables as kubectl prints them: columns aligned, no lines, headings in capitals.

use unicode_width::UnicodeWidthStr;

/// The style of a cell on a terminal with colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As it comes.
    #[default]
    Plain,
    /// A heading.
    Bold,
    /// What is given.
    Good,
    /// What is withheld.
    Bad,
    /// What matters less.
    Dim,
}

/// Text in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in a style. Control characters are shown as escapes: names come from databases, and must not be able
    /// to drive the reader's terminal.
    pub fn new(text: impl AsRef<str>, style: Style) -> Self {
        Self { text: visible(text.as_ref()), style }
    }

    /// "yes" or "no".
    pub fn yes(yes: bool) -> Self {
        if yes { Self::new("yes", Style::Good) } else { Self::new("no", Style::Bad) }
    }

    fn paint(&self, colour: bool) -> String {
        let code = match self.style {
            Style::Plain => "",
            Style::Bold => "1",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Dim => "2",
        };
        if !colour || code.is_empty() || self.text.is_empty() {
            return self.text.clone();
        }
        format!("\u{1b}[{code}m{}\u{1b}[0m", self.text)
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Style::Plain)
    }
}

/// Rows under headings.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| Cell::new(heading, Style::Bold)).collect()] }
    }

    /// A table of names and values, without headings.
    pub fn plain() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text, each row a line. Nothing is cut: a reader that wants less uses `less -S`.
    pub fn render(&self, colour: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.text.width())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            // Blanks only between cells, so that lines do not end in them.
            let mut gap = 0;
            for (cell, width) in row.iter().zip(&widths) {
                if cell.text.is_empty() {
                    gap += width + GAP;
                    continue;
                }
                text.extend(std::iter::repeat_n(' ', gap));
                text.push_str(&cell.paint(colour));
                gap = width - cell.text.width() + GAP;
            }
            text.push('\n');
        }
        text
    }
}

/// Blanks between columns.
const GAP: usize = 3;

/// The text with control characters as escapes.
pub fn visible(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_do_not_end_in_blanks() {
        let mut table = Table::new(&["NAME", "GIVEN", "WHY"]);
        table.row(["größe".into(), Cell::yes(true), "".into()]);
        table.row(["x".into(), "".into(), "because".into()]);
        assert_eq!(table.render(false), "NAME    GIVEN   WHY\ngröße   yes\nx               because\n");
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let mut table = Table::plain();
        table.row([Cell::yes(false), "a".into()]);
        assert_eq!(table.render(true), "\u{1b}[31mno\u{1b}[0m   a\n");
    }

    #[test]
    fn names_cannot_drive_the_terminal() {
        assert_eq!(Cell::from("a\u{1b}[2Jb\n").text, "a\\u{1b}[2Jb\\n");
    }
}
