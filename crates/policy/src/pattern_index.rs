//! Many patterns against one value at a time.
//!
//! Rules and roles come with hundreds of patterns, most of them literal names or globs like `hr_*`. Instead of
//! trying each, literals are looked up, globs are looked up by their literal prefix or suffix, and regular
//! expressions are run as one set.

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
    globs: Vec<(Glob, Vec<usize>)>,
    by_prefix: Affixes,
    by_suffix: Affixes,
    /// Globs that begin and end with a star.
    loose: Vec<usize>,
    regexes: Regexes,
    regex_owners: Vec<Vec<usize>>,
}

#[derive(Debug)]
enum Regexes {
    None,
    Set(RegexSet),
    Each(Vec<Regex>),
}

/// Globs by a literal part at one end, and the lengths that such parts have.
#[derive(Debug, Default)]
struct Affixes {
    globs: HashMap<Box<[u8]>, Vec<usize>>,
    lengths: Vec<usize>,
}

impl Affixes {
    fn add(&mut self, affix: &str, glob: usize) {
        self.globs.entry(affix.as_bytes().into()).or_default().push(glob);
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
            globs: Vec::new(),
            by_prefix: Affixes::default(),
            by_suffix: Affixes::default(),
            loose: Vec::new(),
            regexes: Regexes::None,
            regex_owners: Vec::new(),
        };
        // The same pattern often stands in many places.
        let mut globs: HashMap<&str, usize> = HashMap::new();
        let mut regexes: HashMap<&str, usize> = HashMap::new();
        let mut compiled: Vec<&Regex> = Vec::new();
        for (owner, pattern) in patterns {
            match pattern.matcher() {
                Matcher::Any => index.any.insert(owner),
                Matcher::Exact => index.exact.entry(pattern.as_str().into()).or_default().push(owner),
                Matcher::Glob(glob) => {
                    let at = *globs.entry(pattern.as_str()).or_insert_with(|| index.add_glob(glob));
                    index.globs[at].1.push(owner);
                }
                Matcher::Regex(regex) | Matcher::LargeRegex(regex) => {
                    let at = *regexes.entry(pattern.as_str()).or_insert_with(|| {
                        compiled.push(regex);
                        index.regex_owners.push(Vec::new());
                        compiled.len() - 1
                    });
                    index.regex_owners[at].push(owner);
                }
            }
        }
        index.regexes = combine(&compiled);
        index
    }

    fn add_glob(&mut self, glob: &Glob) -> usize {
        let at = self.globs.len();
        match (glob.prefix(), glob.suffix()) {
            ("", "") => self.loose.push(at),
            ("", suffix) => self.by_suffix.add(suffix, at),
            (prefix, _) => self.by_prefix.add(prefix, at),
        }
        self.globs.push((glob.clone(), Vec::new()));
        at
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
                self.try_globs(self.by_prefix.globs.get(prefix), value, hits);
            }
        }
        for length in &self.by_suffix.lengths {
            if let Some(start) = bytes.len().checked_sub(*length) {
                self.try_globs(self.by_suffix.globs.get(&bytes[start..]), value, hits);
            }
        }
        self.try_globs(Some(&self.loose), value, hits);
        let mut matched =
            |regex: usize| self.regex_owners[regex].iter().for_each(|owner| hits.insert(*owner));
        match &self.regexes {
            Regexes::None => {}
            Regexes::Set(set) => set.matches(value).into_iter().for_each(&mut matched),
            Regexes::Each(regexes) => {
                let matching = regexes.iter().enumerate().filter(|(_, regex)| regex.is_match(value));
                matching.for_each(|(i, _)| matched(i));
            }
        }
    }

    fn try_globs(&self, globs: Option<&Vec<usize>>, value: &str, hits: &mut Bits) {
        for (glob, owners) in globs.into_iter().flatten().map(|at| &self.globs[*at]) {
            if glob.matches(value) {
                owners.iter().for_each(|owner| hits.insert(*owner));
            }
        }
    }
}

fn combine(regexes: &[&Regex]) -> Regexes {
    match regexes {
        [] => Regexes::None,
        // A set of one is slower than the one.
        [regex] => Regexes::Each(vec![(*regex).clone()]),
        regexes => {
            let set = RegexSetBuilder::new(regexes.iter().map(|regex| regex.as_str()))
                .size_limit(SET_SIZE_LIMIT)
                .dfa_size_limit(SET_SIZE_LIMIT)
                .build();
            set.map_or_else(
                |_| Regexes::Each(regexes.iter().map(|regex| (*regex).clone()).collect()),
                Regexes::Set,
            )
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
            texts in prop::collection::vec("[ab*\n]{0,5}|\\^[ab|.*]{0,4}\\$", 0..12),
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
