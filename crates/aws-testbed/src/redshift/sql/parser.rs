//! Tokens to statements.

use super::lexer::{Token, tokens};
use super::{Qualified, Statement, Target};
use crate::redshift::error::{SqlError, SqlResult};
use crate::redshift::names;

/// The statements of a text, which may be none.
///
/// # Errors
/// 42601 for everything that is not among the statements of [`Statement`].
pub(crate) fn parse(text: &str) -> SqlResult<Vec<Statement>> {
    let tokens = tokens(text)?;
    let mut statements = Vec::new();
    for one in tokens.split(|token| *token == Token::Sign(";")) {
        if !one.is_empty() {
            let mut parser = Parser { tokens: one, at: 0 };
            let statement = parser.statement()?;
            parser.end()?;
            statements.push(statement);
        }
    }
    Ok(statements)
}

pub(super) struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn statement(&mut self) -> SqlResult<Statement> {
        let Some(Token::Word(first)) = self.next() else {
            return Err(self.wrong_before());
        };
        match first.as_str() {
            "begin" | "start" => self.begin(first == "start"),
            "commit" | "end" => self.transaction(Statement::Commit),
            "rollback" | "abort" => self.transaction(Statement::Rollback),
            "set" => self.set(),
            "show" => Ok(Statement::Show(self.words()?)),
            "lock" => self.lock(),
            "create" => self.create(),
            "alter" => self.alter(),
            "drop" => self.drop(),
            "grant" => self.grant(),
            "revoke" => self.revoke(),
            "select" => self.select().map(Statement::Select),
            _ => Err(self.wrong_before()),
        }
    }

    fn begin(&mut self, start: bool) -> SqlResult<Statement> {
        if start {
            self.expect("transaction")?;
        } else {
            let _ = self.take("work") || self.take("transaction");
        }
        if self.take("isolation") {
            self.expect("level")?;
            self.expect("serializable")?;
        }
        if self.take("read") && !self.take("write") {
            self.expect("only")?;
        }
        Ok(Statement::Begin)
    }

    fn transaction(&mut self, statement: Statement) -> SqlResult<Statement> {
        let _ = self.take("work") || self.take("transaction");
        Ok(statement)
    }

    fn set(&mut self) -> SqlResult<Statement> {
        let _ = self.take("session") || self.take("local");
        let Some(Token::Word(name)) = self.next() else {
            return Err(self.wrong_before());
        };
        if !self.take("to") {
            self.sign("=")?;
        }
        let value = self.list(|parser| match parser.next() {
            Some(Token::Word(text) | Token::Quoted(text) | Token::Text(text)) => Ok(text),
            Some(Token::Number(number)) => Ok(number.to_string()),
            _ => Err(parser.wrong_before()),
        })?;
        Ok(Statement::Set { name, value })
    }

    fn lock(&mut self) -> SqlResult<Statement> {
        let _ = self.take("table");
        let (schema, table) = self.qualified()?;
        Ok(Statement::Lock { schema, table })
    }

    fn create(&mut self) -> SqlResult<Statement> {
        if self.take("user") {
            return self.create_user();
        }
        self.expect("role")?;
        Ok(Statement::CreateRole { name: self.role_name()? })
    }

    fn alter(&mut self) -> SqlResult<Statement> {
        if self.take("user") {
            return self.alter_user();
        }
        let of = if self.take("table") {
            Some(Target::Tables(vec![self.qualified()?]))
        } else if self.take("schema") {
            Some(Target::Schemas(vec![self.role_name()?]))
        } else {
            None
        };
        if let Some(of) = of {
            self.expect("owner")?;
            self.expect("to")?;
            return Ok(Statement::SetOwner { of, owner: self.user_name()? });
        }
        self.expect("role")?;
        let name = self.role_name()?;
        self.expect("owner")?;
        self.expect("to")?;
        Ok(Statement::AlterRoleOwner { name, owner: self.user_name()? })
    }

    fn drop(&mut self) -> SqlResult<Statement> {
        if self.take("user") {
            let if_exists = self.take("if");
            if if_exists {
                self.expect("exists")?;
            }
            return Ok(Statement::DropUser { names: self.list(Self::user_name)?, if_exists });
        }
        self.expect("role")?;
        let name = self.role_name()?;
        let force = self.take("force");
        let _ = !force && self.take("restrict");
        Ok(Statement::DropRole { name, force })
    }

    /// The words that are left.
    fn words(&mut self) -> SqlResult<String> {
        let mut words = Vec::new();
        while let Some(token) = self.next() {
            match token {
                Token::Word(word) => words.push(word),
                _ => return Err(self.wrong_before()),
            }
        }
        if words.is_empty() { Err(self.wrong_before()) } else { Ok(words.join(" ")) }
    }

    /// The name of a user, whose case counts when it is quoted.
    pub(super) fn user_name(&mut self) -> SqlResult<String> {
        self.name(false)
    }

    /// The name of a role, a schema, a table and the like: folded, quoted or not.
    pub(super) fn role_name(&mut self) -> SqlResult<String> {
        self.name(true)
    }

    fn name(&mut self, folded: bool) -> SqlResult<String> {
        let name = match self.next() {
            Some(Token::Quoted(name)) if folded => name.to_lowercase(),
            Some(Token::Quoted(name)) => name,
            // Every catalog has a column of this name, although the word is reserved.
            Some(Token::Word(name)) if name == "oid" || !names::is_reserved(&name) => name,
            _ => return Err(self.wrong_before()),
        };
        names::check_length(&name)?;
        Ok(name)
    }

    /// A name, with a schema before it or not.
    pub(super) fn qualified(&mut self) -> SqlResult<Qualified> {
        let first = self.role_name()?;
        if self.take_sign(".") { Ok((Some(first), self.role_name()?)) } else { Ok((None, first)) }
    }

    /// One or more, with commas.
    pub(super) fn list<T>(&mut self, one: impl Fn(&mut Self) -> SqlResult<T>) -> SqlResult<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.take_sign(",") {
            all.push(one(self)?);
        }
        Ok(all)
    }

    pub(super) fn text(&mut self) -> SqlResult<String> {
        match self.next() {
            Some(Token::Text(text)) => Ok(text),
            _ => Err(self.wrong_before()),
        }
    }

    /// A number that is not negative.
    pub(super) fn number(&mut self) -> SqlResult<u32> {
        match self.next() {
            Some(Token::Number(number)) => number.try_into().map_err(|_| self.wrong_before()),
            _ => Err(self.wrong_before()),
        }
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Whether the next token is this word, which is then behind.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(next)) if next == word);
        self.at += usize::from(found);
        found
    }

    /// Whether the next tokens are these words, which are then behind.
    pub(super) fn take_all(&mut self, words: &[&str]) -> bool {
        let next = self.tokens.get(self.at..self.at + words.len()).unwrap_or_default();
        let found = !next.is_empty()
            && next
                .iter()
                .zip(words)
                .all(|(token, word)| matches!(token, Token::Word(found) if found == word));
        self.at += if found { words.len() } else { 0 };
        found
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, word: &str) -> SqlResult<()> {
        if self.take(word) { Ok(()) } else { Err(self.wrong()) }
    }

    pub(super) fn sign(&mut self, sign: &str) -> SqlResult<()> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.wrong()) }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    fn end(&self) -> SqlResult<()> {
        if self.is_at_end() { Ok(()) } else { Err(self.wrong()) }
    }

    /// The next token is none that may stand here.
    pub(super) fn wrong(&self) -> SqlError {
        match self.peek() {
            Some(token) => SqlError::syntax(&token.shown()),
            None => SqlError::new("42601", "syntax error at end of input"),
        }
    }

    /// The token before is none that may stand there.
    pub(super) fn wrong_before(&self) -> SqlError {
        match self.tokens.get(self.at.saturating_sub(1)) {
            Some(token) => SqlError::syntax(&token.shown()),
            None => SqlError::new("42601", "syntax error at end of input"),
        }
    }
}

impl Parser<'_> {
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn back_to(&mut self, position: usize) {
        self.at = position;
    }
}
