//! Rows of views, as values. Everything comes as text; columns of a fixed width are padded.

/// A row, as text.
pub(crate) type Row = Vec<Option<String>>;

/// The text of a column, without padding; empty where there is none.
pub(crate) fn text(row: &Row, column: usize) -> &str {
    row.get(column).and_then(Option::as_deref).unwrap_or_default().trim_end()
}

/// A number, 0 where there is none.
pub(crate) fn number(row: &Row, column: usize) -> i64 {
    text(row, column).trim_start().parse().unwrap_or_default()
}

/// Is it true, in whatever form?
pub(crate) fn is_true(row: &Row, column: usize) -> bool {
    matches!(text(row, column).to_ascii_lowercase().as_str(), "t" | "true" | "1" | "yes")
}

/// The items of an array of texts, `{a,"b,c"}`.
pub(crate) fn items(array: &str) -> Vec<String> {
    let inner = array.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    if inner.is_empty() {
        return Vec::new();
    }
    let (mut items, mut current, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => current.extend(chars.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => items.push(std::mem::take(&mut current)),
            other => current.push(other),
        }
    }
    items.push(current);
    items
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row of texts.
    pub(crate) fn row<const N: usize>(texts: [&str; N]) -> Row {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn padding_is_no_part_of_a_text() {
        let row = row(["alice   ", " 7", "T", "f"]);
        assert_eq!(
            (text(&row, 0), number(&row, 1), is_true(&row, 2), is_true(&row, 3)),
            ("alice", 7, true, false)
        );
        assert_eq!((text(&row, 9), number(&row, 0)), ("", 0));
    }

    #[test]
    fn arrays_are_taken_apart() {
        assert_eq!(items("{}"), Vec::<String>::new());
        assert_eq!(items(""), Vec::<String>::new());
        assert_eq!(items(r#"{search_path=app,"a=b, \"c\""}"#), ["search_path=app", r#"a=b, "c""#]);
    }
}
