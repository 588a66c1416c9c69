//! Names and texts as SQL: lists, arrays and blocks of what [`identifier`] and [`literal`] quote.
//!
//! Nothing else in this crate puts a value into a statement. The encoding of the connection is always UTF-8, in which
//! no byte of a longer character looks like a quote.

use std::fmt;

pub(crate) use rolecall_engine::dialect::sql::{identifier, literal};

/// Identifiers, separated by commas.
pub(super) fn identifiers<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    list(names.into_iter().map(identifier))
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

/// A DO statement. The delimiter is one that does not occur in the body, whatever names are in it, and the line
/// breaks keep the body's end and the delimiter from making one together.
pub(super) fn block(body: &str) -> String {
    let mut tag = "$rolecall$".to_owned();
    while body.contains(&tag) {
        tag.insert(tag.len() - 1, '_');
    }
    format!("DO {tag}\n{body}\n{tag}")
}

/// Can a server have this name? A longer one would be cut off and mean another object, and NUL ends a message.
pub(super) fn is_possible(name: &str) -> bool {
    !name.is_empty() && name.len() <= rolecall_engine::account::MAX_NAME_BYTES && !name.contains('\0')
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
    use super::*;

    #[test]
    fn lists_are_quoted_item_by_item() {
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
}
