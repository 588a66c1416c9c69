//! What the rows of the statement mean.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rolecall_engine::objects::{Catalog, ObjectGrant, SetState};
use rolecall_policy::{DbObject, ObjectKind, Privilege, PrivilegeSet};
use tokio_postgres::SimpleQueryRow;

use super::Table;
use crate::transport::version::Dialect;

/// An object's number in a catalogue of ours, by the server's own.
pub(crate) type Index = HashMap<(Table, u32), usize>;

/// The state of one set.
#[derive(Clone, Debug)]
pub(crate) struct SetRow {
    pub(crate) role: String,
    pub(crate) state: SetState,
}

struct Found {
    object: DbObject,
    id: u32,
    crowded: Option<u32>,
}

/// The catalogue that the rows amount to.
pub(super) fn catalog(database: &str, dialect: Dialect, rows: &[SimpleQueryRow]) -> Catalog {
    let mut names = Names::default();
    let shared = names.of(database);
    let mut found: Vec<Found> = rows
        .iter()
        .filter(|row| row.get(0) == Some("o"))
        .filter_map(|row| object(row, &shared, &mut names))
        .collect();
    found.sort_unstable_by(|a, b| (&a.object, a.id).cmp(&(&b.object, b.id)));
    let mut catalog = Catalog {
        database: database.to_owned(),
        ids: found.iter().map(|found| found.id).collect(),
        crowded: found.iter().enumerate().filter_map(|(i, found)| Some((i, found.crowded?))).collect(),
        unknown: if dialect.has_maintain() {
            PrivilegeSet::EMPTY
        } else {
            PrivilegeSet::from_iter([Privilege::Maintain])
        },
        open: rows.iter().any(|row| row.get(0) == Some("c")),
        announced: rows.iter().any(|row| row.get(0) == Some("e")),
        ..Catalog::default()
    };
    catalog.objects = found.into_iter().map(|found| found.object).collect();
    let index = super::index(&catalog);
    let open = rows.iter().filter(|row| row.get(0) == Some("u"));
    catalog.open_schemas = open
        .filter_map(|row| index.get(&(Table::Namespace, number(row, 1)?)).copied())
        .collect::<HashSet<_>>();
    catalog.sets = state_of(rows, &index).into_iter().map(|set| (set.role, set.state)).collect();
    catalog
}

/// The sets in the rows. Their grants on objects that are not in the index are left out: those were created
/// after it was made.
pub(crate) fn state_of(rows: &[SimpleQueryRow], index: &Index) -> Vec<SetRow> {
    let mut names = Names::default();
    let mut grants: HashMap<&str, Vec<ObjectGrant>> = HashMap::new();
    for row in rows.iter().filter(|row| row.get(0) == Some("h")) {
        let table = match row.get(2) {
            Some("c") => Table::Class,
            Some("p") => Table::Proc,
            _ => Table::Namespace,
        };
        if let (Some(set), Some(grantor), Some(list)) = (row.get(3), row.get(4), row.get(5)) {
            let (privileges, grantable) = privileges(list);
            let grantor = names.of(grantor);
            let objects = numbers(row, 1).filter_map(|id| index.get(&(table, id)).copied());
            let all = objects.map(|object| ObjectGrant {
                object,
                grantor: Arc::clone(&grantor),
                privileges,
                grantable,
            });
            grants.entry(set).or_default().extend(all);
        }
    }
    let sets = rows.iter().filter(|row| row.get(0) == Some("s"));
    sets.filter_map(|row| {
        let role = row.get(1)?;
        let state = SetState {
            record: row.get(2).and_then(|comment| serde_json::from_str(comment).ok()),
            connects: row.get(3) == Some("true"),
            grants: grants.remove(role).unwrap_or_default(),
            foreign_grants: row.get(4) == Some("true"),
        };
        Some(SetRow { role: role.to_owned(), state })
    })
    .collect()
}

fn object(row: &SimpleQueryRow, database: &Arc<str>, names: &mut Names) -> Option<Found> {
    let kind = match row.get(2)? {
        "r" | "p" => ObjectKind::Table,
        "v" => ObjectKind::View,
        "m" => ObjectKind::MaterializedView,
        "f" => ObjectKind::ForeignTable,
        "S" => ObjectKind::Sequence,
        "F" => ObjectKind::Function,
        "P" => ObjectKind::Procedure,
        "N" => ObjectKind::Schema,
        _ => return None,
    };
    let object = DbObject::new(kind, Arc::clone(database), names.of(row.get(3)?), row.get(4)?);
    let crowded = row.get(5).and_then(|entries| entries.parse().ok());
    (!object.is_system()).then_some(Found { object, id: number(row, 1)?, crowded })
}

/// `SELECT,UPDATE*`. Names that are no privileges here are left out.
fn privileges(list: &str) -> (PrivilegeSet, PrivilegeSet) {
    let one = |text: &str| Privilege::parse(text.trim_end_matches('*'));
    let all = list.split(',').filter_map(one).collect();
    let grantable = list.split(',').filter(|text| text.ends_with('*')).filter_map(one).collect();
    (all, grantable)
}

fn number(row: &SimpleQueryRow, column: usize) -> Option<u32> {
    row.get(column)?.parse().ok()
}

/// `16385,16390`
pub(crate) fn numbers(row: &SimpleQueryRow, column: usize) -> impl Iterator<Item = u32> + '_ {
    row.get(column).unwrap_or_default().split(',').filter_map(|number| number.parse().ok())
}

/// Thousands of objects have the same schema, and thousands of grants the same grantor.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    fn of(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = name.into();
        self.0.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grant_options_are_read() {
        let set = |list: &[Privilege]| list.iter().copied().collect::<PrivilegeSet>();
        assert_eq!(
            privileges("SELECT,UPDATE*,SOMETHING NEW"),
            (set(&[Privilege::Select, Privilege::Update]), set(&[Privilege::Update]))
        );
    }
}
