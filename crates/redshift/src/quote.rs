//! Names and texts as SQL. Nothing else in this crate puts a value into a statement.

use rolecall_engine::dialect::redshift::name::MAX_ROLE_BYTES;

pub(crate) use rolecall_engine::dialect::redshift::literal;
pub(crate) use rolecall_engine::dialect::sql::identifier;

/// Texts in a list, as `IN` wants it; of none a text that nothing equals.
pub(crate) fn literals<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let list: Vec<String> = texts.into_iter().map(literal).collect();
    if list.is_empty() { "''".to_owned() } else { list.join(", ") }
}

/// An object in a schema.
pub(crate) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// Can a server have this name? A longer one would be cut off and mean another object, and NUL ends a message.
pub(crate) fn is_possible(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_ROLE_BYTES && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_quoted_item_by_item() {
        assert_eq!(literals(["a", "b'", "c\\"]), r"'a', 'b''', 'c\\'");
        assert_eq!(literals::<&str>([]), "''");
        assert_eq!(qualified("s", "t\"x"), r#""s"."t""x""#);
    }

    #[test]
    fn names_that_would_be_cut_off_are_not_possible() {
        assert!(is_possible(&"x".repeat(127)) && !is_possible(&"x".repeat(128)));
        assert!(!is_possible("") && !is_possible("a\0"));
    }
}
