//! The objects of a logical database.
//!
//! Functions of one name and different arguments are one object here: they have the same labels, and so the same
//! permissions.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use rolecall_engine::objects::SetState;
use rolecall_engine::{Catalog, CatalogQuery, Error};
use rolecall_policy::{DbObject, ObjectKind, Privilege, PrivilegeSet};

use super::observe::Seen;
use super::rows::{Row, text};
use super::sets::{Held, Numbered, set_states};
use super::sight::SERVER_USER;
use crate::Redshift;
use crate::statements::object::{READABLE, Target};
use crate::statements::query::Identity;
use crate::statements::{Statement, query};
use crate::transport::server::Place;

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

/// Schemas whose objects nobody is given anything on.
fn is_system(schema: &str) -> bool {
    schema == "information_schema" || schema == "catalog_history" || schema.starts_with("pg_")
}

impl Redshift {
    pub(crate) async fn catalog(&self, asked: &CatalogQuery) -> Result<Catalog, Error> {
        let database = &asked.database;
        let place = Place::Exactly(database.clone());
        let sets: Vec<&str> = asked.sets.iter().map(String::as_str).collect();
        let what = format!("reading the objects of {database:?}");
        let admin = self.server.config().admin_user.as_str();
        let names = [admin, SERVER_USER];
        let mut statements = Seen::statements(Some(&names));
        let (accounts, objects) = (statements.len(), Objects::statements(database).len());
        statements.extend(Objects::statements(database));
        statements.push(query::schema_privileges(Identity::Public));
        statements.extend(Held::statements(&sets));
        let answers = self.server.read(&place, &statements).await?;
        let (seen, rest) = answers.split_at(accounts.min(answers.len()));
        let seen = Seen::read(seen);
        let sight = seen.sight(admin);
        if !sight.sees_privileges() {
            return Err(sight.error(what, admin));
        }
        let (found, rest) = rest.split_at(objects.min(rest.len()));
        let objects = Objects::read(found, database);
        let (public, held) = rest.split_at(1.min(rest.len()));
        let open: HashSet<&str> = public
            .iter()
            .flatten()
            .filter(|row| text(row, 1).eq_ignore_ascii_case("usage"))
            .map(|row| text(row, 0))
            .collect();
        let states: BTreeMap<String, SetState> =
            set_states(&sets, &seen, &Held::read(held), &objects.numbered(objects.all.keys()));
        Ok(catalog(database, &objects, &open, states))
    }
}

fn catalog(
    database: &str,
    objects: &Objects,
    open: &HashSet<&str>,
    sets: BTreeMap<String, SetState>,
) -> Catalog {
    let all: Arc<[DbObject]> = objects.all.keys().cloned().collect();
    let is_open = |object: &DbObject| object.kind == ObjectKind::Schema && open.contains(&*object.name);
    Catalog {
        database: database.to_owned(),
        // The server has no number that matters: privileges are on names.
        ids: (0..u32::try_from(all.len()).unwrap_or(u32::MAX)).collect(),
        open_schemas: all.iter().enumerate().filter(|(_, object)| is_open(object)).map(|(i, _)| i).collect(),
        // There is no right to connect.
        open: true,
        unknown: Privilege::all().filter(|privilege| !READABLE.contains(privilege)).collect::<PrivilegeSet>(),
        crowded: BTreeMap::new(),
        announced: false,
        objects: all,
        sets,
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::row;
    use super::*;

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

    #[test]
    fn privileges_that_are_not_shown_are_unknown() {
        let catalog = catalog("shop", &objects(), &HashSet::from(["app"]), BTreeMap::new());
        for privilege in [Privilege::Truncate, Privilege::Trigger, Privilege::Maintain, Privilege::Find] {
            assert!(catalog.unknown.contains(privilege), "{privilege}");
        }
        for privilege in READABLE {
            assert!(!catalog.unknown.contains(privilege), "{privilege}");
        }
        assert!(catalog.objects.is_sorted() && catalog.open && catalog.open_schemas.len() == 1);
    }
}
