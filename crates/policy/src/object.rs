//! Databases and the objects in them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::one_line::OneLine;
use crate::spec::Labels;

/// What a database server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// PostgreSQL.
    Postgres,
    /// Amazon Redshift.
    Redshift,
    /// MongoDB.
    Mongodb,
}

impl Protocol {
    /// The name as written in manifests and in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redshift => "redshift",
            Self::Mongodb => "mongodb",
        }
    }

    /// Whether a connection is to one logical database, which must then be named.
    pub fn needs_database_name(self) -> bool {
        self != Self::Mongodb
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A database server as policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its name, which templates read as `obj.database_service_name`.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its labels, from all places where they can be written.
    pub labels: Labels,
}

/// The kinds of objects that carry permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// A table, partitioned ones included.
    Table,
    /// A view.
    View,
    /// A materialised view.
    MaterializedView,
    /// A foreign table.
    ForeignTable,
    /// A sequence.
    Sequence,
    /// A function.
    Function,
    /// A procedure.
    Procedure,
    /// A schema.
    Schema,
    /// A MongoDB collection.
    Collection,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Table,
        Self::View,
        Self::MaterializedView,
        Self::ForeignTable,
        Self::Sequence,
        Self::Function,
        Self::Procedure,
        Self::Schema,
        Self::Collection,
    ];

    /// The name that templates read as `obj.object_kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized_view",
            Self::ForeignTable => "foreign_table",
            Self::Sequence => "sequence",
            Self::Function => "function",
            Self::Procedure => "procedure",
            Self::Schema => "schema",
            Self::Collection => "collection",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An object that was found on a server.
///
/// Names of databases and schemas are shared, since thousands of objects have the same: clone one `Arc` for
/// all of them. A schema's `schema` and `name` are both its own name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DbObject {
    /// What it is.
    pub kind: ObjectKind,
    /// The logical database that it is in.
    pub database: Arc<str>,
    /// The schema that it is in.
    pub schema: Arc<str>,
    /// Its name.
    pub name: Box<str>,
}

impl DbObject {
    /// An object; names may be given as `&str`, `String` or shared.
    pub fn new(
        kind: ObjectKind,
        database: impl Into<Arc<str>>,
        schema: impl Into<Arc<str>>,
        name: impl Into<Box<str>>,
    ) -> Self {
        Self { kind, database: database.into(), schema: schema.into(), name: name.into() }
    }

    /// Whether it lies in a schema that belongs to the server itself, whose objects are never imported:
    /// `pg_catalog`, `information_schema`, `pg_toast*` and `pg_temp*`.
    pub fn is_system(&self) -> bool {
        let schema: &str = &self.schema;
        schema == "pg_catalog"
            || schema == "information_schema"
            || schema.starts_with("pg_toast")
            || schema.starts_with("pg_temp")
    }
}

impl fmt::Display for DbObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}.{}.{}",
            self.kind,
            OneLine(&self.database),
            OneLine(&self.schema),
            OneLine(&self.name)
        )
    }
}
