//! Many patterns against one value at a time.
//!
//! Rules and roles come with hundreds of patterns, most of them literal names, globs like `hr_*` or regular
//! expressions like `^hr_[0-9]+$`. Instead of trying each, literals are looked up; what begins or ends with
//! something literal is looked up by that and then tried; regular expressions that remain are run as one set.

use std::collections::HashMap;

use regex::{Regex, RegexSet, RegexSetBuilder};

use crate::bits::Bits;
use crate::pattern::{Glob, Matcher, Pattern};

/// What a lone `*` matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Star {
    /// Any value, as in label selectors.
    Everything,
    /// Any value without a line end, as in lists of names.
    OneLine,
}

/// The limit of a set of regular expressions, beyond which they are run one by one.
const SET_SIZE_LIMIT: usize = 32 << 20;

/// Patterns, each with the owners that it matches for.
#[derive(Debug)]
pub(crate) struct PatternIndex {
    star: Star,
    any: Bits,
    exact: HashMap<Box<str>, Vec<usize>>,
    /// Patterns that must be tried, each once, with their owners.
    tried: Vec<(Tried, Vec<usize>)>,
    by_prefix: Affixes,
    by_suffix: Affixes,
    /// Globs that begin and end with a star.
    loose: Vec<usize>,
    /// Regular expressions whose matches can begin with anything, by their places in `tried`.
    set: Option<(RegexSet, Vec<usize>)>,
}

#[derive(Debug)]
enum Tried {
    Glob(Glob),
    Regex(Regex),
}

impl Tried {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.matches(value),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// Patterns by a literal part at one end, and the lengths that such parts have.
#[derive(Debug, Default)]
struct Affixes {
    patterns: HashMap<Box<[u8]>, Vec<usize>>,
    lengths: Vec<usize>,
}

impl Affixes {
    fn add(&mut self, affix: &[u8], pattern: usize) {
        self.patterns.entry(affix.into()).or_default().push(pattern);
        if !self.lengths.contains(&affix.len()) {
            self.lengths.push(affix.len());
        }
    }
}

impl PatternIndex {
    /// Indexes patterns with their owners, which are numbers below `owners`.
    pub(crate) fn new<'a>(
        star: Star,
        owners: usize,
        patterns: impl IntoIterator<Item = (usize, &'a Pattern)>,
    ) -> Self {
        let mut index = Self {
            star,
            any: Bits::empty(owners),
            exact: HashMap::new(),
            tried: Vec::new(),
            by_prefix: Affixes::default(),
            by_suffix: Affixes::default(),
            loose: Vec::new(),
            set: None,
        };
        // The same pattern often occurs in many places.
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut unanchored = Vec::new();
        for (owner, pattern) in patterns {
            match pattern.matcher() {
                Matcher::Any => index.any.insert(owner),
                Matcher::Exact => index.exact.entry(pattern.as_str().into()).or_default().push(owner),
                matcher => {
                    let at =
                        *known.entry(pattern.as_str()).or_insert_with(|| index.add(matcher, &mut unanchored));
                    index.tried[at].1.push(owner);
                }
            }
        }
        index.combine(unanchored);
        index
    }

    /// Adds a glob or a regular expression and returns its place.
    fn add(&mut self, matcher: &Matcher, unanchored: &mut Vec<usize>) -> usize {
        let at = self.tried.len();
        match matcher {
            Matcher::Glob(glob) => {
                match (glob.prefix(), glob.suffix()) {
                    ("", "") => self.loose.push(at),
                    ("", suffix) => self.by_suffix.add(suffix.as_bytes(), at),
                    (prefix, _) => self.by_prefix.add(prefix.as_bytes(), at),
                }
                self.tried.push((Tried::Glob(glob.clone()), Vec::new()));
            }
            Matcher::Regex(regex) => {
                if regex.prefixes.is_empty() {
                    unanchored.push(at);
                }
                regex.prefixes.iter().for_each(|prefix| self.by_prefix.add(prefix, at));
                self.tried.push((Tried::Regex(regex.regex.clone()), Vec::new()));
            }
            // Neither is tried.
            Matcher::Any | Matcher::Exact => {}
        }
        at
    }

