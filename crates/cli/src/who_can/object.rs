//! The object asked about.

use anyhow::{anyhow, bail};
use rolecall_policy::{DbObject, ObjectKind, Protocol};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

/// The kinds, as they are written.
const KINDS: [&str; 9] = [
    "table",
    "view",
    "materialized_view",
    "foreign_table",
    "sequence",
    "function",
    "procedure",
    "schema",
    "collection",
];

/// Reads `[DATABASE.]SCHEMA.NAME`, on MongoDB `[DATABASE.]COLLECTION`.
///
/// # Errors
///
/// What is missing, and how to write it.
pub(super) fn read(
    text: &str,
    kind: Option<&str>,
    database_name: Option<&str>,
    protocol: Protocol,
) -> anyhow::Result<DbObject> {
    let default = if protocol == Protocol::Mongodb { "collection" } else { "table" };
    let kind = kind_called(kind.unwrap_or(default))?;
    let parts = parts(text)?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let object = |database: &str, schema: &str, name: &str| DbObject::new(kind, database, schema, name);
    Ok(match (kind, database_name, parts.as_slice()) {
        (ObjectKind::Schema, Some(database), [name]) => object(database, name, name),
        (ObjectKind::Schema, None, [database, name]) => object(database, name, name),
        (ObjectKind::Schema, ..) => {
            bail!("{text:?} is no schema; write DATABASE.NAME, or NAME with --db-name")
        }
        // A collection's name may have dots.
        (ObjectKind::Collection, Some(database), _) => object(database, "", text),
        (ObjectKind::Collection, None, _) => match text.split_once('.') {
            Some((database, name)) => object(database, "", name),
            None => {
                bail!("{text:?} names no database; write DATABASE.COLLECTION, or COLLECTION with --db-name")
            }
        },
        (_, Some(database), [schema, name]) => object(database, schema, name),
        (_, None, [database, schema, name]) => object(database, schema, name),
        (_, Some(named), [database, schema, name]) if named == *database => object(database, schema, name),
        _ => bail!("{text:?} is no {kind}; write DATABASE.SCHEMA.NAME, or SCHEMA.NAME with --db-name"),
    })
}

fn kind_called(text: &str) -> anyhow::Result<ObjectKind> {
    let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
    ObjectKind::deserialize(deserializer).map_err(|_| {
        let likely = KINDS
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a, text).total_cmp(&strsim::jaro_winkler(b, text)));
        let likely = likely.map(|kind| format!("; did you mean {kind}?")).unwrap_or_default();
        anyhow!("{text:?} is no kind of object{likely} There are {}", KINDS.join(", "))
    })
}

/// The parts between dots. In double quotes a dot is one of the name, and two double quotes are one.
fn parts(text: &str) -> anyhow::Result<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(part) = parts.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c => part.push(c),
        }
    }
    if quoted {
        bail!("{text:?}: a double quote is not closed");
    }
    if parts.iter().any(String::is_empty) {
        bail!("{text:?}: a part of the name is empty");
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, kind: Option<&str>, database: Option<&str>, protocol: Protocol) -> String {
        match super::read(text, kind, database, protocol) {
            Ok(object) => format!("{} {} {} {}", object.kind, object.database, object.schema, object.name),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_name_says_where_the_object_is() {
        let postgres = Protocol::Postgres;
        assert_eq!(read("app.hr.t", None, None, postgres), "table app hr t");
        assert_eq!(read("hr.t", Some("view"), Some("app"), postgres), "view app hr t");
        assert_eq!(read("app.hr.t", None, Some("app"), postgres), "table app hr t");
        assert_eq!(read("app.\"h.r\".\"q\"\"t\"", None, None, postgres), "table app h.r q\"t");
        assert_eq!(read("app.hr", Some("schema"), None, postgres), "schema app hr hr");
        assert_eq!(read("app.a.b", None, None, Protocol::Mongodb), "collection app  a.b");
        assert_eq!(read("a.b", None, Some("app"), Protocol::Mongodb), "collection app  a.b");
    }

    #[test]
    fn what_is_missing_is_said() {
        let postgres = Protocol::Postgres;
        assert!(read("t", None, None, postgres).contains("write DATABASE.SCHEMA.NAME"));
        assert!(read("t", None, Some("app"), postgres).contains("SCHEMA.NAME with --db-name"));
        assert!(read("app.\"hr.t", None, None, postgres).contains("is not closed"));
        assert!(read("a..b", None, None, postgres).contains("is empty"));
        assert!(read("app.hr.t", Some("tabel"), None, postgres).contains("did you mean table?"));
        assert!(read("orders", None, None, Protocol::Mongodb).contains("write DATABASE.COLLECTION"));
    }
}
