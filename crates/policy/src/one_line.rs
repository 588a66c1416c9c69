//! Texts of other people in lines of ours.

use std::fmt::{self, Write};

/// Shows a text in one line: control characters, line ends among them, are escaped.
pub(crate) struct OneLine<'a>(pub(crate) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_debug())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Shows a list in one line.
pub(crate) struct Join<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for Join<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

/// Shows the first ten of a list in one line, then how many more there are: for messages, whose length is bounded.
pub(crate) struct Few<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for Few<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 10;
        let (first, rest) = self.0.split_at(self.0.len().min(MOST));
        Join(first).fmt(f)?;
        if rest.is_empty() { Ok(()) } else { write!(f, "; and {} more", rest.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_ten_and_count_the_rest() {
        let items: Vec<usize> = (0..12).collect();
        assert_eq!(Few(&items[..2]).to_string(), "0; 1");
        assert!(Few(&items).to_string().ends_with("8; 9; and 2 more"));
    }
}