    /// Makes one set of the regular expressions that every value must be tried on, unless it grows too large.
    fn combine(&mut self, unanchored: Vec<usize>) {
        let regexes = unanchored.iter().filter_map(|at| match &self.tried[*at].0 {
            Tried::Regex(regex) => Some(regex.as_str()),
            Tried::Glob(_) => None,
        });
        // A set of one is slower than the one.
        let set = (unanchored.len() > 1).then(|| {
            RegexSetBuilder::new(regexes).size_limit(SET_SIZE_LIMIT).dfa_size_limit(SET_SIZE_LIMIT).build()
        });
        match set {
            Some(Ok(set)) => self.set = Some((set, unanchored)),
            _ => self.loose.extend(unanchored),
        }
    }

    /// Sets `hits` to the owners of the patterns that match the value.
    pub(crate) fn find(&self, value: &str, hits: &mut Bits) {
        if self.star == Star::Everything || !value.contains('\n') {
            hits.copy_from(&self.any);
        } else {
            hits.clear();
        }
        if let Some(owners) = self.exact.get(value) {
            owners.iter().for_each(|owner| hits.insert(*owner));
        }
        let bytes = value.as_bytes();
        for length in &self.by_prefix.lengths {
            if let Some(prefix) = bytes.get(..*length) {
                self.try_each(self.by_prefix.patterns.get(prefix), value, hits);
            }
        }
        for length in &self.by_suffix.lengths {
            if let Some(start) = bytes.len().checked_sub(*length) {
                self.try_each(self.by_suffix.patterns.get(&bytes[start..]), value, hits);
            }
        }
        self.try_each(Some(&self.loose), value, hits);
        if let Some((set, places)) = &self.set {
            for matched in set.matches(value) {
                self.tried[places[matched]].1.iter().for_each(|owner| hits.insert(*owner));
            }
        }
    }

    fn try_each(&self, patterns: Option<&Vec<usize>>, value: &str, hits: &mut Bits) {
        for (pattern, owners) in patterns.into_iter().flatten().map(|at| &self.tried[*at]) {
            if pattern.matches(value) {
                owners.iter().for_each(|owner| hits.insert(*owner));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_each_pattern_by_itself_matches(
            texts in prop::collection::vec("[ab*\n]{0,5}|\\^[ab|.*?()]{0,6}\\$", 0..12),
            values in prop::collection::vec("[ab\n]{0,6}", 1..6),
        ) {
            let patterns: Vec<Pattern> = texts.iter().filter_map(|text| Pattern::new(text).ok()).collect();
            let index = PatternIndex::new(Star::OneLine, patterns.len(), patterns.iter().enumerate());
            let mut hits = Bits::empty(patterns.len());
            for value in values {
                index.find(&value, &mut hits);
                let each: Vec<usize> = patterns
                    .iter()
                    .enumerate()
                    .filter(|(_, pattern)| pattern.matches(&value))
                    .map(|(i, _)| i)
                    .collect();
                prop_assert_eq!(hits.iter().collect::<Vec<_>>(), each, "{:?} on {:?}", patterns, value);
            }
        }
    }

    #[test]
    fn a_star_reaches_across_lines_only_in_selectors() {
        let star = Pattern::new("*").expect("compiles");
        let mut hits = Bits::empty(1);
        PatternIndex::new(Star::Everything, 1, [(0, &star)]).find("a\nb", &mut hits);
        assert!(!hits.is_empty());
        PatternIndex::new(Star::OneLine, 1, [(0, &star)]).find("a\nb", &mut hits);
        assert!(hits.is_empty());
    }
}
