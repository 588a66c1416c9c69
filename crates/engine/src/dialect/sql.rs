//! The one place where names and texts become SQL.

/// An SQL identifier: `"` around it, doubled inside.
pub fn identifier(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref().replace('"', "\"\""))
}

/// An SQL string. With a backslash in it the form whose meaning no setting changes.
pub fn literal(text: impl AsRef<str>) -> String {
    let doubled = text.as_ref().replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
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
