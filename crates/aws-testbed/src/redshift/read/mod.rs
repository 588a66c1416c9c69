//! Queries over the system's own tables and views, and a few functions.

mod eval;
mod objects;
mod privileges;
mod sessions;
mod tables;
mod users;

use super::catalog::Catalog;
use super::error::{SqlError, SqlResult};
use super::sql::{Expression, Select};
use super::state::{Session, State};
pub(super) use privileges::default_kind;
use tables::Table;
pub(super) use tables::Type;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
}

impl Value {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn id(id: u32) -> Self {
        Self::Int(i64::from(id))
    }
}

pub(super) type Row = Vec<Value>;

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) of: Type,
}

/// Who asks, and what there is to see.
pub(super) struct Reader<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) state: &'a State,
    pub(super) session: &'a Session,
    /// The settings of the session.
    pub(super) settings: &'a dyn Fn(&str) -> Option<String>,
}

/// What a query answers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    /// Sessions that it ended.
    pub(super) terminated: Vec<i32>,
}

impl Reader<'_> {
    fn user(&self) -> u32 {
        self.session.user
    }

    fn is_superuser(&self) -> bool {
        self.catalog.is_superuser(self.user())
    }

    /// ACCESS SYSTEM TABLE, as a superuser or by a role.
    fn sees_system_tables(&self) -> bool {
        self.catalog.may(self.user(), "ACCESS SYSTEM TABLE")
    }

    /// SYSLOG ACCESS UNRESTRICTED, or a superuser.
    fn sees_syslog(&self) -> bool {
        self.is_superuser()
            || self.catalog.users.get(&self.user()).is_some_and(|user| user.syslog_unrestricted)
    }

    /// # Errors
    /// What the server refuses.
    pub(super) fn answer(&self, select: &Select) -> SqlResult<Answer> {
        let tables = tables_of(select)?;
        for (table, _) in &tables {
            if table.superusers_only && !self.is_superuser() {
                return Err(SqlError::denied(format!("permission denied for relation {}", table.name)));
            }
        }
        let mut joined: Vec<Row> = vec![Vec::new()];
        for (table, _) in &tables {
            let rows = self.rows(table);
            joined = joined
                .iter()
                .flat_map(|left| rows.iter().map(|right| [left.as_slice(), right.as_slice()].concat()))
                .collect();
        }
        let evaluation = eval::Evaluation::new(self, &tables);
        let mut kept = Vec::new();
        for row in joined {
            let keep = match &select.filter {
                Some(filter) => evaluation.is_true(filter, &row)?,
                None => true,
            };
            if keep {
                kept.push(row);
            }
        }
        let mut keyed = Vec::new();
        for row in kept {
            let key = select
                .order
                .iter()
                .map(|(by, _)| evaluation.value(by, &row))
                .collect::<SqlResult<Vec<_>>>()?;
            keyed.push((key, row));
        }
        keyed.sort_by(|(a, _), (b, _)| {
            let pairs = a.iter().zip(b).zip(&select.order);
            pairs
                .map(|((a, b), (_, descending))| if *descending { b.cmp(a) } else { a.cmp(b) })
                .find(|order| order.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let mut rows: Vec<Row> = keyed.into_iter().map(|(_, row)| row).collect();
        rows.truncate(select.limit.unwrap_or(usize::MAX));
        let (columns, rows) = project(select, &tables, &evaluation, rows)?;
        Ok(Answer { columns, rows, terminated: evaluation.terminated() })
    }

    fn rows(&self, table: &Table) -> Vec<Row> {
        // What a test sets up sees everything.
        if !self.session.is_phantom && self.state.faults.blank.contains(table.name) {
            return Vec::new();
        }
        let mut rows = (table.rows)(self);
        for row in &mut rows {
            for (value, (_, of)) in row.iter_mut().zip(table.columns) {
                if let (Value::Text(text), Type::Char(width)) = (&mut *value, of) {
                    *text = padded(text, *width);
                }
            }
        }
        rows
    }
}

/// The columns that a query will have.
///
/// # Errors
/// When a table, a column or a function is not there.
pub(super) fn columns(select: &Select) -> SqlResult<Vec<Column>> {
    let tables = tables_of(select)?;
    let Some(columns) = &select.columns else {
        return Ok(all_columns(&tables));
    };
    columns
        .iter()
        .map(|(value, alias)| {
            let name = alias.clone().unwrap_or_else(|| name_of(value));
            Ok(Column { name, of: eval::type_of(value, &tables)? })
        })
        .collect()
}

/// The tables of a query, with what they are called in it.
fn tables_of(select: &Select) -> SqlResult<Vec<(&'static Table, String)>> {
    let mut tables = Vec::new();
    for from in &select.from {
        let table = tables::find(&from.name)
            .ok_or_else(|| SqlError::new("42P01", format!("relation \"{}\" does not exist", from.name)))?;
        tables.push((table, from.alias.clone()));
    }
    // What compute nodes know cannot be mixed with what only the leader knows.
    let on_compute_nodes = tables.iter().any(|(table, _)| !table.is_of_leader());
    let on_leader = tables.iter().any(|(table, _)| table.is_of_leader()) || eval::needs_leader(select);
    if on_compute_nodes && on_leader {
        return Err(SqlError::new(
            "0A000",
            "specified types or functions (one per INFO message) not supported on Redshift tables",
        ));
    }
    Ok(tables)
}

fn all_columns(tables: &[(&'static Table, String)]) -> Vec<Column> {
    let columns = tables.iter().flat_map(|(table, _)| table.columns);
    columns
        .filter(|(name, _)| *name != "oid")
        .map(|&(name, of)| Column { name: name.to_owned(), of })
        .collect()
}

fn project(
    select: &Select,
    tables: &[(&'static Table, String)],
    evaluation: &eval::Evaluation<'_>,
    rows: Vec<Row>,
) -> SqlResult<(Vec<Column>, Vec<Row>)> {
    let header = columns(select)?;
    let Some(columns) = &select.columns else {
        let names: Vec<_> = tables.iter().flat_map(|(table, _)| table.columns).collect();
        let keep = |row: Row| {
            row.into_iter()
                .zip(&names)
                .filter(|(_, (name, _))| *name != "oid")
                .map(|(value, _)| value)
                .collect()
        };
        return Ok((header, rows.into_iter().map(keep).collect()));
    };
    if columns.iter().any(|(value, _)| *value == Expression::CountAll) {
        let count = Value::Int(rows.len().try_into().unwrap_or(i64::MAX));
        return Ok((header, vec![vec![count; columns.len()]]));
    }
    let rows = rows
        .iter()
        .map(|row| columns.iter().map(|(value, _)| evaluation.value(value, row)).collect())
        .collect::<SqlResult<Vec<Row>>>()?;
    Ok((header, rows))
}

fn name_of(value: &Expression) -> String {
    match value {
        Expression::Column(_, name) | Expression::Call(name, _) => name.clone(),
        Expression::CountAll => "count".to_owned(),
        _ => "?column?".to_owned(),
    }
}

/// A text in a column of fixed width: cut off or padded.
fn padded(text: &str, width: usize) -> String {
    let mut end = text.len().min(width);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{:width$}", &text[..end])
}
