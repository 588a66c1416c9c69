//! SELECT: columns, tables with joins, conditions and an order. No subqueries, no sets, no groups.

use super::lexer::Token;
use super::parser::Parser;
use super::{Comparison, Expression, From, Select};
use crate::redshift::error::SqlResult;

/// What may stand without parentheses.
const CONSTANT_CALLS: [&str; 5] = ["current_user", "session_user", "user", "current_user_id", "sysdate"];

impl Parser<'_> {
    pub(super) fn select(&mut self) -> SqlResult<Select> {
        let _ = self.take("distinct");
        let columns = if self.take_sign("*") { None } else { Some(self.list(Self::column)?) };
        let mut filters = Vec::new();
        let mut from = Vec::new();
        if self.take("from") {
            from.push(self.table_item()?);
            loop {
                if self.take_sign(",") {
                    from.push(self.table_item()?);
                } else if self.take("join") || self.take_all(&["inner", "join"]) {
                    from.push(self.table_item()?);
                    self.expect("on")?;
                    filters.push(self.expression()?);
                } else {
                    break;
                }
            }
        }
        if self.take("where") {
            filters.push(self.expression()?);
        }
        let order = if self.take_all(&["order", "by"]) { self.list(Self::order)? } else { Vec::new() };
        let limit = if self.take("limit") { Some(self.number()? as usize) } else { None };
        let filter = filters.into_iter().reduce(|a, b| Expression::And(Box::new(a), Box::new(b)));
        Ok(Select { columns, from, filter, order, limit })
    }

    fn column(&mut self) -> SqlResult<(Expression, Option<String>)> {
        let value = self.expression()?;
        let alias = if self.take("as") { Some(self.role_name()?) } else { None };
        Ok((value, alias))
    }

    fn table_item(&mut self) -> SqlResult<From> {
        let (schema, name) = self.qualified()?;
        let name = match schema.as_deref() {
            None | Some("pg_catalog") => name,
            Some(schema) => format!("{schema}.{name}"),
        };
        const NEXT: [&str; 7] = ["where", "order", "limit", "join", "inner", "on", "left"];
        let named = self.take("as")
            || matches!(self.peek(), Some(Token::Word(word)) if !NEXT.contains(&word.as_str()));
        let alias = if named { self.role_name()? } else { name.clone() };
        Ok(From { name, alias })
    }

    fn order(&mut self) -> SqlResult<(Expression, bool)> {
        let value = self.expression()?;
        let descending = self.take("desc");
        let _ = !descending && self.take("asc");
        Ok((value, descending))
    }

    pub(super) fn expression(&mut self) -> SqlResult<Expression> {
        let mut left = self.conjunction()?;
        while self.take("or") {
            left = Expression::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> SqlResult<Expression> {
        let mut left = self.condition()?;
        while self.take("and") {
            left = Expression::And(Box::new(left), Box::new(self.condition()?));
        }
        Ok(left)
    }

    fn condition(&mut self) -> SqlResult<Expression> {
        if self.take("not") {
            return Ok(Expression::Not(Box::new(self.condition()?)));
        }
        let left = self.value()?;
        let signs = [
            ("=", Comparison::Equal),
            ("<>", Comparison::Unequal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        for (sign, comparison) in signs {
            if self.take_sign(sign) {
                let right = self.value()?;
                return Ok(Expression::Compare(Box::new(left), comparison, Box::new(right)));
            }
        }
        if self.take("is") {
            let not = self.take("not");
            self.expect("null")?;
            let is_null = Expression::IsNull(Box::new(left));
            return Ok(if not { Expression::Not(Box::new(is_null)) } else { is_null });
        }
        let not = self.take_all(&["not", "in"]);
        if not || self.take("in") {
            self.sign("(")?;
            let values = self.list(Self::value)?;
            self.sign(")")?;
            let is_in = Expression::In(Box::new(left), values);
            return Ok(if not { Expression::Not(Box::new(is_in)) } else { is_in });
        }
        Ok(left)
    }

    /// A value, with or without a cast, which changes nothing here.
    fn value(&mut self) -> SqlResult<Expression> {
        let value = self.plain_value()?;
        while self.take_sign("::") {
            while matches!(self.peek(), Some(Token::Word(word)) if is_type(word)) {
                self.next();
            }
            if self.take_sign("(") {
                self.number()?;
                self.sign(")")?;
            }
        }
        Ok(value)
    }

    fn plain_value(&mut self) -> SqlResult<Expression> {
        if self.take_sign("(") {
            let inner = self.expression()?;
            self.sign(")")?;
            return Ok(inner);
        }
        match self.next() {
            Some(Token::Text(text)) => Ok(Expression::Text(text)),
            Some(Token::Number(number)) => Ok(Expression::Number(number)),
            Some(Token::Word(word)) if word == "true" || word == "false" => {
                Ok(Expression::Bool(word == "true"))
            }
            Some(Token::Word(word)) if word == "null" => Ok(Expression::Null),
            Some(Token::Word(word)) if CONSTANT_CALLS.contains(&word.as_str()) => {
                Ok(Expression::Call(word, Vec::new()))
            }
            Some(Token::Word(_) | Token::Quoted(_)) => {
                self.back_to(self.position() - 1);
                let (qualifier, name) = self.qualified()?;
                if self.take_sign("(") { self.call(name) } else { Ok(Expression::Column(qualifier, name)) }
            }
            _ => Err(self.wrong_before()),
        }
    }

    fn call(&mut self, name: String) -> SqlResult<Expression> {
        if name == "count" && self.take_sign("*") {
            self.sign(")")?;
            return Ok(Expression::CountAll);
        }
        if self.take_sign(")") {
            return Ok(Expression::Call(name, Vec::new()));
        }
        let arguments = self.list(Self::value)?;
        self.sign(")")?;
        Ok(Expression::Call(name, arguments))
    }
}

fn is_type(word: &str) -> bool {
    const TYPES: [&str; 12] = [
        "text",
        "varchar",
        "character",
        "varying",
        "char",
        "int",
        "integer",
        "bigint",
        "boolean",
        "name",
        "oid",
        "smallint",
    ];
    TYPES.contains(&word)
}
