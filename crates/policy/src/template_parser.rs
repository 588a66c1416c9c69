//! The language inside the braces of a trait template.

use std::str::Chars;

use crate::pattern::{RegexSize, compile_regex};
use crate::template_expression::{Expression, TemplateError};

/// Calls may nest this deep.
const MAX_DEPTH: usize = 8;

/// The traits that `internal` has.
const INTERNAL: [&str; 12] = [
    "logins",
    "windows_logins",
    "kubernetes_groups",
    "kubernetes_users",
    "db_names",
    "db_users",
    "db_roles",
    "aws_role_arns",
    "azure_identities",
    "gcp_service_accounts",
    "jwt",
    "github_orgs",
];

pub(crate) fn parse(inside: &str) -> Result<Expression, TemplateError> {
    let mut parser = Parser { rest: inside, whole: inside.trim() };
    let expression = parser.expression(0)?;
    match parser.peek() {
        None => Ok(expression),
        Some(_) => Err(parser.fault("has something left over after the expression")),
    }
}

struct Parser<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl<'a> Parser<'a> {
    fn fault(&self, what: impl std::fmt::Display) -> TemplateError {
        TemplateError(format!("{{{{{}}}}} {what}", self.whole))
    }

    /// The next character that is not white space, which it skips.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), TemplateError> {
        if self.take(wanted) { Ok(()) } else { Err(self.fault(format_args!("lacks a {wanted}"))) }
    }

    fn name(&mut self) -> Option<&'a str> {
        self.peek()?;
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_numeric()) {
            return None;
        }
        self.rest = rest;
        Some(name)
    }

    fn expression(&mut self, depth: usize) -> Result<Expression, TemplateError> {
        if depth > MAX_DEPTH {
            return Err(self.fault(format_args!("nests more than {MAX_DEPTH} calls")));
        }
        match self.peek() {
            None => return Err(self.fault("is empty: name a trait, such as external.team")),
            Some('"' | '`') => return self.string().map(Expression::Text),
            Some(_) => {}
        }
        let Some(namespace) = self.name() else {
            return Err(self.fault("is no trait: write internal.<name> or external.<name>"));
        };
        if self.take('[') {
            let name = self.string()?;
            self.expect(']')?;
            return self.variable(namespace, name);
        }
        if self.peek() == Some('(') {
            return Err(self.unknown_function(namespace));
        }
        if !self.take('.') {
            return Err(self.fault("names no trait: write internal.<name> or external.<name>"));
        }
        let Some(name) = self.name() else {
            return Err(self.fault("lacks a name after the dot"));
        };
        if self.take('(') {
            return self.call(namespace, name, depth);
        }
        if matches!((namespace, name), ("email", "local") | ("regexp", "replace")) {
            return Err(self.fault("lacks the arguments of the function"));
        }
        self.variable(namespace, name.to_owned())
    }

    fn variable(&mut self, namespace: &str, name: String) -> Result<Expression, TemplateError> {
        if matches!(self.peek(), Some('.' | '[' | '(')) {
            return Err(self.fault("has too many parts: a trait is internal.<name> or external.<name>"));
        }
        // Another namespace reads traits like `external`: Teleport does, and roles are brought over from it.
        if namespace == "internal" && !INTERNAL.contains(&name.as_str()) {
            return Ok(Expression::Nothing);
        }
        Ok(Expression::Trait(name))
    }

    fn call(&mut self, namespace: &str, name: &str, depth: usize) -> Result<Expression, TemplateError> {
        let call = match (namespace, name) {
            ("email", "local") => Expression::EmailLocal(Box::new(self.expression(depth + 1)?)),
            ("regexp", "replace") => {
                let input = Box::new(self.expression(depth + 1)?);
                self.expect(',')?;
                let regex = self.string()?;
                self.expect(',')?;
                let replacement = self.string()?;
                let regex = compile_regex(&regex, RegexSize::Medium).map_err(|why| {
                    self.fault(format_args!("has no regular expression in {regex:?}: {why}"))
                })?;
                Expression::Replace { input, regex, replacement }
            }
            _ => return Err(self.unknown_function(&format!("{namespace}.{name}"))),
        };
        self.expect(')')?;
        Ok(call)
    }

    fn unknown_function(&self, name: &str) -> TemplateError {
        self.fault(format_args!("calls {name}: the functions are email.local and regexp.replace"))
    }

    /// A string in double quotes with escapes, or in backquotes without.
    fn string(&mut self) -> Result<String, TemplateError> {
        if self.take('`') {
            let Some((text, rest)) = self.rest.split_once('`') else {
                return Err(self.fault("has a string without an end"));
            };
            self.rest = rest;
            return Ok(text.to_owned());
        }
        if !self.take('"') {
            return Err(self.fault("lacks a string in double quotes"));
        }
        let mut text = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next() {
                None => return Err(self.fault("has a string without an end")),
                Some('"') => break,
                Some('\\') => match escape(&mut chars) {
                    Some(c) => text.push(c),
                    None => {
                        return Err(self.fault(
                            "has an unknown escape in a string: write \\\\ for a backslash, or the string in backquotes",
                        ));
                    }
                },
                Some(c) => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Ok(text)
    }
}

/// The meaning of a character after a backslash, as in Go.
fn escape(chars: &mut Chars<'_>) -> Option<char> {
    let digits = match chars.next()? {
        c @ ('\\' | '"') => return Some(c),
        'a' => return Some('\u{7}'),
        'b' => return Some('\u{8}'),
        'f' => return Some('\u{c}'),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'v' => return Some('\u{b}'),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let hex =
        chars.as_str().get(..digits).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    *chars = chars.as_str()[digits..].chars();
    u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(inside: &str) -> String {
        parse(inside).expect_err(inside).to_string()
    }

    #[test]
    fn white_space_does_not_matter() {
        assert!(parse(" regexp.replace( email.local( external [ \"e\" ] ) , \"a\" , \"b\" ) ").is_ok());
    }

    #[test]
    fn strings_have_the_escapes_of_go() {
        for (inside, text) in [
            (r#""a\\b\"c""#, "a\\b\"c"),
            (r#""\t\x41\u00e9\U0001F600""#, "\tA\u{e9}\u{1f600}"),
            (r"`\d+`", r"\d+"),
        ] {
            assert!(matches!(parse(inside), Ok(Expression::Text(found)) if found == text), "{inside}");
        }
        for inside in [r#""\d""#, r#""\x4""#, r#""\u12é4""#, r#""\UFFFFFFFF""#, r#""\"#] {
            fault(inside);
        }
    }

    #[test]
    fn messages_say_what_to_write() {
        assert!(fault("frobnicate(external.a)").contains("email.local and regexp.replace"));
        assert!(fault("external").contains("external.<name>"));
        assert!(fault("regexp.replace(external.a, \"\\d\", \"\")").contains("\\\\"));
        assert!(fault("regexp.replace(external.a, \"(\", \"\")").contains("regular expression"));
        assert!(fault("email.local(").contains("is empty"));
    }

    #[test]
    fn what_is_left_over_is_a_fault() {
        for inside in ["external.a external.b", "external.a)", "\"a\" \"b\"", "external.a.b", "email.local"] {
            fault(inside);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{}external.a{}", "email.local(".repeat(20_000), ")".repeat(20_000));
        assert!(fault(&deep).contains("nests more than"));
    }
}
