//! CREATE USER and ALTER USER.

use super::lexer::Token;
use super::parser::Parser;
use super::{Statement, UserOption};
use crate::redshift::error::SqlResult;

impl Parser<'_> {
    /// The password must be there, and only the identity elsewhere may come before it.
    pub(super) fn create_user(&mut self) -> SqlResult<Statement> {
        let name = self.user_name()?;
        let _ = self.take("with");
        let mut options = Vec::new();
        if self.take("externalid") {
            options.push(UserOption::ExternalId(self.user_name()?));
        }
        self.expect("password")?;
        options.push(self.password()?);
        while !self.is_at_end() {
            let option = self.user_option()?.ok_or_else(|| self.wrong())?;
            options.push(option);
        }
        Ok(Statement::CreateUser { name, options })
    }

    /// One option only. The manual writes commas between several and CREATE USER none: nobody knows which is right.
    pub(super) fn alter_user(&mut self) -> SqlResult<Statement> {
        let name = self.user_name()?;
        let _ = self.take("with");
        let options = if self.take("password") {
            let mut options = vec![self.password()?];
            if self.take_all(&["valid", "until"]) {
                options.push(UserOption::ValidUntil(self.text()?));
            }
            options
        } else if self.take("login") {
            self.expect("password")?;
            vec![UserOption::Login(true), self.password()?]
        } else if self.take("nologin") {
            vec![UserOption::Login(false)]
        } else if self.take("reset") {
            vec![self.reset()?]
        } else if self.take("set") {
            vec![self.config()?]
        } else {
            vec![self.user_option()?.ok_or_else(|| self.wrong())?]
        };
        Ok(Statement::AlterUser { name, options })
    }

    fn password(&mut self) -> SqlResult<UserOption> {
        if self.take("disable") {
            return Ok(UserOption::Password(None));
        }
        Ok(UserOption::Password(Some(self.text()?)))
    }

    fn user_option(&mut self) -> SqlResult<Option<UserOption>> {
        let flags = [
            ("createdb", UserOption::CreateDb(true)),
            ("nocreatedb", UserOption::CreateDb(false)),
            ("createuser", UserOption::CreateUser(true)),
            ("nocreateuser", UserOption::CreateUser(false)),
        ];
        for (word, option) in flags {
            if self.take(word) {
                return Ok(Some(option));
            }
        }
        if self.take_all(&["syslog", "access"]) {
            let unrestricted = self.take("unrestricted");
            if !unrestricted {
                self.expect("restricted")?;
            }
            return Ok(Some(UserOption::Syslog(unrestricted)));
        }
        if self.take_all(&["valid", "until"]) {
            return Ok(Some(UserOption::ValidUntil(self.text()?)));
        }
        if self.take_all(&["connection", "limit"]) {
            let limit = if self.take("unlimited") { None } else { Some(self.number()?) };
            return Ok(Some(UserOption::ConnectionLimit(limit)));
        }
        if self.take_all(&["session", "timeout"]) {
            return Ok(Some(UserOption::SessionTimeout(Some(self.number()?))));
        }
        if self.take("externalid") {
            return Ok(Some(UserOption::ExternalId(self.user_name()?)));
        }
        Ok(None)
    }

    fn reset(&mut self) -> SqlResult<UserOption> {
        if self.take_all(&["session", "timeout"]) {
            return Ok(UserOption::SessionTimeout(None));
        }
        // `all` is a reserved word: RESET takes the name of a parameter.
        Ok(UserOption::Config(self.role_name()?, None))
    }

    fn config(&mut self) -> SqlResult<UserOption> {
        let name = self.role_name()?;
        if !self.take("to") {
            self.sign("=")?;
        }
        let value = match self.next() {
            Some(Token::Word(text) | Token::Quoted(text) | Token::Text(text)) => text,
            Some(Token::Number(number)) => number.to_string(),
            _ => return Err(self.wrong_before()),
        };
        Ok(UserOption::Config(name, Some(value)))
    }
}
