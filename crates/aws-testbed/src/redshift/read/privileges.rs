//! Rights, of the current database only.

use super::{Reader, Row, Value};
use crate::redshift::catalog::{Acl, Identity, Kind, ObjectKey, Right};

/// What svv_relation_privileges lists. The others can be given and are not seen.
const LISTED: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES", "DROP"];

pub(super) fn relations(reader: &Reader<'_>) -> Vec<Row> {
    let all = reader.is_superuser()
        || reader.sees_syslog()
        || (reader.state.unknowns.relation_privileges_with_system_access && reader.sees_system_tables());
    let mut rows = Vec::new();
    for (key, object) in reader.here() {
        if let ObjectKey::Relation(schema, name) = key {
            let rights = reader.rights(&object.acl, all);
            let rights = rights.into_iter().filter(|(right, _)| LISTED.contains(&right.privilege.as_str()));
            rows.extend(rights.map(|(right, option)| {
                let named = vec![Value::text(schema.as_str()), Value::text(name.as_str())];
                [named, reader.right(right, option)].concat()
            }));
        }
    }
    rows
}

pub(super) fn schemas(reader: &Reader<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (key, object) in reader.here() {
        if let ObjectKey::Schema(name) = key {
            for (right, option) in reader.rights(&object.acl, reader.sees_system_tables()) {
                let (privilege, scope) = match right.privilege.strip_suffix(" FOR TABLES") {
                    Some(privilege) => (privilege, "TABLES"),
                    None => (right.privilege.as_str(), "SCHEMA"),
                };
                let right = Right { privilege: privilege.to_owned(), ..right.clone() };
                let named = vec![Value::text(name.as_str())];
                rows.push([named, reader.right(&right, option), vec![Value::text(scope)]].concat());
            }
        }
    }
    rows
}

pub(super) fn functions(reader: &Reader<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (key, object) in reader.here() {
        if let ObjectKey::Function(schema, name, arguments) = key {
            let rights = reader.rights(&object.acl, reader.sees_system_tables());
            rows.extend(rights.into_iter().map(|(right, option)| {
                let named = vec![
                    Value::text(schema.as_str()),
                    Value::text(name.as_str()),
                    Value::Text(arguments.join(", ")),
                ];
                [named, reader.right(right, option)].concat()
            }));
        }
    }
    rows
}

pub(super) fn databases(reader: &Reader<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, database) in &reader.catalog.databases {
        let rights = reader.rights(&database.acl, reader.sees_system_tables());
        rows.extend(rights.into_iter().map(|(right, option)| {
            let named = vec![Value::text(name.as_str())];
            [named, reader.right(right, option), vec![Value::text("DATABASE")]].concat()
        }));
    }
    rows
}

pub(super) fn defaults(reader: &Reader<'_>) -> Vec<Row> {
    let all = reader.sees_system_tables();
    let defaults = reader.database().into_iter().flat_map(|database| &database.defaults);
    defaults
        .filter(|(owner, _, _, right)| all || *owner == reader.user() || reader.is_own(right.who))
        .map(|(owner, schema, kind, right)| {
            let schema = schema.as_ref().map_or(Value::Null, |schema| Value::text(schema.as_str()));
            let head = vec![
                schema,
                Value::text(*kind),
                Value::id(*owner),
                Value::Text(reader.catalog.user_name(*owner)),
                Value::text("user"),
            ];
            [head, reader.right(right, false)].concat()
        })
        .collect()
}

/// ASSUMEROLE grants, which are in no list of rights.
pub(super) fn assume_role(reader: &Reader<'_>) -> Vec<Row> {
    let all = reader.catalog.assume_role.iter();
    all.map(|(user, arn)| {
        vec![
            Value::text(arn.as_str()),
            Value::text("ALL"),
            Value::id(*user),
            Value::Text(reader.catalog.user_name(*user)),
            Value::text("user"),
        ]
    })
    .collect()
}

/// Whether the kind of an object is one that svv_default_privileges names so.
pub(crate) fn default_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Schema => "SCHEMA",
        Kind::Table | Kind::View | Kind::MaterializedView => "RELATION",
        Kind::Function => "FUNCTION",
        Kind::Procedure => "PROCEDURE",
    }
}

impl Reader<'_> {
    /// The rights of a list that the reader may see.
    fn rights<'a>(&self, acl: &'a Acl, all: bool) -> Vec<(&'a Right, bool)> {
        let rights = acl.iter().filter(|(right, _)| all || self.is_own(right.who));
        rights.map(|(right, option)| (right, *option)).collect()
    }

    fn is_own(&self, identity: Identity) -> bool {
        match identity {
            Identity::User(user) => user == self.user(),
            Identity::Role(role) => self.is_own_role(role),
            Identity::Public => true,
        }
    }

    fn right(&self, right: &Right, option: bool) -> Vec<Value> {
        let (id, of) = match right.who {
            Identity::User(id) => (id, "user"),
            Identity::Role(id) => (id, "role"),
            Identity::Public => (0, "public"),
        };
        vec![
            Value::text(right.privilege.as_str()),
            Value::id(id),
            Value::Text(self.catalog.identity_name(right.who)),
            Value::text(of),
            Value::Bool(option),
        ]
    }
}
