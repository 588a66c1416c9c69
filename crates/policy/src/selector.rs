//! Label selectors: label keys and the patterns that their values must match.

use serde::Serialize;
use std::fmt;

use crate::fault::Faults;
use crate::limits;
use crate::one_line::OneLine;
use crate::pattern::{Matcher, Pattern};
use crate::spec::{Labels, SelectorSpec};

/// A compiled label selector.
///
/// Without keys it selects nothing; `{"*": ["*"]}` selects everything, whatever other keys there are. Else
/// every key must be among the labels, with a value that one of its patterns matches; the pattern `*` matches
/// any value, and no patterns match none. Keys are literal.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    everything: bool,
    keys: Vec<KeyPatterns>,
}

#[derive(Clone, Debug)]
pub(crate) struct KeyPatterns {
    pub(crate) key: Box<str>,
    pub(crate) patterns: Vec<Pattern>,
}

/// What to make of a pattern that cannot be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPattern {
    /// It matches nothing, so that nothing is allowed by it.
    MatchesNothing,
    /// It matches every value, so that what it should have denied stays denied.
    MatchesEverything,
}

/// A label and the pattern that selected it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelMatch {
    /// The label's key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The pattern that matches the value.
    pub pattern: String,
}

impl fmt::Display for LabelMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} matches {}", OneLine(&self.key), OneLine(&self.value), OneLine(&self.pattern))
    }
}

impl Selector {
    /// Compiles a selector at `path`. Patterns that cannot be compiled go into `faults`, and what
    /// is left is the selector without them.
    pub fn read(spec: &SelectorSpec, path: &str, faults: &mut Faults) -> Self {
        let mut keys = Vec::with_capacity(spec.len());
        for (key, values) in spec.iter().take(limits::entries(spec.len(), path, faults)) {
            let path = format!("{path}[{key:?}]");
            let mut patterns = Vec::with_capacity(values.len());
            for (i, value) in values.iter().enumerate().take(limits::entries(values.len(), &path, faults)) {
                patterns.extend(Pattern::read(value, format_args!("{path}[{i}]"), faults));
            }
            keys.push(KeyPatterns { key: key.as_str().into(), patterns });
        }
        Self { everything: is_everything(spec), keys }
    }

    /// Compiles a selector whose values come from a user's traits.
    pub(crate) fn expanded(spec: &SelectorSpec, bad: BadPattern) -> Self {
        // Traits are bounded like what people write in a role: each value is as good as one of its patterns.
        let mut faults = Faults::new();
        let mut keys = Vec::with_capacity(spec.len());
        for (key, values) in spec {
            let mut patterns = Vec::with_capacity(values.len());
            for value in values {
                match (Pattern::read(value, "", &mut faults), bad) {
                    (Some(pattern), _) => patterns.push(pattern),
                    (None, BadPattern::MatchesNothing) => {}
                    (None, BadPattern::MatchesEverything) => patterns.extend(Pattern::new("*")),
                }
            }
            keys.push(KeyPatterns { key: key.as_str().into(), patterns });
        }
        Self { everything: is_everything(spec), keys }
    }

    /// The selector of everything.
    pub(crate) fn everything() -> Self {
        Self { everything: true, keys: Vec::new() }
    }

    /// Whether the selector selects a target with these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        if self.everything {
            return true;
        }
        !self.keys.is_empty()
            && self.keys.iter().all(|key| {
                labels.get(&*key.key).is_some_and(|value| matching_pattern(&key.patterns, value).is_some())
            })
    }

    /// The labels that it selects by; empty where it selects everything, `None` where it does not select.
    pub fn explain(&self, labels: &Labels) -> Option<Vec<LabelMatch>> {
        if self.everything {
            return Some(Vec::new());
        }
        if self.keys.is_empty() {
            return None;
        }
        let matched = |key: &KeyPatterns| {
            let value = labels.get(&*key.key)?;
            let pattern = matching_pattern(&key.patterns, value)?;
            Some(LabelMatch { key: key.key.to_string(), value: value.clone(), pattern: pattern.to_string() })
        };
        self.keys.iter().map(matched).collect()
    }

    /// Whether it selects everything, even what has no labels.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    pub(crate) fn keys(&self) -> &[KeyPatterns] {
        &self.keys
    }
}

/// The first of the patterns that matches a label's value. Unlike in other places, a lone `*` also matches
/// values with line ends.
fn matching_pattern<'a>(patterns: &'a [Pattern], value: &str) -> Option<&'a Pattern> {
    patterns.iter().find(|pattern| matches!(pattern.matcher(), Matcher::Any) || pattern.matches(value))
}

pub(crate) fn is_everything(spec: &SelectorSpec) -> bool {
    spec.get("*").is_some_and(|values| matches!(values.as_slice(), [value] if value == "*"))
}

/// A key `*` looks like "any key", which it means only together with the value `*`: anything else
/// is a fault in every selector.
pub(crate) fn check_wildcard_key(spec: &SelectorSpec, path: &str, faults: &mut Faults) {
    if spec.contains_key("*") && !is_everything(spec) {
        faults.add(
            format_args!("{path}[\"*\"]"),
            "a key * needs exactly the value [\"*\"], which selects everything; name the label instead",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(spec: &[(&str, &[&str])]) -> Selector {
        let spec = spec
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.iter().map(|s| (*s).to_owned()).collect()))
            .collect();
        Selector::read(&spec, "s", &mut Faults::new())
    }

    fn labels(labels: &[(&str, &str)]) -> Labels {
        labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn explains_with_the_pattern_that_matched() {
        let selector = selector(&[("env", &["dev", "pr*", "*"])]);
        let matches = selector.explain(&labels(&[("env", "prod")])).expect("selects");
        assert_eq!(matches.iter().map(ToString::to_string).collect::<Vec<_>>(), ["env=prod matches pr*"]);
    }

    #[test]
    fn a_star_among_the_values_matches_line_ends_too() {
        let target = labels(&[("note", "a\nb")]);
        assert!(selector(&[("note", &["*"])]).matches(&target));
        assert!(!selector(&[("note", &["a*"])]).matches(&target));
    }

    #[test]
    fn a_key_without_values_matches_nothing() {
        assert!(!selector(&[("env", &[])]).matches(&labels(&[("env", "")])));
    }

    #[test]
    fn faults_name_key_and_position() {
        let spec = SelectorSpec::from([("env".to_owned(), vec!["a".to_owned(), "^($".to_owned()])]);
        let mut faults = Faults::new();
        Selector::read(&spec, "allow.dbLabels", &mut faults);
        assert_eq!(faults.into_vec()[0].path, "allow.dbLabels[\"env\"][1]");
    }
}
