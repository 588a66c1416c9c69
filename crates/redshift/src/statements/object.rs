//! Privileges on objects.
//!
//! Only what the server shows again is given: see [`READABLE`].

use rolecall_policy::{ObjectKind, Privilege, PrivilegeSet};

use super::{Needs, Statement};
use crate::quote::{identifier, qualified};

/// Privileges that the server's lists show. What could not be read back could not be taken away for certain.
pub(crate) const READABLE: [Privilege; 8] = [
    Privilege::Select,
    Privilege::Insert,
    Privilege::Update,
    Privilege::Delete,
    Privilege::References,
    Privilege::Usage,
    Privilege::Create,
    Privilege::Execute,
];

/// The most tables in a statement.
const TABLES: usize = 200;

/// An object, as it is named in a GRANT.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// A schema.
    Schema(String),
    /// A table, a view or a materialized view.
    Table { schema: String, name: String },
    /// A function with its argument types.
    Function { schema: String, name: String, arguments: String },
    /// A procedure with its argument types.
    Procedure { schema: String, name: String, arguments: String },
    /// A logical database.
    Database(String),
}

/// Who gets or loses something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grantee<'a> {
    /// A role.
    Role(&'a str),
    /// A user.
    User(&'a str),
}

impl Target {
    /// The object of this kind. `arguments`: of functions and procedures.
    pub(crate) fn of(kind: ObjectKind, schema: &str, name: &str, arguments: &str) -> Self {
        let (schema, name) = (schema.to_owned(), name.to_owned());
        match kind {
            ObjectKind::Schema => Self::Schema(schema),
            ObjectKind::Function => Self::Function { schema, name, arguments: arguments.to_owned() },
            ObjectKind::Procedure => Self::Procedure { schema, name, arguments: arguments.to_owned() },
            _ => Self::Table { schema, name },
        }
    }

    /// Is it the same object, a procedure or function by either name?
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let routine = |target: &Self| match target {
            Self::Function { schema, name, arguments } | Self::Procedure { schema, name, arguments } => {
                Some((schema.clone(), name.clone(), arguments.clone()))
            }
            _ => None,
        };
        self == other || (routine(self).is_some() && routine(self) == routine(other))
    }

    /// As in `ON TABLE "s"."t"`.
    pub(crate) fn sql(&self) -> String {
        match self {
            Self::Schema(schema) => format!("SCHEMA {}", identifier(schema)),
            Self::Table { schema, name } => format!("TABLE {}", qualified(schema, name)),
            Self::Function { schema, name, arguments } => {
                format!("FUNCTION {}({})", qualified(schema, name), types(arguments))
            }
            Self::Procedure { schema, name, arguments } => {
                format!("PROCEDURE {}({})", qualified(schema, name), types(arguments))
            }
            Self::Database(name) => format!("DATABASE {}", identifier(name)),
        }
    }
}

impl Grantee<'_> {
    fn sql(&self) -> String {
        match self {
            Self::Role(role) => format!("ROLE {}", identifier(role)),
            Self::User(user) => identifier(user),
        }
    }
}

/// Gives privileges on objects: on one of any kind, or on several tables.
pub(crate) fn grant(privileges: PrivilegeSet, targets: &[&Target], grantee: Grantee<'_>) -> Statement {
    let (names, on, to) = (names(privileges), list(targets), grantee.sql());
    Statement::new(
        format!("granting {names} on {} to {to}", first(targets)),
        format!("GRANT {names} ON {on} TO {to}"),
    )
}

/// Takes privileges on objects: on one of any kind, or on several tables.
pub(crate) fn revoke(privileges: PrivilegeSet, targets: &[&Target], grantee: Grantee<'_>) -> Statement {
    let (names, on, from) = (names(privileges), list(targets), grantee.sql());
    Statement::new(
        format!("revoking {names} on {} from {from}", first(targets)),
        format!("REVOKE {names} ON {on} FROM {from}"),
    )
}

