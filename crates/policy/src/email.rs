//! E-mail addresses, as far as templates read them.

/// The local part of one RFC 5322 address, with or without a display name: `alice` of `Alice <alice@x.org>`.
///
/// `None` where the text is not a single address or where the local part is empty. Comments are skipped; quotes
/// around a local part are not part of it.
pub(crate) fn local_part(text: &str) -> Option<String> {
    let bare = Scanner { rest: text }.bare_address();
    let local = bare.or_else(|| Scanner { rest: text }.named_address())?;
    (!local.is_empty()).then_some(local)
}

#[derive(Clone, Copy)]
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn bare_address(mut self) -> Option<String> {
        self.skip_blank()?;
        let local = self.address()?;
        self.skip_blank()?;
        self.rest.is_empty().then_some(local)
    }

    fn named_address(mut self) -> Option<String> {
        self.skip_blank()?;
        while !self.rest.starts_with('<') {
            // Dots in display names are obsolete syntax, and common.
            if self.quoted().is_none() && self.take_while(|c| is_atom(c) || c == '.').is_empty() {
                return None;
            }
            self.skip_blank()?;
        }
        self.take('<')?;
        let local = self.address()?;
        self.take('>')?;
        self.skip_blank()?;
        self.rest.is_empty().then_some(local)
    }

    /// `local@domain`; returns the local part.
    fn address(&mut self) -> Option<String> {
        let local = match self.quoted() {
            Some(local) => local,
            None => self.dotted()?.to_owned(),
        };
        self.take('@')?;
        if self.take('[').is_some() {
            self.take_while(|c| c.is_ascii_graphic() && !matches!(c, '[' | ']' | '\\'));
            self.take(']')?;
        } else {
            self.dotted()?;
        }
        Some(local)
    }

    /// Atoms joined by single dots.
    fn dotted(&mut self) -> Option<&'a str> {
        let text = self.take_while(|c| is_atom(c) || c == '.');
        text.split('.').all(|atom| !atom.is_empty()).then_some(text)
    }

    /// A string in double quotes, without them and their escapes.
    fn quoted(&mut self) -> Option<String> {
        let mut chars = self.rest.strip_prefix('"')?.chars();
        let mut text = String::new();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(chars.next().filter(|c| !c.is_control())?),
                c if c.is_control() && c != '\t' => return None,
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }

    /// Skips white space and comments; `None` where a comment does not end.
    fn skip_blank(&mut self) -> Option<()> {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
            if !self.rest.starts_with('(') {
                return Some(());
            }
            let mut depth = 0_usize;
            let mut chars = self.rest.chars();
            loop {
                match chars.next()? {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    '\\' => {
                        chars.next()?;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            self.rest = chars.as_str();
        }
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

/// Characters of an atom; those beyond ASCII as RFC 6532 has it.
fn is_atom(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || (!c.is_ascii() && !c.is_control() && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::local_part;

    #[test]
    fn reads_addresses_with_and_without_names() {
        for (text, local) in [
            ("alice@example.com", "alice"),
            ("  a.b+c@[127.0.0.1] ", "a.b+c"),
            ("Bob B. <bob@example.com>", "bob"),
            ("\"Bob, the second\" <bob@example.com> (work)", "bob"),
            ("<bob@example.com>", "bob"),
            ("\"a b\"@example.com", "a b"),
            ("jörg@example.com", "jörg"),
            ("(x(y)) a@b", "a"),
        ] {
            assert_eq!(local_part(text).as_deref(), Some(local), "{text:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_single_address() {
        for text in [
            "",
            " ",
            "alice",
            "@example.com",
            "alice@",
            "a b@c",
            ".a@b",
            "a..b@c",
            "a@b.",
            "Alice <alice",
            "Alice <alice>",
            "a@b, c@d",
            "a@b@c",
            "\"\"@b",
            "\"a@b",
            "a@[b",
            "(a@b",
            "Bob <b@c> d",
            "group: a@b;",
        ] {
            assert_eq!(local_part(text), None, "{text:?}");
        }
    }
}
