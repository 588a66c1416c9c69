//! The objects of a logical database, each with how it is named in a GRANT.
//!
//! Functions of one name and different arguments are one object here: they have the same labels, and so the same
//! permissions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rolecall_policy::{DbObject, ObjectKind};

use crate::statements::object::Target;
use crate::statements::{Statement, query};
use crate::transport::rows::{Row, text};

/// Tables that the server makes for materialized views.
const INTERNAL: &str = "mv_tbl__";

/// The objects of a database, each with how it is named in a GRANT: a function by each list of its arguments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    pub(crate) all: BTreeMap<DbObject, BTreeSet<Target>>,
}

impl Objects {
    /// What is read for it.
    pub(crate) fn statements(database: &str) -> Vec<Statement> {
        vec![
            query::schemas(database),
            query::tables(database),
            query::materialized_views(database),
            query::functions(database),
        ]
    }

    /// From the answers.
    pub(crate) fn read(answers: &[Vec<Row>], database: &str) -> Self {
        let rows = |number: usize| answers.get(number).into_iter().flatten();
        let mut objects = Self::default();
        let mut add = |kind: ObjectKind, schema: &str, name: &str, arguments: &str| {
            if is_system(schema) {
                return;
            }
            let object =
                DbObject { kind, database: database.into(), schema: schema.into(), name: name.into() };
            objects.all.entry(object).or_default().insert(Target::of(kind, schema, name, arguments));
        };
        for row in rows(0) {
            add(ObjectKind::Schema, text(row, 0), text(row, 0), "");
        }
        let materialized: HashSet<(&str, &str)> = rows(2).map(|row| (text(row, 0), text(row, 1))).collect();
        for (schema, name) in &materialized {
            add(ObjectKind::MaterializedView, schema, name, "");
        }
        for row in rows(1) {
            let (schema, name) = (text(row, 0), text(row, 1));
            if materialized.contains(&(schema, name)) || name.starts_with(INTERNAL) {
                continue;
            }
            let is_view = text(row, 2).eq_ignore_ascii_case("view");
            add(if is_view { ObjectKind::View } else { ObjectKind::Table }, schema, name, "");
        }
        for row in rows(3) {
            let is_procedure = text(row, 2).to_ascii_uppercase().contains("PROCEDURE");
            let kind = if is_procedure { ObjectKind::Procedure } else { ObjectKind::Function };
            add(kind, text(row, 0), text(row, 1), text(row, 3));
        }
        objects
    }

    /// The objects as a catalogue numbers them; those that are gone since it was read have no target.
    pub(crate) fn numbered<'a>(&'a self, catalog: impl IntoIterator<Item = &'a DbObject>) -> Numbered<'a> {
        let targets: Vec<Vec<&Target>> =
            catalog.into_iter().map(|object| self.all.get(object).into_iter().flatten().collect()).collect();
        let numbers = targets.iter().enumerate();
        Numbered {
            numbers: numbers.flat_map(|(i, all)| all.iter().map(move |target| (*target, i))).collect(),
            targets,
        }
    }
}

/// Objects by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Numbered<'a> {
    /// By how they are named in a GRANT.
    pub(crate) numbers: HashMap<&'a Target, usize>,
    /// How each is named.
    pub(crate) targets: Vec<Vec<&'a Target>>,
}

/// Schemas whose objects nobody is given anything on.
fn is_system(schema: &str) -> bool {
    schema == "information_schema" || schema == "catalog_history" || schema.starts_with("pg_")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::transport::rows::tests::row;

    pub(crate) fn objects() -> Objects {
        Objects::read(
            &[
                vec![row(["app"]), row(["pg_catalog"]), row(["information_schema"])],
                vec![
                    row(["app", "orders", "TABLE"]),
                    row(["app", "v", "VIEW"]),
                    row(["app", "sums", "VIEW"]),
                    row(["app", "mv_tbl__sums__0", "TABLE"]),
                    row(["pg_catalog", "pg_class", "TABLE"]),
                ],
                vec![row(["app", "sums"])],
                vec![
                    row(["app", "f", "REGULAR FUNCTION", "integer"]),
                    row(["app", "f", "REGULAR FUNCTION", "integer, character varying"]),
                    row(["app", "p", "STORED PROCEDURE", ""]),
                ],
            ],
            "shop",
        )
    }

    #[test]
    fn objects_have_the_kinds_that_the_views_say() {
        let shown: Vec<String> = objects()
            .all
            .iter()
            .map(|(object, targets)| format!("{} {} {}", object.kind, object.name, targets.len()))
            .collect();
        assert_eq!(
            shown,
            [
                "table orders 1",
                "view v 1",
                "materialized_view sums 1",
                "function f 2",
                "procedure p 1",
                "schema app 1"
            ]
        );
    }
}
