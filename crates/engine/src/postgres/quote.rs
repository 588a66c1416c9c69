//! The one place where names and texts become SQL.
//!
//! Nothing else in this crate puts a value into a statement. The encoding of the connection is always UTF-8, in which
//! no byte of a longer character looks like a quote.

use std::fmt;

/// An SQL identifier: `"` around it, doubled inside.
pub(crate) fn identifier(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref().replace('"', "\"\""))
}

/// Identifiers, separated by commas.
pub(super) fn identifiers<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    list(names.into_iter().map(identifier))
}

/// An SQL string. With a backslash in it the form whose meaning no setting changes.
pub(crate) fn literal(text: impl AsRef<str>) -> String {
    let doubled = text.as_ref().replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// An array of names, which may be empty.
pub(super) fn names<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    format!("ARRAY[{}]::pg_catalog.name[]", list(names.into_iter().map(literal)))
}

/// An array of texts, which may be empty.
pub(super) fn texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    format!("ARRAY[{}]::pg_catalog.text[]", list(texts.into_iter().map(literal)))
}

/// An array of numbers of objects, which may be empty.
pub(super) fn numbers(ids: impl IntoIterator<Item = u32>) -> String {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    format!("'{{{}}}'::pg_catalog.oid[]", ids.join(","))
}

/// A DO statement. The delimiter is one that does not occur in the body, whatever names stand in it, and the line
/// breaks keep the body's end and the delimiter from making one together.
pub(super) fn block(body: &str) -> String {
    let mut tag = "$rolecall$".to_owned();
    while body.contains(&tag) {
        tag.insert(tag.len() - 1, '_');
    }
    format!("DO {tag}\n{body}\n{tag}")
}

/// Can a server hold this name? A longer one would be cut off and mean another object, and NUL ends a message.
pub(super) fn is_possible(name: &str) -> bool {
    !name.is_empty() && name.len() <= crate::account::MAX_NAME_BYTES && !name.contains('\0')
}

fn list(items: impl Iterator<Item = impl fmt::Display>) -> String {
    let mut text = String::new();
    for item in items {
        let separator = if text.is_empty() { "" } else { ", " };
        text.push_str(&format!("{separator}{item}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(identifier(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal("a'b"), "'a''b'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
        assert_eq!(identifiers(["a", "B c"]), r#""a", "B c""#);
        assert_eq!(names::<&str>([]), "ARRAY[]::pg_catalog.name[]");
        assert_eq!(names(["a", "b'"]), "ARRAY['a', 'b''']::pg_catalog.name[]");
    }

    #[test]
    fn a_block_cannot_be_left() {
        assert_eq!(block("x"), "DO $rolecall$\nx\n$rolecall$");
        assert_eq!(block("a $rolecall$ b"), "DO $rolecall_$\na $rolecall$ b\n$rolecall_$");
        assert_eq!(block("$rolecall"), "DO $rolecall$\n$rolecall\n$rolecall$");
    }

    proptest! {
        /// What the server's lexer reads is what went in.
        #[test]
        fn identifiers_come_back(name in "[^\0]{1,63}") {
            let quoted = identifier(&name);
            let inner = &quoted[1..quoted.len() - 1];
            prop_assert!(!inner.replace("\"\"", "").contains('"'));
            prop_assert_eq!(inner.replace("\"\"", "\""), name);
        }

        #[test]
        fn literals_come_back(text in "[^\0]*") {
            let quoted = literal(&text);
            let escapes = quoted.starts_with('E');
            let inner = &quoted[if escapes { 2 } else { 1 }..quoted.len() - 1];
            let mut read = String::new();
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\'' => prop_assert_eq!(chars.next(), Some('\'')),
                    '\\' if escapes => prop_assert_eq!(chars.next(), Some('\\')),
                    _ => {}
                }
                read.push(c);
            }
            prop_assert_eq!(read, text);
        }
    }
}
