//! What a regular expression's matches begin with.

use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, Look};

/// Literal bytes, one of which is at the beginning of every value that the expression matches. Empty where
/// there is no such set, or a large one.
pub(crate) fn prefixes(regex: &str) -> Vec<Box<[u8]>> {
    let Ok(hir) = regex_syntax::parse(regex) else { return Vec::new() };
    // The branches of `^a|b$` are not all anchored: a match can begin anywhere.
    if !begins_at_the_start(&hir) {
        return Vec::new();
    }
    let literals =
        Extractor::new().limit_class(4).limit_repeat(4).limit_literal_len(64).limit_total(16).extract(&hir);
    let Some(literals) = literals.literals() else { return Vec::new() };
    let mut prefixes: Vec<Box<[u8]>> = literals.iter().map(|literal| literal.as_bytes().into()).collect();
    // One that continues another says nothing new.
    prefixes.sort();
    prefixes.dedup_by(|longer, shorter| longer.starts_with(shorter));
    if prefixes.iter().any(|prefix| prefix.is_empty()) { Vec::new() } else { prefixes }
}

fn begins_at_the_start(hir: &Hir) -> bool {
    hir.properties().look_set_prefix().contains(Look::Start)
}

#[cfg(test)]
mod tests {
    use super::prefixes;

    fn texts(regex: &str) -> Vec<String> {
        prefixes(regex).iter().map(|prefix| String::from_utf8_lossy(prefix).into_owned()).collect()
    }

    #[test]
    fn finds_the_literal_beginning() {
        assert_eq!(texts("^orders_[0-9]+$"), ["orders_"]);
        assert_eq!(texts("^orders_(line|head)_x.*$"), ["orders_head_x", "orders_line_x"]);
        assert_eq!(texts("^(a|b)c*$"), ["a", "b"]);
    }

    #[test]
    fn finds_nothing_where_a_match_can_begin_otherwise() {
        for regex in ["^a|b$", "^.*a$", "^[a-z]+$", "^$", "^a?b*$", "^(?m)a|(?m:^)b$", "^[$"] {
            assert!(texts(regex).is_empty(), "{regex}: {:?}", texts(regex));
        }
    }
}
