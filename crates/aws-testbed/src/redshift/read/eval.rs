//! Values of expressions.

use std::cell::RefCell;

use super::tables::{Table, Type};
use super::{Reader, Row, Value};
use crate::redshift::error::{SqlError, SqlResult};
use crate::redshift::sql::{Comparison, Expression, Select};

pub(crate) const VERSION: &str = "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 20041017 (Red Hat 3.4.2-6.fc3), Redshift 1.0.219674";

/// The functions, and whether only the leader has them.
const FUNCTIONS: [(&str, Type, bool); 22] = [
    ("version", Type::Text, true),
    ("current_user", Type::Name, false),
    ("session_user", Type::Name, false),
    ("user", Type::Name, false),
    ("current_user_id", Type::Int, false),
    ("current_database", Type::Name, false),
    ("current_schema", Type::Name, true),
    ("current_setting", Type::Text, true),
    ("pg_backend_pid", Type::Int, true),
    ("pg_terminate_backend", Type::Int, true),
    ("pg_cancel_backend", Type::Int, true),
    ("pg_get_userbyid", Type::Name, true),
    ("trim", Type::Text, false),
    ("btrim", Type::Text, false),
    ("rtrim", Type::Text, false),
    ("lower", Type::Text, false),
    ("upper", Type::Text, false),
    ("len", Type::Int, false),
    ("length", Type::Int, false),
    ("getdate", Type::Timestamp, false),
    ("sysdate", Type::Timestamp, false),
    ("now", Type::Timestamp, true),
];

pub(super) struct Evaluation<'a> {
    reader: &'a Reader<'a>,
    tables: &'a [(&'static Table, String)],
    terminated: RefCell<Vec<i32>>,
    cancelled: RefCell<Vec<i32>>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(reader: &'a Reader<'a>, tables: &'a [(&'static Table, String)]) -> Self {
        Self { reader, tables, terminated: RefCell::default(), cancelled: RefCell::default() }
    }

    pub(super) fn terminated(&self) -> Vec<i32> {
        self.terminated.take()
    }

    pub(super) fn cancelled(&self) -> Vec<i32> {
        self.cancelled.take()
    }

    /// Whether a condition holds. What is not known does not.
    pub(super) fn is_true(&self, condition: &Expression, row: &Row) -> SqlResult<bool> {
        Ok(self.value(condition, row)? == Value::Bool(true))
    }

    pub(super) fn value(&self, expression: &Expression, row: &Row) -> SqlResult<Value> {
        let bool = |value: Option<bool>| value.map_or(Value::Null, Value::Bool);
        Ok(match expression {
            Expression::Column(qualifier, name) => {
                let (at, _) = column(self.tables, qualifier.as_deref(), name)?;
                row.get(at).cloned().unwrap_or(Value::Null)
            }
            Expression::Text(text) => Value::text(text.as_str()),
            Expression::Number(number) => Value::Int(*number),
            Expression::Bool(value) => Value::Bool(*value),
            Expression::Null => Value::Null,
            Expression::CountAll => return Err(SqlError::new("0A000", "count(*) beside other columns")),
            Expression::Call(name, arguments) => {
                let arguments =
                    arguments.iter().map(|one| self.value(one, row)).collect::<SqlResult<Vec<_>>>()?;
                self.call(name, &arguments)?
            }
            Expression::Compare(left, comparison, right) => {
                bool(compare(&self.value(left, row)?, *comparison, &self.value(right, row)?))
            }
            Expression::In(left, list) => {
                let left = self.value(left, row)?;
                let mut found = false;
                for one in list {
                    found |= compare(&left, Comparison::Equal, &self.value(one, row)?) == Some(true);
                }
                bool((left != Value::Null).then_some(found))
            }
            Expression::IsNull(inner) => Value::Bool(self.value(inner, row)? == Value::Null),
            Expression::And(left, right) => {
                Value::Bool(self.is_true(left, row)? && self.is_true(right, row)?)
            }
            Expression::Or(left, right) => Value::Bool(self.is_true(left, row)? || self.is_true(right, row)?),
            Expression::Not(inner) => match self.value(inner, row)? {
                Value::Bool(value) => Value::Bool(!value),
                _ => Value::Null,
            },
        })
    }

    fn call(&self, name: &str, arguments: &[Value]) -> SqlResult<Value> {
        let session = self.reader.session;
        let user_name = || Value::text(self.reader.catalog.user_name(session.user));
        let text = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            _ => String::new(),
        };
        Ok(match (name, arguments) {
            ("version", []) => Value::text(VERSION),
            ("current_user" | "session_user" | "user", []) => user_name(),
            ("current_user_id", []) => Value::id(session.user),
            ("current_database", []) => Value::text(session.database.as_str()),
            ("current_schema", []) => Value::text("public"),
            ("pg_backend_pid", []) => Value::Int(i64::from(session.process)),
            ("getdate" | "sysdate" | "now", []) => {
                Value::text(super::sessions::shown(self.reader.state.now()))
            }
            ("current_setting", [Value::Text(name)]) => match (self.reader.settings)(name) {
                Some(value) => Value::Text(value),
                None => {
                    return Err(SqlError::new(
                        "42704",
                        format!("unrecognized configuration parameter \"{name}\""),
                    ));
                }
            },
            ("pg_terminate_backend", [Value::Int(process)]) => self.signal(*process, &self.terminated)?,
            ("pg_cancel_backend", [Value::Int(process)]) => self.signal(*process, &self.cancelled)?,
            ("pg_get_userbyid", [Value::Int(id)]) => {
                Value::text(self.reader.catalog.user_name(u32::try_from(*id).unwrap_or_default()))
            }
            ("trim" | "btrim", [value]) => Value::text(text(value).trim_matches(' ')),
            ("rtrim", [value]) => Value::text(text(value).trim_end_matches(' ')),
            ("lower", [value]) => Value::Text(text(value).to_lowercase()),
            ("upper", [value]) => Value::Text(text(value).to_uppercase()),
            ("len" | "length", [value]) => {
                Value::Int(text(value).trim_end_matches(' ').chars().count().try_into().unwrap_or(i64::MAX))
            }
            _ => return Err(no_function(name)),
        })
    }

    /// One's own sessions, and as a superuser those of others.
    fn signal(&self, process: i64, signalled: &RefCell<Vec<i32>>) -> SqlResult<Value> {
        let reader = self.reader;
        let session = i32::try_from(process).ok().and_then(|process| reader.state.sessions.get(&process));
        let any = reader.is_superuser()
            || (reader.state.unknowns.terminate_with_system_superuser
                && reader
                    .catalog
                    .role("sys:superuser")
                    .is_some_and(|role| reader.catalog.roles_of(reader.user()).contains(&role.id)));
        match session {
            // Who may not does not learn whether it is there.
            None if any => Ok(Value::Int(0)),
            Some(session) if any || session.user == reader.user() => {
                signalled.borrow_mut().push(session.process);
                Ok(Value::Int(1))
            }
            _ => Err(SqlError::denied("must be superuser to terminate other server processes")),
        }
    }
}

