//! Users, roles and memberships.

use super::{Reader, Row, Value};
use crate::redshift::catalog::{RDSDB, User};

fn limit(user: &User) -> Value {
    Value::Text(user.connection_limit.map_or_else(|| "UNLIMITED".to_owned(), |limit| limit.to_string()))
}

fn syslog(user: &User) -> Value {
    Value::text(if user.syslog_unrestricted { "UNRESTRICTED" } else { "RESTRICTED" })
}

fn config(user: &User) -> Value {
    if user.config.is_empty() {
        return Value::Null;
    }
    let items: Vec<String> = user
        .config
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .map(|item| {
            if item.contains([',', ' ', '"', '\\', '{', '}']) {
                format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\""))
            } else {
                item
            }
        })
        .collect();
    Value::Text(format!("{{{}}}", items.join(",")))
}

fn optional(text: Option<&String>) -> Value {
    text.map_or(Value::Null, |text| Value::text(text.as_str()))
}

fn catalog_row(user: &User) -> Row {
    vec![
        Value::text(user.name.as_str()),
        Value::id(user.id),
        Value::Bool(user.createdb),
        Value::Bool(user.superuser),
        Value::Bool(user.name == RDSDB),
        Value::text("********"),
        optional(user.valid_until.as_ref()),
        config(user),
    ]
}

pub(super) fn pg_user(reader: &Reader<'_>) -> Vec<Row> {
    reader.catalog.users.values().map(catalog_row).collect()
}

pub(super) fn pg_user_info(reader: &Reader<'_>) -> Vec<Row> {
    let row = |user: &User| [catalog_row(user), vec![limit(user)]].concat();
    reader.catalog.users.values().map(row).collect()
}

pub(super) fn svl_user_info(reader: &Reader<'_>) -> Vec<Row> {
    let row = |user: &User| {
        vec![
            Value::text(user.name.as_str()),
            Value::id(user.id),
            Value::Bool(user.createdb),
            Value::Bool(user.superuser),
            Value::Bool(user.name == RDSDB),
            limit(user),
            syslog(user),
            Value::Int(i64::from(user.session_timeout.unwrap_or(0))),
            optional(user.external_id.as_ref()),
        ]
    };
    reader.catalog.users.values().map(row).collect()
}

/// One's own row, and as a superuser all. SYSLOG ACCESS does not count, and of ACCESS SYSTEM TABLE nobody says so.
pub(super) fn svv_user_info(reader: &Reader<'_>) -> Vec<Row> {
    let all = reader.is_superuser()
        || (reader.state.unknowns.user_info_with_system_access && reader.sees_system_tables());
    let row = |user: &User| {
        vec![
            Value::text(user.name.as_str()),
            Value::id(user.id),
            Value::Bool(user.createdb),
            Value::Bool(user.superuser),
            Value::Bool(user.name == RDSDB),
            limit(user),
            syslog(user),
            Value::Null,
            Value::Int(i64::from(user.session_timeout.unwrap_or(0))),
            optional(user.external_id.as_ref()),
        ]
    };
    let users = reader.catalog.users.values().filter(|user| all || user.id == reader.user());
    users.map(row).collect()
}

pub(super) fn svv_user_grants(reader: &Reader<'_>) -> Vec<Row> {
    let all = reader.sees_system_tables();
    let members = reader.catalog.members.iter();
    members
        .filter(|((user, _), _)| all || *user == reader.user())
        .map(|((user, role), admin_option)| {
            vec![
                Value::id(*user),
                Value::Text(reader.catalog.user_name(*user)),
                Value::id(*role),
                Value::Text(reader.role_name(*role)),
                Value::Bool(*admin_option),
            ]
        })
        .collect()
}

pub(super) fn svv_roles(reader: &Reader<'_>) -> Vec<Row> {
    let all = reader.sees_system_tables();
    let roles = reader.catalog.roles.values().filter(|role| all || reader.is_own_role(role.id));
    roles
        .map(|role| {
            let owner = reader.catalog.user_name(role.owner);
            vec![Value::id(role.id), Value::text(role.name.as_str()), Value::Text(owner), Value::Null]
        })
        .collect()
}

pub(super) fn svv_role_grants(reader: &Reader<'_>) -> Vec<Row> {
    let all = reader.sees_system_tables();
    let nested = reader.catalog.nested.iter().filter(|(outer, _)| all || reader.is_own_role(*outer));
    nested
        .map(|(outer, inner)| {
            let name = |role: &u32| Value::Text(reader.role_name(*role));
            vec![Value::id(*outer), name(outer), Value::id(*inner), name(inner)]
        })
        .collect()
}

pub(super) fn svv_system_privileges(reader: &Reader<'_>) -> Vec<Row> {
    let all = reader.sees_system_tables();
    let roles = reader.catalog.roles.values().filter(|role| all || reader.is_own_role(role.id));
    roles
        .flat_map(|role| {
            role.system.iter().map(|privilege| {
                let name = Value::text(role.name.as_str());
                vec![Value::text(privilege.as_str()), Value::id(role.id), name, Value::text("role")]
            })
        })
        .collect()
}

impl Reader<'_> {
    fn role_name(&self, role: u32) -> String {
        self.catalog.roles.get(&role).map_or_else(|| "unknown".to_owned(), |role| role.name.clone())
    }

    /// Whether a role is one that the reader has or owns.
    pub(super) fn is_own_role(&self, role: u32) -> bool {
        self.catalog.roles_of(self.user()).contains(&role)
            || self.catalog.roles.get(&role).is_some_and(|role| role.owner == self.user())
    }
}
