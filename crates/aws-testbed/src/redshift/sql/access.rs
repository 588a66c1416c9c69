//! GRANT and REVOKE.

use super::lexer::Token;
use super::parser::Parser;
use super::{Grantee, Privileges, Statement, Target};
use crate::redshift::error::SqlResult;

/// Rights on objects. There is no CONNECT.
const PRIVILEGES: [&str; 13] = [
    "select",
    "insert",
    "update",
    "delete",
    "references",
    "drop",
    "truncate",
    "alter",
    "usage",
    "create",
    "execute",
    "temp",
    "temporary",
];

/// Rights on the system itself, each with its words.
const SYSTEM: [&[&str]; 14] = [
    &["create", "user"],
    &["alter", "user"],
    &["drop", "user"],
    &["create", "role"],
    &["drop", "role"],
    &["grant", "role"],
    &["access", "system", "table"],
    &["access", "catalog"],
    &["cancel"],
    &["create", "schema"],
    &["drop", "schema"],
    &["create", "table"],
    &["vacuum"],
    &["analyze"],
];

impl Parser<'_> {
    pub(super) fn grant(&mut self) -> SqlResult<Statement> {
        if self.take("role") {
            let roles = self.roles()?;
            let to = self.grantees("to")?;
            let admin_option = self.option("admin")?;
            return Ok(Statement::GrantRole { roles, to, admin_option });
        }
        if let Some(privileges) = self.system_privileges() {
            return Ok(Statement::GrantSystem { privileges, to: self.grantees("to")? });
        }
        let privileges = self.privileges()?;
        let on = self.target()?;
        let to = self.grantees("to")?;
        let grant_option = self.option("grant")?;
        Ok(Statement::Grant { privileges, on, to, grant_option })
    }

    pub(super) fn revoke(&mut self) -> SqlResult<Statement> {
        if self.take_all(&["admin", "option", "for"]) {
            let _ = self.take("role");
            let roles = self.roles()?;
            return Ok(Statement::RevokeRole {
                roles,
                from: self.grantees("from")?,
                admin_option_only: true,
            });
        }
        if self.take("role") {
            let roles = self.roles()?;
            return Ok(Statement::RevokeRole {
                roles,
                from: self.grantees("from")?,
                admin_option_only: false,
            });
        }
        if let Some(privileges) = self.system_privileges() {
            return Ok(Statement::RevokeSystem { privileges, from: self.grantees("from")? });
        }
        let grant_option_only = self.take_all(&["grant", "option", "for"]);
        let privileges = self.privileges()?;
        let on = self.target()?;
        let from = self.grantees("from")?;
        // Roles know no CASCADE.
        if from.iter().all(|grantee| matches!(grantee, Grantee::User(_))) {
            let _ = self.take("cascade") || self.take("restrict");
        }
        Ok(Statement::Revoke { privileges, on, from, grant_option_only })
    }

    /// `a, ROLE b`, after the first ROLE.
    fn roles(&mut self) -> SqlResult<Vec<String>> {
        self.list(|parser| {
            let _ = parser.take("role");
            parser.role_name()
        })
    }

    fn grantees(&mut self, word: &str) -> SqlResult<Vec<Grantee>> {
        self.expect(word)?;
        self.list(|parser| {
            if parser.take("role") {
                Ok(Grantee::Role(parser.role_name()?))
            } else if parser.take("public") {
                Ok(Grantee::Public)
            } else {
                Ok(Grantee::User(parser.user_name()?))
            }
        })
    }

    fn option(&mut self, word: &str) -> SqlResult<bool> {
        let found = self.take("with");
        if found {
            self.expect(word)?;
            self.expect("option")?;
        }
        Ok(found)
    }

    /// Those, when they are followed by TO or FROM instead of by an object.
    fn system_privileges(&mut self) -> Option<Vec<String>> {
        let before = self.position();
        let mut all = Vec::new();
        loop {
            let words = SYSTEM.iter().find(|words| self.take_all(words))?;
            all.push(words.join(" ").to_uppercase());
            if !self.take_sign(",") {
                break;
            }
        }
        if matches!(self.peek(), Some(Token::Word(word)) if word == "to" || word == "from") {
            return Some(all);
        }
        self.back_to(before);
        None
    }

    fn privileges(&mut self) -> SqlResult<Privileges> {
        if self.take("all") {
            let _ = self.take("privileges");
            return Ok(Privileges::All);
        }
        let all = self.list(|parser| match parser.next() {
            Some(Token::Word(word)) if PRIVILEGES.contains(&word.as_str()) => {
                Ok(if word == "temporary" { "TEMP".to_owned() } else { word.to_uppercase() })
            }
            _ => Err(parser.wrong_before()),
        })?;
        Ok(Privileges::Some(all))
    }

    fn target(&mut self) -> SqlResult<Target> {
        if self.take_all(&["for", "tables", "in", "schema"]) {
            return Ok(Target::TablesForSchemas(self.list(Self::role_name)?));
        }
        self.expect("on")?;
        if self.take_all(&["all", "tables", "in", "schema"]) {
            return Ok(Target::AllTables(self.list(Self::role_name)?));
        }
        if self.take("schema") {
            return Ok(Target::Schemas(self.list(Self::role_name)?));
        }
        if self.take("database") {
            return Ok(Target::Databases(self.list(Self::role_name)?));
        }
        let procedures = self.take("procedure");
        if procedures || self.take("function") {
            let names = self.list(|parser| Ok((parser.qualified()?, parser.arguments()?)))?;
            return Ok(Target::Functions { procedures, names });
        }
        let _ = self.take("table");
        Ok(Target::Tables(self.list(Self::qualified)?))
    }

    /// The types in parentheses: `(integer, character varying)`.
    fn arguments(&mut self) -> SqlResult<Vec<String>> {
        self.sign("(")?;
        if self.take_sign(")") {
            return Ok(Vec::new());
        }
        let types = self.list(|parser| {
            let mut words = Vec::new();
            while let Some(Token::Word(word) | Token::Quoted(word)) = parser.peek() {
                words.push(word.clone());
                parser.next();
            }
            if words.is_empty() {
                return Err(parser.wrong());
            }
            let mut name = words.join(" ");
            if parser.take_sign("(") {
                let numbers = parser.list(Self::number)?.iter().map(u32::to_string).collect::<Vec<_>>();
                parser.sign(")")?;
                name.push_str(&format!("({})", numbers.join(",")));
            }
            Ok(name)
        })?;
        self.sign(")")?;
        Ok(types)
    }
}