/// Takes everything on an object.
pub(crate) fn revoke_all(target: &Target, grantee: Grantee<'_>) -> Statement {
    let (on, from) = (target.sql(), grantee.sql());
    // For routines there is nothing but EXECUTE.
    let what = match target {
        Target::Function { .. } | Target::Procedure { .. } => "EXECUTE",
        _ => "ALL",
    };
    Statement::new(
        format!("revoking {what} on {on} from {from}"),
        format!("REVOKE {what} ON {on} FROM {from}"),
    )
}

/// Gives a table or a schema to another user. Roles own nothing.
pub(crate) fn set_owner(target: &Target, user: &str) -> Statement {
    let (on, user) = (target.sql(), identifier(user));
    Statement::new(format!("giving {on} to {user}"), format!("ALTER {on} OWNER TO {user}"))
        .needing(Needs::Superuser)
}

/// What one statement each is for: many tables, or one object of another kind. `of`: the object in what is divided.
pub(crate) fn batches<T: Copy>(objects: &[T], of: impl Fn(&T) -> &Target) -> Vec<Vec<T>> {
    let (tables, others): (Vec<T>, Vec<T>) =
        objects.iter().copied().partition(|object| matches!(of(object), Target::Table { .. }));
    tables.chunks(TABLES).map(<[T]>::to_vec).chain(others.into_iter().map(|object| vec![object])).collect()
}

/// As in `TABLE "s"."a", "s"."b"`.
fn list(targets: &[&Target]) -> String {
    let mut text = String::new();
    for target in targets {
        let sql = target.sql();
        match text.as_str() {
            "" => text = sql,
            // Only tables come in lists.
            _ => text.push_str(&format!(", {}", sql.strip_prefix("TABLE ").unwrap_or(&sql))),
        }
    }
    text
}

/// For people: the first of them.
fn first(targets: &[&Target]) -> String {
    let first = targets.first().map(|target| target.sql()).unwrap_or_default();
    match targets.len() {
        0 | 1 => first,
        more => format!("{first} and {} more", more - 1),
    }
}

fn names(privileges: PrivilegeSet) -> String {
    let names: Vec<&str> = privileges.iter().map(Privilege::as_str).collect();
    names.join(", ")
}

/// Types of arguments as the server lists them, each quoted unless it is a plain word or words with numbers in
/// parentheses (`character varying`, `numeric(10,2)`).
fn types(arguments: &str) -> String {
    let is_plain = |text: &str| {
        !text.is_empty()
            && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_ (),[]".contains(c))
    };
    let mut all = Vec::new();
    let (mut depth, mut current) = (0_u32, String::new());
    for c in arguments.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                all.push(std::mem::take(&mut current));
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    all.push(current);
    let quoted = all.iter().map(|one| one.trim()).filter(|one| !one.is_empty());
    let quoted: Vec<String> =
        quoted.map(|one| if is_plain(one) { one.to_owned() } else { identifier(one) }).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_in_lists() {
        let table = |name: &str| Target::of(ObjectKind::Table, "s", name, "");
        let (one, two) = (table("a"), table("b\"c"));
        let select = PrivilegeSet::from_iter([Privilege::Select]);
        let statement = grant(select, &[&one, &two], Grantee::Role("r"));
        assert_eq!(statement.sql, r#"GRANT SELECT ON TABLE "s"."a", "s"."b""c" TO ROLE "r""#);
        assert_eq!(statement.what, r#"granting SELECT on TABLE "s"."a" and 1 more to ROLE "r""#);
    }

    #[test]
    fn types_of_arguments_are_taken_as_they_are_or_quoted() {
        for (listed, sql) in [
            ("", ""),
            ("integer", "integer"),
            ("integer, character varying", "integer, character varying"),
            ("numeric(10,2),boolean", "numeric(10,2), boolean"),
            ("x\"; DROP USER y; --", "\"x\"\"; DROP USER y; --\""),
        ] {
            assert_eq!(types(listed), sql, "{listed}");
        }
    }
}
