//! Fields of roles whose entries are trait templates.

use std::sync::Arc;

use crate::fault::Faults;
use crate::limits;
use crate::pattern::Pattern;
use crate::selector::{BadPattern, Selector, check_wildcard_key};
use crate::spec::{SelectorSpec, Traits};
use crate::template::{Template, TooLarge};

/// A list of templates, such as `dbRoles`.
#[derive(Debug, Default)]
pub(crate) struct TemplateList(Vec<Entry>);

/// An entry as written, with its template unless it is malformed.
#[derive(Debug)]
struct Entry {
    text: String,
    template: Option<Template>,
}

impl Entry {
    fn read(text: &str, path: impl std::fmt::Display, faults: &mut Faults) -> Self {
        let template = Template::parse(text).map_err(|error| faults.add(path, error)).ok();
        Self { text: text.to_owned(), template }
    }

    fn expand(&self, traits: &Traits) -> Result<Vec<String>, TooLarge> {
        self.template.as_ref().map_or(Ok(Vec::new()), |template| template.expand(traits))
    }
}

impl TemplateList {
    pub(crate) fn read(entries: &[String], path: &str, faults: &mut Faults) -> Self {
        let read = |(i, text): (usize, &String), faults: &mut Faults| {
            Entry::read(text, format_args!("{path}[{i}]"), faults)
        };
        let count = limits::entries(entries.len(), path, faults);
        Self(entries.iter().take(count).enumerate().map(|entry| read(entry, faults)).collect())
    }

    /// What each entry expands to: its position and its values.
    pub(crate) fn expand(
        &self,
        traits: &Traits,
    ) -> impl Iterator<Item = (usize, Result<Vec<String>, TooLarge>)> {
        self.0.iter().enumerate().map(|(i, entry)| (i, entry.expand(traits)))
    }

    /// All values, each once, in the order of the entries.
    pub(crate) fn values(&self, traits: &Traits) -> Vec<String> {
        let mut seen = std::collections::HashSet::new();
        let values = self.expand(traits).flat_map(|(_, values)| values.unwrap_or_default());
        values.filter(|value| seen.insert(value.clone())).collect()
    }

    /// The entry at a position, as written.
    pub(crate) fn text(&self, index: usize) -> &str {
        self.0.get(index).map_or("", |entry| &entry.text)
    }
}

/// A label selector whose keys and values are templates.
#[derive(Debug, Default)]
pub(crate) struct SelectorTemplate {
    keys: Vec<(Entry, Vec<Entry>)>,
    /// The selector itself where it is the same for every user.
    fixed: Option<Arc<Selector>>,
}

impl SelectorTemplate {
    pub(crate) fn read(spec: &SelectorSpec, path: &str, faults: &mut Faults) -> Self {
        check_wildcard_key(spec, path, faults);
        let mut keys = Vec::with_capacity(spec.len());
        for (key, values) in spec.iter().take(limits::entries(spec.len(), path, faults)) {
            let path = format!("{path}[{key:?}]");
            let key = Entry::read(key, &path, faults);
            keys.push((key, TemplateList::read(values, &path, faults).0));
        }
        let template = Self { keys, fixed: None };
        let fixed = if template.is_literal() && template.keys.len() == spec.len() {
            Some(Arc::new(Selector::read(spec, path, faults)))
        } else {
            template.check_patterns(path, faults);
            None
        };
        Self { fixed, ..template }
    }

    fn is_literal(&self) -> bool {
        let literal =
            |entry: &Entry| entry.template.as_ref().is_some_and(|template| template.literal().is_some());
        self.keys.iter().all(|(key, values)| literal(key) && values.iter().all(literal))
    }

    /// Patterns that do not depend on traits can be judged without them.
    fn check_patterns(&self, path: &str, faults: &mut Faults) {
        for (key, values) in &self.keys {
            for (i, value) in values.iter().enumerate() {
                let literal = value.template.as_ref().and_then(Template::literal);
                if let Some(literal) = literal {
                    Pattern::read(literal, format_args!("{path}[{:?}][{i}]", key.text), faults);
                }
            }
        }
    }

    /// Whether no labels are named, so that the selector was not written at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The selector with templates expanded: of a key's values the first, of a value all. Keys that become equal
    /// are merged.
    pub(crate) fn expand(&self, traits: &Traits) -> Result<SelectorSpec, TooLarge> {
        let mut spec = SelectorSpec::new();
        for (key, values) in &self.keys {
            let key = key.expand(traits)?.into_iter().next().unwrap_or_default();
            let patterns = spec.entry(key).or_default();
            let mut seen: std::collections::HashSet<String> = patterns.iter().cloned().collect();
            for value in values {
                let mut expanded = value.expand(traits)?;
                if expanded.is_empty() {
                    expanded.push(String::new());
                }
                patterns.extend(expanded.into_iter().filter(|pattern| seen.insert(pattern.clone())));
            }
        }
        Ok(spec)
    }

    /// The selector for a user with these traits, compiled.
    pub(crate) fn bind(&self, traits: &Traits, bad: BadPattern) -> Arc<Selector> {
        if let Some(fixed) = &self.fixed {
            return Arc::clone(fixed);
        }
        Arc::new(match (self.expand(traits), bad) {
            (Ok(spec), _) => Selector::expanded(&spec, bad),
            (Err(TooLarge), BadPattern::MatchesNothing) => Selector::default(),
            (Err(TooLarge), BadPattern::MatchesEverything) => Selector::everything(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(keys: &[(&str, &[&str])]) -> SelectorSpec {
        keys.iter().map(|(k, v)| ((*k).to_owned(), v.iter().map(|s| (*s).to_owned()).collect())).collect()
    }

    fn read(keys: &[(&str, &[&str])]) -> (SelectorTemplate, Vec<String>) {
        let mut faults = Faults::new();
        let template = SelectorTemplate::read(&spec(keys), "allow.dbLabels", &mut faults);
        (template, faults.into_vec().iter().map(|fault| fault.path.clone()).collect())
    }

    #[test]
    fn keys_that_become_equal_merge() {
        let (template, _) = read(&[("a", &["1"]), ("{{external.key}}", &["2", "1"])]);
        let traits = spec(&[("key", &["a", "b"])]);
        assert_eq!(template.expand(&traits), Ok(spec(&[("a", &["1", "2"])])));
    }

    #[test]
    fn faults_are_found_whether_or_not_there_are_templates() {
        assert_eq!(read(&[("a", &["^($"])]).1, ["allow.dbLabels[\"a\"][0]"]);
        assert_eq!(read(&[("a", &["{{external.x}}", "^($"])]).1, ["allow.dbLabels[\"a\"][1]"]);
        assert_eq!(read(&[("{{a", &["}}"])]).1, ["allow.dbLabels[\"{{a\"]", "allow.dbLabels[\"{{a\"][0]"]);
        assert_eq!(read(&[("*", &["a"])]).1, ["allow.dbLabels[\"*\"]"]);
    }

    #[test]
    fn what_traits_spoil_is_closed_on_either_side() {
        let (template, faults) = read(&[("a", &["{{external.x}}"])]);
        assert!(faults.is_empty());
        let labels = [("a".to_owned(), "b".to_owned())].into();
        let bad_pattern = spec(&[("x", &["^($"])]);
        assert!(!template.bind(&bad_pattern, BadPattern::MatchesNothing).matches(&labels));
        assert!(template.bind(&bad_pattern, BadPattern::MatchesEverything).matches(&labels));
    }
}
