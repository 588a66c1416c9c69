//! Text to tokens, as PostgreSQL 8.0 reads it: a backslash escapes in every string.

use crate::redshift::error::{SqlError, SqlResult};

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A word without quotes, folded to lower case.
    Word(String),
    /// An identifier in quotes, as written.
    Quoted(String),
    /// A string.
    Text(String),
    /// A number.
    Number(i64),
    /// Anything else: one character, or `::`, `<>`, `!=`, `<=`, `>=`.
    Sign(&'static str),
}

impl Token {
    /// How an error names it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Quoted(text) | Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Sign(sign) => (*sign).to_owned(),
        }
    }
}

const SIGNS: [&str; 16] =
    ["::", "<>", "!=", "<=", ">=", "(", ")", ",", ";", ".", "=", "*", "<", ">", "[", "]"];

/// The tokens of a text.
///
/// # Errors
/// 42601 for what is no token, such as `$$` and the body of a parameter.
pub(crate) fn tokens(text: &str) -> SqlResult<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            return Ok(tokens);
        };
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").ok_or_else(|| SqlError::syntax("/*"))?.1;
        } else if first == '\'' {
            let (value, after) = string(&rest[1..])?;
            tokens.push(Token::Text(value));
            rest = after;
        } else if first == '"' {
            let (value, after) = quoted(&rest[1..])?;
            tokens.push(Token::Quoted(value));
            rest = after;
        } else if first.is_ascii_digit()
            || (first == '-' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            let end = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| end + 1);
            let number = rest[..end].parse().map_err(|_| SqlError::syntax(&rest[..end]))?;
            tokens.push(Token::Number(number));
            rest = &rest[end..];
        } else if first.is_alphabetic() || first == '_' {
            let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
            if rest[end..].starts_with('\'') && end == 1 {
                // E'…', B'…' and the like are younger than this server.
                return Err(SqlError::syntax(&rest[end..]));
            }
            tokens.push(Token::Word(rest[..end].to_lowercase()));
            rest = &rest[end..];
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            return Err(SqlError::syntax(&first.to_string()));
        }
    }
}

/// The string that begins after its quote, and what follows it.
fn string(text: &str) -> SqlResult<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '\'' if text[at + 1..].starts_with('\'') => {
                chars.next();
                value.push('\'');
            }
            '\'' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, other)) => value.push(other),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err(SqlError::new("42601", "unterminated quoted string"))
}

fn quoted(text: &str) -> SqlResult<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        if char != '"' {
            value.push(char);
        } else if text[at + 1..].starts_with('"') {
            chars.next();
            value.push('"');
        } else if value.is_empty() {
            return Err(SqlError::new("42601", "zero-length delimited identifier"));
        } else {
            return Ok((value, &text[at + 1..]));
        }
    }
    Err(SqlError::new("42601", "unterminated quoted identifier"))
}
