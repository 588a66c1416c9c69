//! Patterns of values: globs, and regular expressions in `^…$`.

use std::fmt;

use memchr::memmem::Finder;
use regex::{Regex, RegexBuilder};

use crate::fault::Faults;
use crate::limits::{MAX_LARGE_REGEXES, MAX_REGEXES, MAX_TEXT, check_text};
use crate::regex_prefix::prefixes;

/// A pattern.
///
/// Text that begins with `^` and ends with `$` is a regular expression, taken as it is: `^a|b$` means "begins
/// with a, or ends with b". Everything else is a glob for the whole value, in which `*` matches any run of
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
    Regex(PatternRegex),
}

#[derive(Clone, Debug)]
pub(crate) struct PatternRegex {
    pub(crate) regex: Regex,
    /// What its matches begin with, where that is known.
    pub(crate) prefixes: Vec<Box<[u8]>>,
    /// It is one of those that are large when compiled.
    is_large: bool,
}

/// Why a pattern cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The text is not a regular expression of the `regex` crate, or one that is too large when compiled.
    #[error("{text} is not a regular expression: {why}")]
    Regex {
        /// The pattern.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The text is too long.
    #[error("is longer than {MAX_TEXT} bytes")]
    TooLong,
}

/// Bytes that a regular expression may take when it is compiled.
///
/// Matching is linear in the value's length whatever the expression is; this bounds the factor and the memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RegexSize {
    /// For nearly all.
    Small = 64 << 10,
    /// For expressions of which many can occur in one text.
    Medium = 256 << 10,
    /// For long repetitions of large classes, such as `\w{1,63}`.
    Large = 8 << 20,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// A regular expression that is malformed, uses look-around or back-references, or is too large; any text
    /// beyond a kilobyte.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        check_text(text).map_err(|_| PatternError::TooLong)?;
        let matcher = if text.starts_with('^') && text.ends_with('$') {
            let small = compile_regex(text, RegexSize::Small).map(|regex| (regex, false));
            let compiled =
                small.or_else(|_| compile_regex(text, RegexSize::Large).map(|regex| (regex, true)));
            let (regex, is_large) =
                compiled.map_err(|why| PatternError::Regex { text: text.to_owned(), why })?;
            Matcher::Regex(PatternRegex { regex, prefixes: prefixes(text), is_large })
        } else if text == "*" {
            Matcher::Any
        } else if text.contains('*') {
            Matcher::Glob(Glob::new(text))
        } else {
            Matcher::Exact
        };
        Ok(Self { text: text.into(), matcher })
    }

    /// Compiles a pattern at `path`. Faults are recorded, also where one object has too many regular
    /// expressions.
    pub(crate) fn read(text: &str, path: impl fmt::Display, faults: &mut Faults) -> Option<Self> {
        let pattern = match Self::new(text) {
            Ok(pattern) => pattern,
            Err(error) => {
                faults.add(path, error);
                return None;
            }
        };
        let admitted = match &pattern.matcher {
            Matcher::Regex(regex) if regex.is_large => faults.large_regexes.admit(MAX_LARGE_REGEXES),
            Matcher::Regex(_) => faults.regexes.admit(MAX_REGEXES),
            _ => true,
        };
        if !admitted {
            faults.add(
                path,
                "is one regular expression too many; small ones may be many more, so write [a-z_] in place of \\w",
            );
        }
        admitted.then_some(pattern)
    }

    /// Whether the pattern matches the value.
    pub fn matches(&self, value: &str) -> bool {
        match &self.matcher {
            Matcher::Exact => *self.text == *value,
            Matcher::Any => !value.contains('\n'),
            Matcher::Glob(glob) => glob.matches(value),
            Matcher::Regex(regex) => regex.regex.is_match(value),
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

/// Compiles a regular expression within a size; the error is one line.
pub(crate) fn compile_regex(text: &str, size: RegexSize) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(size as usize).build().map_err(|error| match error {
        regex::Error::Syntax(message) => last_line(&message),
        regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
        other => last_line(&other.to_string()),
    })
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
    inner: Vec<Finder<'static>>,
    suffix: Box<str>,
}

impl Glob {
    fn new(text: &str) -> Self {
        let (prefix, rest) = text.split_once('*').unwrap_or((text, ""));
        let (inner, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
        Self {
            prefix: prefix.into(),
            inner: inner
                .split('*')
                .filter(|part| !part.is_empty())
                .map(|part| Finder::new(part).into_owned())
                .collect(),
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
        // Bytes do for text: a literal that is found in UTF-8 is found between characters.
        let (prefix, suffix) = (self.prefix.as_bytes(), self.suffix.as_bytes());
        let value = value.as_bytes();
        let Some(end) = value.len().checked_sub(suffix.len()).filter(|end| *end >= prefix.len()) else {
            return false;
        };
        // Most globs have only one of the two, and comparing nothing is not free.
        if !prefix.is_empty() && value[..prefix.len()] != *prefix
            || !suffix.is_empty() && value[end..] != *suffix
        {
            return false;
        }
        let mut rest = &value[prefix.len()..end];
        let one_line = |run: &[u8]| memchr::memchr(b'\n', run).is_none();
        // The first place where a part fits is as good as any later one: what a later one would leave to the
        // star before it contains all that the first one leaves to the star after it.
        for part in &self.inner {
            let Some(at) = part.find(rest) else { return false };
            if !one_line(&rest[..at]) {
                return false;
            }
            rest = &rest[at + part.needle().len()..];
        }
        one_line(rest)
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
    fn an_object_has_only_so_many_large_expressions() {
        let mut faults = Faults::new();
        for i in 0..=MAX_LARGE_REGEXES {
            assert!(Pattern::read("^[a-z]{1,63}$", i, &mut faults).is_some(), "small ones are not counted");
            assert_eq!(Pattern::read("^\\w{1,63}$", i, &mut faults).is_some(), i < MAX_LARGE_REGEXES);
        }
        assert_eq!(faults.into_vec().len(), 1);
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
