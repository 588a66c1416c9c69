//! What is inside the braces of a trait template, and its evaluation.

use regex::Regex;

use crate::email;
use crate::spec::Traits;

/// What is inside the braces.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Text(String),
    Trait(String),
    /// `internal` with a name that it does not have: there is no value.
    Nothing,
    EmailLocal(Box<Self>),
    Replace {
        input: Box<Self>,
        regex: Regex,
        replacement: String,
    },
}

/// A template that is malformed: its author's fault, whatever the traits are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub(crate) String);

/// A value grew too large: only an expression that was written for that does so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value is longer than {MAX_REPLACED} bytes")]
pub struct TooLarge;

/// Bounds what `regexp.replace` reads and writes, whose cost and growth are more than linear.
const MAX_REPLACED: usize = 4096;

impl Expression {
    /// The values with these traits; one may occur several times.
    pub(crate) fn values(&self, traits: &Traits) -> Result<Vec<String>, TooLarge> {
        match self {
            Self::Text(text) => Ok(vec![text.clone()]),
            Self::Trait(name) => Ok(traits.get(name).cloned().unwrap_or_default()),
            Self::Nothing => Ok(Vec::new()),
            Self::EmailLocal(input) => {
                // One value that is not an address makes the entry invalid, rather than leaving it half expanded.
                let values = input.values(traits)?;
                Ok(values
                    .iter()
                    .map(|value| email::local_part(value))
                    .collect::<Option<_>>()
                    .unwrap_or_default())
            }
            Self::Replace { input, regex, replacement } => {
                let values = input.values(traits)?;
                values.iter().filter_map(|value| replace(regex, value, replacement).transpose()).collect()
            }
        }
    }
}

/// The value with every match replaced; `None` where nothing matches.
fn replace(regex: &Regex, value: &str, replacement: &str) -> Result<Option<String>, TooLarge> {
    if value.len() > MAX_REPLACED {
        return Err(TooLarge);
    }
    let references = replacement.matches('$').count();
    let mut result = String::new();
    let mut end = 0;
    let mut found = false;
    for captures in regex.captures_iter(value) {
        let Some(whole) = captures.get(0) else { continue };
        // A group lies within its match, which bounds what one expansion can add.
        let most = result.len() + whole.start() - end + replacement.len() + references * whole.len();
        if most > 2 * MAX_REPLACED {
            return Err(TooLarge);
        }
        result.push_str(&value[end..whole.start()]);
        captures.expand(replacement, &mut result);
        end = whole.end();
        found = true;
    }
    if !found {
        return Ok(None);
    }
    result.push_str(&value[end..]);
    if result.len() > MAX_REPLACED { Err(TooLarge) } else { Ok(Some(result)) }
}
