//! Trait templates in fields of roles, such as `team-{{external.team}}`.

use std::collections::HashSet;

use crate::limits::check_text;
use crate::spec::Traits;
use crate::template_expression::Expression;
pub use crate::template_expression::{TemplateError, TooLarge};
use crate::template_parser;

/// One entry of a templated field.
///
/// Either a literal, taken as it is, or text around exactly one `{{…}}`. Inside is a trait
/// (`internal.x`, `external.x`, `external["x"]`), a string, `email.local(…)` or
/// `regexp.replace(…, "expression", "replacement")`; it can be nested. There is one result per value of the
/// trait, and results that are empty are dropped.
#[derive(Clone, Debug)]
pub struct Template(Form);

#[derive(Clone, Debug)]
enum Form {
    Literal(String),
    Expression { prefix: String, expression: Expression, suffix: String },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// Braces that are not one pair of `{{` and `}}`, a variable that is not a trait, an unknown function or a wrong
    /// argument of one, a regular expression that cannot be compiled.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        check_text(text).map_err(TemplateError)?;
        let Some((prefix, inside, suffix)) = split_braces(text)? else {
            return Ok(Self(Form::Literal(text.to_owned())));
        };
        Ok(Self(Form::Expression {
            prefix: prefix.trim_start().to_owned(),
            expression: template_parser::parse(inside)?,
            suffix: suffix.trim_end().to_owned(),
        }))
    }

    /// The text, where it is the same for every user.
    pub fn literal(&self) -> Option<&str> {
        match &self.0 {
            Form::Literal(text) => Some(text),
            Form::Expression { .. } => None,
        }
    }

    /// What the template expands to with these traits: each value once, in the traits' order. None where a
    /// trait is missing or where a value is not an e-mail address.
    ///
    /// # Errors
    ///
    /// [`TooLarge`].
    pub fn expand(&self, traits: &Traits) -> Result<Vec<String>, TooLarge> {
        match &self.0 {
            Form::Literal(text) if text.is_empty() => Ok(Vec::new()),
            Form::Literal(text) => Ok(vec![text.clone()]),
            Form::Expression { prefix, expression, suffix } => {
                let mut seen = HashSet::new();
                let mut values = expression.values(traits)?;
                values.retain(|value| !value.is_empty() && seen.insert(value.clone()));
                Ok(values.into_iter().map(|value| format!("{prefix}{value}{suffix}")).collect())
            }
        }
    }
}

/// Splits text at its one pair of double braces; `None` where it has no double braces at all. Single braces
/// are ordinary characters of a literal, such as those in the regular expression `^a{2,3}$`.
pub(crate) fn split_braces(text: &str) -> Result<Option<(&str, &str, &str)>, TemplateError> {
    if !text.contains("{{") && !text.contains("}}") {
        return Ok(None);
    }
    let split = || {
        let (prefix, rest) = text.split_once("{{")?;
        let (inside, suffix) = rest.split_once("}}")?;
        let plain = |part: &str| !part.contains(['{', '}']);
        (plain(prefix) && plain(inside) && plain(suffix)).then_some((prefix, inside, suffix))
    };
    match split() {
        Some(parts) => Ok(Some(parts)),
        None => Err(TemplateError(format!(
            "{text:?} has unbalanced, nested or several braces: write one {{{{…}}}} without braces inside or around it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(values: &[(&str, &[&str])]) -> Traits {
        values.iter().map(|(k, v)| ((*k).to_owned(), v.iter().map(|s| (*s).to_owned()).collect())).collect()
    }

    fn expand(template: &str, values: &[(&str, &[&str])]) -> Vec<String> {
        Template::parse(template).expect("well-formed").expand(&traits(values)).expect("small")
    }

    #[test]
    fn one_result_per_value_each_once() {
        assert_eq!(expand("x-{{external.a}}", &[("a", &["1", "2", "1", ""])]), ["x-1", "x-2"]);
    }

    #[test]
    fn single_braces_are_text() {
        assert_eq!(expand("^a{2,3}$", &[]), ["^a{2,3}$"]);
        assert!(Template::parse("^a{2}{{external.a}}$").is_err());
    }

    #[test]
    fn internal_has_its_own_names_and_external_any() {
        let values: &[(&str, &[&str])] = &[("team", &["blue"]), ("db_roles", &["reader"])];
        assert!(expand("{{internal.team}}", values).is_empty());
        assert_eq!(expand("{{internal.db_roles}}", values), ["reader"]);
        assert_eq!(expand("{{external.team}}", values), ["blue"]);
    }

    #[test]
    fn one_bad_address_spoils_the_entry() {
        let template = "{{email.local(external.mail)}}";
        assert_eq!(expand(template, &[("mail", &["a@x.y", "B <b@x.y>"])]), ["a", "b"]);
        assert!(expand(template, &[("mail", &["a@x.y", "b"])]).is_empty());
    }

    #[test]
    fn replace_drops_values_that_do_not_match_and_replaces_every_match() {
        let template = "{{regexp.replace(external.a, \"o(.)\", \"0$1\")}}";
        assert_eq!(expand(template, &[("a", &["foobor", "bar"])]), ["f0ob0r"]);
    }

    #[test]
    fn growth_ends_in_an_error() {
        let doubling = (0..7).fold("external.a".to_owned(), |inner, _| {
            format!("regexp.replace({inner}, \"^.*$\", \"$0$0$0$0$0$0$0$0\")")
        });
        let template = Template::parse(&format!("{{{{{doubling}}}}}")).expect("well-formed");
        assert_eq!(template.expand(&traits(&[("a", &["x"])])), Err(TooLarge));
        assert_eq!(
            Template::parse("{{regexp.replace(external.a, \"x\", \"$0$0\")}}")
                .expect("well-formed")
                .expand(&traits(&[("a", &[&"x".repeat(1 << 20)])])),
            Err(TooLarge)
        );
    }
}
