//! Databases and what is in them.

use super::{Reader, Row, Value};
use crate::redshift::catalog::{Database, Identity, Kind, Object, ObjectKey, RDSDB_ID};

pub(super) fn svv_redshift_databases(reader: &Reader<'_>) -> Vec<Row> {
    let databases = reader.catalog.databases.iter();
    databases
        .map(|(name, database)| {
            let of = if database.shared { "shared" } else { "local" };
            vec![
                Value::text(name.as_str()),
                Value::id(database.owner),
                Value::text(of),
                Value::Null,
                Value::Null,
            ]
        })
        .collect()
}

/// Tables and views of every database, materialized views as views beside their internal tables. Only what one may
/// see.
pub(super) fn svv_redshift_tables(reader: &Reader<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (database, key, object) in reader.objects() {
        let ObjectKey::Relation(schema, name) = key else {
            continue;
        };
        let mut row = |name: &str, of: &str| {
            rows.push(vec![
                Value::text(database),
                Value::text(schema.as_str()),
                Value::text(name),
                Value::text(of),
                Value::Null,
                Value::Null,
                Value::Text(reader.catalog.user_name(object.owner)),
            ]);
        };
        match object.kind {
            Kind::MaterializedView => {
                row(name, "VIEW");
                row(&internal_table(name), "TABLE");
            }
            Kind::View => row(name, "VIEW"),
            _ => row(name, "TABLE"),
        }
    }
    rows
}

/// Where a materialized view keeps its rows.
fn internal_table(name: &str) -> String {
    format!("mv_tbl__{name}__0")
}

pub(super) fn svv_redshift_functions(reader: &Reader<'_>) -> Vec<Row> {
    let rows = reader.objects().into_iter().filter_map(|(database, key, object)| {
        let ObjectKey::Function(schema, name, arguments) = key else {
            return None;
        };
        let of = if object.kind == Kind::Procedure { "STORED PROCEDURE" } else { "REGULAR FUNCTION" };
        Some(vec![
            Value::text(database),
            Value::text(schema.as_str()),
            Value::text(name.as_str()),
            Value::text(of),
            Value::Text(arguments.join(", ")),
            Value::Null,
        ])
    });
    rows.collect()
}

pub(super) fn svv_redshift_schemas(reader: &Reader<'_>) -> Vec<Row> {
    let rows = reader.objects().into_iter().filter_map(|(database, key, object)| {
        let ObjectKey::Schema(name) = key else {
            return None;
        };
        let owner = Value::id(object.owner);
        Some(vec![Value::text(database), Value::text(name.as_str()), owner, Value::text("local")])
    });
    rows.collect()
}

pub(super) fn svv_mv_info(reader: &Reader<'_>) -> Vec<Row> {
    let views = reader.objects().into_iter().filter(|(_, _, object)| object.kind == Kind::MaterializedView);
    let rows = views.filter_map(|(database, key, object)| {
        let ObjectKey::Relation(schema, name) = key else {
            return None;
        };
        Some(vec![
            Value::text(database),
            Value::text(schema.as_str()),
            Value::Text(reader.catalog.user_name(object.owner)),
            Value::text(name.as_str()),
            Value::text("f"),
            Value::Int(1),
        ])
    });
    rows.collect()
}

pub(super) fn pg_namespace(reader: &Reader<'_>) -> Vec<Row> {
    let system =
        [("pg_catalog", 11), ("pg_toast", 99), ("pg_internal", 4_099), ("information_schema", 11_200)];
    let system = system.map(|(name, id)| vec![Value::Int(id), Value::text(name), Value::Int(1), Value::Null]);
    let own = reader.here().filter_map(|(key, object)| match key {
        ObjectKey::Schema(name) => {
            Some(vec![Value::id(object.id), Value::text(name.as_str()), Value::id(object.owner), Value::Null])
        }
        _ => None,
    });
    system.into_iter().chain(own).collect()
}

pub(super) fn pg_class(reader: &Reader<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (key, object) in reader.here() {
        let ObjectKey::Relation(schema, name) = key else {
            continue;
        };
        let schema = reader.schema_id(schema);
        let mut row = |id: u32, name: &str, kind: &str| {
            rows.push(vec![
                Value::id(id),
                Value::text(name),
                schema.clone(),
                Value::id(object.owner),
                Value::text(kind),
            ]);
        };
        match object.kind {
            Kind::MaterializedView => {
                row(object.id, name, "v");
                row(object.id + 1, &internal_table(name), "r");
            }
            Kind::View => row(object.id, name, "v"),
            _ => row(object.id, name, "r"),
        }
    }
    rows
}

pub(super) fn pg_proc(reader: &Reader<'_>) -> Vec<Row> {
    let functions = reader.here().filter_map(|(key, object)| match key {
        ObjectKey::Function(schema, name, _) => Some(vec![
            Value::id(object.id),
            Value::text(name.as_str()),
            reader.schema_id(schema),
            Value::id(object.owner),
        ]),
        _ => None,
    });
    functions.collect()
}

/// With those that each cluster has for itself.
pub(super) fn pg_database(reader: &Reader<'_>) -> Vec<Row> {
    let row = |id: u32, name: &str, owner: u32, connects: bool| {
        vec![Value::id(id), Value::text(name), Value::id(owner), Value::Bool(connects)]
    };
    let own = [(1, "template1", true), (2, "template0", false), (3, "padb_harvest", true)];
    let own = own.map(|(id, name, connects)| row(id, name, RDSDB_ID, connects));
    let databases = reader.catalog.databases.iter();
    own.into_iter()
        .chain(databases.map(|(name, database)| row(database.id, name, database.owner, true)))
        .collect()
}

impl Reader<'_> {
    /// The database of the session.
    pub(super) fn database(&self) -> Option<&Database> {
        self.catalog.databases.get(&self.session.database)
    }

    /// The objects of the database of the session.
    pub(super) fn here(&self) -> impl Iterator<Item = (&ObjectKey, &Object)> {
        self.database().into_iter().flat_map(|database| &database.objects)
    }

    fn schema_id(&self, name: &str) -> Value {
        let key = ObjectKey::Schema(name.to_owned());
        let schema = self.database().and_then(|database| database.objects.get(&key));
        schema.map_or(Value::Null, |schema| Value::id(schema.id))
    }

    /// The objects of all databases that the reader may see: its own, and those on which it has some right.
    fn objects(&self) -> Vec<(&str, &ObjectKey, &Object)> {
        let databases = self.catalog.databases.iter().filter(|(_, database)| !database.shared);
        let all = databases.flat_map(|(name, database)| {
            database.objects.iter().map(move |(key, object)| (name.as_str(), key, object))
        });
        all.filter(|(_, _, object)| self.may_see(object)).collect()
    }

    fn may_see(&self, object: &Object) -> bool {
        let roles = self.catalog.roles_of(self.user());
        self.is_superuser()
            || object.owner == self.user()
            || object.acl.keys().any(|right| match right.who {
                Identity::User(user) => user == self.user(),
                Identity::Role(role) => roles.contains(&role),
                Identity::Public => true,
            })
    }
}
