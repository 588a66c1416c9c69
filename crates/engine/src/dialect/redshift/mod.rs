//! What is peculiar to Amazon Redshift: names, the roles that records are kept in, and what fixes things.
//!
//! Redshift keeps no comment on a user or role. What PostgreSQL keeps in one is kept in names of roles here: see
//! [`record`].

pub mod name;
pub mod record;
pub mod remedy;

/// Prefix of the roles that belong to Rolecall itself: permission sets and records. A role of Redshift can have no colon
/// in its name.
pub const OWN_PREFIX: &str = "rolecall_";

/// A text as a string of SQL. A backslash escapes in every string there, and the form `E'...'` does not exist: doubling
/// quotes alone would let a text end its string.
pub fn literal(text: impl AsRef<str>) -> String {
    format!("'{}'", text.as_ref().replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn literals_come_back(text in "[^\0]*") {
            let quoted = literal(&text);
            let mut read = String::new();
            let mut chars = quoted[1..quoted.len() - 1].chars();
            while let Some(c) = chars.next() {
                match c {
                    '\'' => prop_assert_eq!(chars.next(), Some('\'')),
                    '\\' => prop_assert_eq!(chars.next(), Some('\\')),
                    _ => {}
                }
                read.push(c);
            }
            prop_assert_eq!(read, text);
        }
    }

    #[test]
    fn a_backslash_does_not_free_a_quote() {
        assert_eq!(literal(r"\'; DROP USER x --"), r"'\\''; DROP USER x --'");
    }
}
