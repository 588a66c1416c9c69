//! Files of database objects, for which permissions are shown.
//!
//! Three forms:
//! - YAML or JSON: a list of `{kind, database, schema, name}`, or several documents, one object each;
//! - CSV: lines `kind,database,schema,name`, with or without a line of these headings; a field may be in double
//!   quotes, in which two double quotes are one;
//! - what a MongoDB database has: `{kind: collection, database, name}` without a schema.

use std::path::Path;

use anyhow::{anyhow, bail};
use rolecall_policy::{DbObject, ObjectKind};
use serde::Deserialize;

use super::yaml;

/// The objects in a file; `-` is standard input.
///
/// # Errors
///
/// A file that cannot be read, a line that is not an object.
pub fn read(path: &Path) -> anyhow::Result<Vec<DbObject>> {
    parse(&yaml::read_text(path)?, &path.display().to_string())
}

/// The objects in a text: CSV if the first line looks like it, else YAML or JSON.
///
/// # Errors
///
/// The line or document that is not an object.
pub fn parse(text: &str, file: &str) -> anyhow::Result<Vec<DbObject>> {
    let first =
        text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
    if fields(first)
        .is_some_and(|fields| fields.len() == 4 && (is_heading(&fields) || kind(&fields[0]).is_some()))
    {
        return csv(text, file);
    }
    let mut objects = Vec::new();
    for (index, document) in yaml::parse(text, file)?.into_iter().enumerate() {
        let at = format!("{file}, object {}", index + 1);
        let entry: Entry =
            serde_path_to_error::deserialize(&document.value).map_err(|error| anyhow!("{at}: {error}"))?;
        let Entry { kind, database, schema, name } = entry;
        // A schema lies in itself.
        let schema =
            schema.unwrap_or_else(|| if kind == ObjectKind::Schema { name.clone() } else { String::new() });
        objects.push(DbObject::new(kind, database, schema, name));
    }
    Ok(objects)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: ObjectKind,
    database: String,
    schema: Option<String>,
    name: String,
}

fn csv(text: &str, file: &str) -> anyhow::Result<Vec<DbObject>> {
    let mut objects = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let at = format!("{file}, line {}", index + 1);
        let Some(fields) = fields(line) else { bail!("{at}: a double quote is not closed") };
        if objects.is_empty() && is_heading(&fields) {
            continue;
        }
        let [kind_name, database, schema, name] = fields.as_slice() else {
            bail!("{at}: {} fields; there are four: kind,database,schema,name", fields.len());
        };
        let Some(kind) = kind(kind_name) else {
            let kinds: Vec<_> = ObjectKind::ALL.iter().map(|kind| kind.as_str()).collect();
            bail!("{at}: {kind_name:?} is no kind; there are {}", kinds.join(", "));
        };
        objects.push(DbObject::new(kind, database.as_str(), schema.as_str(), name.as_str()));
    }
    Ok(objects)
}

fn kind(name: &str) -> Option<ObjectKind> {
    ObjectKind::ALL.into_iter().find(|kind| kind.as_str() == name)
}

fn is_heading(fields: &[String]) -> bool {
    fields.first().is_some_and(|first| first == "kind")
}

/// The fields of a line; `None` where a quote is not closed.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        let field = fields.last_mut()?;
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            _ => field.push(c),
        }
    }
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_say_the_same() {
        let yaml = "- {kind: table, database: app, schema: 'a,b', name: 'q\"t'}\n- {kind: schema, database: app, name: hr}\n";
        let csv =
            "kind,database,schema,name\ntable,app,\"a,b\",\"q\"\"t\"\n\n# a comment\nschema,app,hr,hr\n";
        let json = "[{\"kind\":\"table\",\"database\":\"app\",\"schema\":\"a,b\",\"name\":\"q\\\"t\"},\
                    {\"kind\":\"schema\",\"database\":\"app\",\"name\":\"hr\"}]";
        let read = parse(yaml, "f").expect("reads");
        assert_eq!(read.len(), 2);
        assert_eq!(parse(csv, "f").expect("reads"), read);
        assert_eq!(parse(json, "f").expect("reads"), read);
    }

    #[test]
    fn faults_name_the_line() {
        for (text, expected) in [
            (
                "table,app,public,t\ntable,app,t",
                "f, line 2: 3 fields; there are four: kind,database,schema,name",
            ),
            ("table,app,public,t\ntable,app,public,\"t", "f, line 2: a double quote is not closed"),
            (
                "kind,database,schema,name\ntabel,app,public,t",
                "f, line 2: \"tabel\" is no kind; there are table, view, materialized_view, foreign_table, sequence, \
                 function, procedure, schema, collection",
            ),
            ("- {kind: table, database: app}", "f, object 1: missing field `name`"),
        ] {
            assert_eq!(parse(text, "f").expect_err("refused").to_string(), expected);
        }
        let message = parse("- {kind: tabel, database: app, name: t}", "f").expect_err("refused").to_string();
        assert!(
            message.starts_with("f, object 1: kind: unknown variant `tabel`, expected one of `table`"),
            "{message}"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in "[a\",#\n ]{0,20}") {
            let _ = parse(&format!("table,a,b,c\n{line}"), "f");
        }
    }
}
