//! Teleport's label expressions as CEL, where the two say exactly the same.
//!
//! Both read a missing label as `""` and a missing trait as no values. Carried over are labels, traits, texts, `==`,
//! `!=`, `&&`, `||`, `!`, parentheses, `contains`, `contains_any` and `set`.

use rolecall_policy::Expression;

/// How deep parentheses and calls may nest.
const MAX_DEPTH: usize = 24;

/// The expression in CEL.
///
/// # Errors
///
/// What in it has no exact equal.
pub(super) fn to_cel(source: &str) -> Result<String, String> {
    let mut parser = Parser { tokens: tokens(source)?, next: 0, depth: 0 };
    let (cel, kind) = parser.or()?;
    if let Some(token) = parser.peek() {
        return Err(format!("{token} is not understood there"));
    }
    if kind != Kind::Truth {
        return Err("it is not a truth value".to_owned());
    }
    Expression::compile(&cel).map_err(|faults| faults.join("; "))?;
    Ok(cel)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Truth,
    Text,
    List,
}

/// CEL and what it is.
type Typed = (String, Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A name with its dots.
    Name(String),
    Text(String),
    Sign(&'static str),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Sign(sign) => f.write_str(sign),
        }
    }
}

const SIGNS: [&str; 10] = ["==", "!=", "&&", "||", "!", "(", ")", "[", "]", ","];

fn tokens(source: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '`' {
            let (text, after) = text(rest, first)?;
            tokens.push(Token::Text(text));
            rest = after;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
                .unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            tokens.push(Token::Name(name.to_owned()));
            rest = after;
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            return Err(format!("{first:?} is not understood"));
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// A text in quotes, and what comes after it.
fn text(source: &str, quote: char) -> Result<(String, &str), String> {
    let mut text = String::new();
    let mut characters = source.char_indices().skip(1);
    while let Some((index, c)) = characters.next() {
        match c {
            c if c == quote => return Ok((text, &source[index + 1..])),
            '\\' if quote == '"' => match characters.next() {
                Some((_, c @ ('"' | '\\'))) => text.push(c),
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                _ => return Err("an escape in a text is not understood".to_owned()),
            },
            c => text.push(c),
        }
    }
    Err("a text is not closed".to_owned())
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn accept(&mut self, sign: &'static str) -> bool {
        let found = self.peek() == Some(&Token::Sign(sign));
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), String> {
        if self.accept(sign) { Ok(()) } else { Err(format!("{sign} is missing")) }
    }

    fn or(&mut self) -> Result<Typed, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("it nests too deep".to_owned());
        }
        let joined = self.joined("||", |parser| parser.joined("&&", Self::comparison));
        self.depth -= 1;
        joined
    }

    fn joined(
        &mut self,
        sign: &'static str,
        part: fn(&mut Self) -> Result<Typed, String>,
    ) -> Result<Typed, String> {
        let first = part(self)?;
        if self.peek() != Some(&Token::Sign(sign)) {
            return Ok(first);
        }
        let mut parts = vec![truth(first)?];
        while self.accept(sign) {
            parts.push(truth(part(self)?)?);
        }
        // In parentheses, so that it can be used anywhere.
        Ok((format!("({})", parts.join(&format!(" {sign} "))), Kind::Truth))
    }

    fn comparison(&mut self) -> Result<Typed, String> {
        let (left, kind) = self.unary()?;
        let Some(sign) = ["==", "!="].into_iter().find(|sign| self.accept(sign)) else {
            return Ok((left, kind));
        };
        let (right, other) = self.unary()?;
        if kind != Kind::Text || other != Kind::Text {
            return Err(format!("{sign} compares what has no equal meaning here"));
        }
        Ok((format!("{left} {sign} {right}"), Kind::Truth))
    }

    fn unary(&mut self) -> Result<Typed, String> {
        let mut not = 0;
        while self.accept("!") {
            not += 1;
        }
        let (cel, kind) = self.primary()?;
        if not == 0 {
            return Ok((cel, kind));
        }
        let cel = truth((cel, kind))?;
        Ok(if not % 2 == 1 { (format!("!({cel})"), Kind::Truth) } else { (cel, Kind::Truth) })
    }

    fn primary(&mut self) -> Result<Typed, String> {
        if self.accept("(") {
            let (cel, kind) = self.or()?;
            self.expect(")")?;
            let cel = if kind == Kind::Truth && !cel.starts_with('(') { format!("({cel})") } else { cel };
            return Ok((cel, kind));
        }
        let token = self.peek().cloned().ok_or("it ends too early")?;
        self.next += 1;
        match token {
            Token::Text(text) => Ok((literal(&text), Kind::Text)),
            Token::Name(name) => self.named(&name),
            Token::Sign(sign) => Err(format!("{sign} is not understood there")),
        }
    }

    fn named(&mut self, name: &str) -> Result<Typed, String> {
        for (source, cel, kind) in
            [("labels", "labels", Kind::Text), ("user.spec.traits", "traits", Kind::List)]
        {
            if name == source && self.accept("[") {
                let Some(Token::Text(key)) = self.peek().cloned() else {
                    return Err(format!("{source}[...] has no text in it"));
                };
                self.next += 1;
                self.expect("]")?;
                return Ok((format!("{cel}[{}]", literal(&key)), kind));
            }
            if let Some(key) = name.strip_prefix(source).and_then(|rest| rest.strip_prefix('.'))
                && !key.is_empty()
                && !key.contains('.')
                && self.peek() != Some(&Token::Sign("("))
            {
                return Ok((format!("{cel}[{}]", literal(key)), kind));
            }
        }
        if !self.accept("(") {
            return Err(format!("{name} has no equal"));
        }
        let mut arguments = Vec::new();
        while !self.accept(")") {
            if !arguments.is_empty() {
                self.expect(",")?;
            }
            arguments.push(self.or()?);
        }
        match (name, arguments.as_slice()) {
            ("contains", [(list, Kind::List), (item, Kind::Text)]) => {
                Ok((format!("{item} in {list}"), Kind::Truth))
            }
            ("contains_any", [(list, Kind::List), (items, Kind::List)]) => {
                Ok((format!("{list}.exists(x, x in {items})"), Kind::Truth))
            }
            ("set", items) if items.iter().all(|(_, kind)| *kind == Kind::Text) => {
                let items: Vec<&str> = items.iter().map(|(cel, _)| cel.as_str()).collect();
                Ok((format!("[{}]", items.join(", ")), Kind::List))
            }
            _ => Err(format!("{name}(...) has no exact equal")),
        }
    }
}

