//! Patterns of values: globs, and regular expressions in `^…$`.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// A pattern.
///
/// Text that begins with `^` and ends with `$` is a regular expression, taken as it is: `^a|b$` means "begins
/// with a, or ends with b". Everything else is a glob for the whole value, in which `*` stands for any run of
/// characters but line ends, and every other character for itself.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
pub(crate) enum Matcher {
    /// A glob without a `*`.
    Exact,
    /// The glob `*`.
    Any,
    /// Any other glob.
    Glob(Glob),
    /// A regular expression.
    Regex(Regex),
}

/// Why a pattern cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} is not a regular expression: {why}")]
pub struct PatternError {
    text: String,
    why: String,
}

/// The size up to which one regular expression may grow when it is compiled.
///
/// Matching is linear in the value's length whatever the expression is; this bounds the factor and the memory.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// A regular expression that is malformed, uses look-around or back-references, or is too large. Globs
    /// never fail.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let matcher = if text.starts_with('^') && text.ends_with('$') {
            let regex = compile_regex(text).map_err(|why| PatternError { text: text.to_owned(), why })?;
            Matcher::Regex(regex)
        } else if text == "*" {
            Matcher::Any
        } else if text.contains('*') {
            Matcher::Glob(Glob::new(text))
        } else {
            Matcher::Exact
        };
        Ok(Self { text: text.into(), matcher })
    }

    /// Whether the pattern matches the value.
    pub fn matches(&self, value: &str) -> bool {
        match &self.matcher {
            Matcher::Exact => *self.text == *value,
            Matcher::Any => !value.contains('\n'),
            Matcher::Glob(glob) => glob.matches(value),
            Matcher::Regex(regex) => regex.is_match(value),
        }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn matcher(&self) -> &Matcher {
        &self.matcher
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Compiles a regular expression within the size limit; the error is one line.
pub(crate) fn compile_regex(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(REGEX_SIZE_LIMIT).dfa_size_limit(REGEX_SIZE_LIMIT).build().map_err(
        |error| match error {
            regex::Error::Syntax(message) => last_line(&message),
            regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
            other => last_line(&other.to_string()),
        },
    )
}

/// Syntax errors come with a drawing of the expression; the cause is the last line.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// A glob with at least one `*`, cut at its stars.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    prefix: Box<str>,
    inner: Vec<Box<str>>,
    suffix: Box<str>,
}

impl Glob {
    fn new(text: &str) -> Self {
        let (prefix, rest) = text.split_once('*').unwrap_or((text, ""));
        let (inner, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
        Self {
            prefix: prefix.into(),
            inner: inner.split('*').filter(|part| !part.is_empty()).map(Box::from).collect(),
            suffix: suffix.into(),
        }
    }

    /// The literal text that every match begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The literal text that every match ends with.
    pub(crate) fn suffix(&self) -> &str {
        &self.suffix
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        let Some(rest) = value.strip_prefix(&*self.prefix) else { return false };
        let Some(mut rest) = rest.strip_suffix(&*self.suffix) else { return false };
        // The first place where a part fits is as good as any later one: what a later one would leave to the
        // star before it contains all that the first one leaves to the star after it.
        for part in &self.inner {
            let Some((gap, after)) = rest.split_once(&**part) else { return false };
            if gap.contains('\n') {
                return false;
            }
            rest = after;
        }
        !rest.contains('\n')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        Pattern::new(pattern).expect("compiles").matches(value)
    }

    #[test]
    fn prefix_and_suffix_of_a_glob_do_not_overlap() {
        assert!(!matches("ab*ba", "aba"));
        assert!(matches("ab*ba", "abba"));
    }

    #[test]
    fn anchors_alone_do_not_make_a_regular_expression() {
        assert!(matches("^prod", "^prod"));
        assert!(!matches("^prod", "prod"));
        assert!(matches("prod$", "prod$"));
    }

    #[test]
    fn stars_do_not_reach_across_lines() {
        assert!(!matches("*", "a\nb"));
        assert!(!matches("a*b*", "axb\n"));
        assert!(matches("a\n*", "a\nb"));
    }

    #[test]
    fn a_huge_regular_expression_is_refused() {
        let error = Pattern::new("^((a{1000}){1000}){1000}$").expect_err("too large");
        assert!(error.to_string().contains("too large"), "{error}");
    }

    #[test]
    fn errors_are_one_line_and_name_the_cause() {
        let error = Pattern::new("^(?!prod).*$").expect_err("look-around").to_string();
        assert!(error.contains("look-around") && !error.contains('\n'), "{error}");
    }

    proptest! {
        #[test]
        fn globs_mean_the_regular_expression_they_stand_for(
            glob in "[ab*\n]{0,8}",
            value in "[ab\n]{0,10}",
        ) {
            let parts: Vec<_> = glob.split('*').map(regex::escape).collect();
            let regex = Regex::new(&format!("^(?:{})$", parts.join(".*"))).expect("compiles");
            prop_assert_eq!(matches(&glob, &value), regex.is_match(&value));
        }
    }
}