/// Where a column is in a joined row, and its type.
fn column(
    tables: &[(&'static Table, String)],
    qualifier: Option<&str>,
    name: &str,
) -> SqlResult<(usize, Type)> {
    let mut at = 0;
    let mut found = None;
    for (table, alias) in tables {
        for (column, of) in table.columns {
            if *column == name && qualifier.is_none_or(|qualifier| qualifier == alias) {
                if found.is_some() {
                    return Err(SqlError::new("42702", format!("column reference \"{name}\" is ambiguous")));
                }
                found = Some((at, *of));
            }
            at += 1;
        }
    }
    found.ok_or_else(|| SqlError::new("42703", format!("column \"{name}\" does not exist")))
}

/// The type of an expression.
///
/// # Errors
/// When a column or a function is not there.
pub(super) fn type_of(expression: &Expression, tables: &[(&'static Table, String)]) -> SqlResult<Type> {
    Ok(match expression {
        Expression::Column(qualifier, name) => column(tables, qualifier.as_deref(), name)?.1,
        Expression::Text(_) | Expression::Null => Type::Text,
        Expression::Number(_) => Type::Int,
        Expression::CountAll => Type::BigInt,
        Expression::Call(name, _) => {
            FUNCTIONS.iter().find(|(known, ..)| known == name).ok_or_else(|| no_function(name))?.1
        }
        _ => Type::Bool,
    })
}

/// Whether a query has a function that only the leader has.
pub(super) fn needs_leader(select: &Select) -> bool {
    let columns = select.columns.iter().flatten().map(|(value, _)| value);
    columns.chain(&select.filter).chain(select.order.iter().map(|(value, _)| value)).any(has_leader_function)
}

fn has_leader_function(expression: &Expression) -> bool {
    match expression {
        Expression::Call(name, arguments) => {
            let known = FUNCTIONS.iter().any(|(known, _, leader)| known == name && *leader);
            known
                || name.starts_with("pg_")
                || name.starts_with("has_")
                || arguments.iter().any(has_leader_function)
        }
        Expression::Compare(left, _, right) | Expression::And(left, right) | Expression::Or(left, right) => {
            has_leader_function(left) || has_leader_function(right)
        }
        Expression::In(left, list) => has_leader_function(left) || list.iter().any(has_leader_function),
        Expression::IsNull(inner) | Expression::Not(inner) => has_leader_function(inner),
        _ => false,
    }
}

fn no_function(name: &str) -> SqlError {
    SqlError::new("42883", format!("function {name}() does not exist"))
}

/// None where one of them is not known.
fn compare(left: &Value, comparison: Comparison, right: &Value) -> Option<bool> {
    let order = match (left, right) {
        (Value::Null, _) | (_, Value::Null) => return None,
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (left, right) => plain(left).cmp(&plain(right)),
    };
    Some(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::Unequal => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}

/// As a text without padding, so that values of different types can be compared.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) => match text.as_str() {
            "true" => "t".to_owned(),
            "false" => "f".to_owned(),
            text => text.trim_end_matches(' ').to_owned(),
        },
    }
}