fn truth((cel, kind): Typed) -> Result<String, String> {
    if kind == Kind::Truth { Ok(cel) } else { Err(format!("{cel} is not a truth value")) }
}

/// A text as CEL writes it, which is as JSON does.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_ones_are_carried_over() {
        for (theirs, ours) in [
            (r#"labels["env"] == "prod""#, r#"labels["env"] == "prod""#),
            (r#"labels.env != "prod""#, r#"labels["env"] != "prod""#),
            ("labels[`a\\b`] == \"\\\"\"", r#"labels["a\\b"] == "\"""#),
            (
                r#"labels["env"] == "staging" || labels["env"] == "dev" && !contains(user.spec.traits["groups"], "ext")"#,
                r#"(labels["env"] == "staging" || (labels["env"] == "dev" && !("ext" in traits["groups"])))"#,
            ),
            (
                r#"contains(user.spec.traits["allow-env"], labels["env"])"#,
                r#"labels["env"] in traits["allow-env"]"#,
            ),
            (
                r#"contains_any(user.spec.traits.teams, set("a", labels["team"]))"#,
                r#"traits["teams"].exists(x, x in ["a", labels["team"]])"#,
            ),
        ] {
            assert_eq!(to_cel(theirs).as_deref(), Ok(ours), "{theirs}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        for (theirs, why) in [
            (r#"regexp.match(labels["env"], "^prod")"#, "regexp.match(...) has no exact equal"),
            (r#"contains_all(user.spec.traits["a"], set("b"))"#, "contains_all(...) has no exact equal"),
            (r#"user.metadata.name == "alice""#, "user.metadata.name has no equal"),
            (r#"labels["env"] == user.spec.traits["env"]"#, "== compares what has no equal meaning here"),
            (
                r#"!(labels["a"] == "b") == (labels["c"] == "d")"#,
                "== compares what has no equal meaning here",
            ),
            (r#"labels["env"]"#, "it is not a truth value"),
            (r#"labels["env"] =="#, "it ends too early"),
            (r#"labels["env"] == "a" "b""#, "\"b\" is not understood there"),
            (r#"labels["env == "a""#, "a text is not closed"),
            (r#"labels["env" == "a""#, "] is missing"),
            (r#"labels["env"] < "b""#, "'<' is not understood"),
            ("", "it ends too early"),
            (&"(".repeat(1000), "it nests too deep"),
            (&"!".repeat(1000), "it ends too early"),
        ] {
            assert_eq!(to_cel(theirs), Err(why.to_owned()), "{theirs}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[labels\\[\\]\"`().,&|!= \\\\]{0,40}") {
            let _ = to_cel(&text);
        }
    }
}
