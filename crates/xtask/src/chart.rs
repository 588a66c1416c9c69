//! What of the Helm chart is generated: the definitions and access rules that it installs, and from the comments in
//! `values.yaml` the schema of its values and their table in its README.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

const CHART: &str = "charts/rolecall";
const BEGIN: &str = "<!-- values: generated from values.yaml -->\n";
const END: &str = "<!-- end of values -->\n";

/// The chart's generated files, by their path from `root`. `generated`: the files that follow from the code.
///
/// # Errors
/// When a file of the chart cannot be read, or a value has no description.
pub(crate) fn files(root: &Path, generated: &[(PathBuf, String)]) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let read = |name: &str| {
        let path = root.join(CHART).join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let values = read("values.yaml")?;
    let described = describe(&values).context("values.yaml")?;
    let chart = Path::new(CHART);
    let mut files: Vec<(PathBuf, String)> = generated
        .iter()
        .filter_map(|(path, text)| {
            let name = path.strip_prefix("deploy").ok()?;
            Some((chart.join("files").join(name), text.clone()))
        })
        .collect();
    files.push((chart.join("values.schema.json"), format!("{:#}\n", schema(&described))));
    files.push((chart.join("README.md"), with_table(&read("README.md")?, &table(&described))?));
    Ok(files)
}

/// A value of the chart.
#[derive(Debug, PartialEq)]
struct Described {
    path: Vec<String>,
    default: Value,
    description: String,
    /// What the schema says beside the type of the default.
    schema: Map<String, Value>,
}

/// The values, in their order. One with a comment that begins with `--` is whole; one without holds others.
fn describe(text: &str) -> anyhow::Result<Vec<Described>> {
    let defaults: Value = serde_saphyr::from_str(text).context("it is no YAML")?;
    let mut described = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut parents: Vec<(usize, &str)> = Vec::new();
    let mut inside: Option<usize> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if trimmed.is_empty() {
            comment.clear();
            continue;
        }
        if inside.is_some_and(|of| indent > of || (indent == of && trimmed.starts_with("- "))) {
            continue;
        }
        inside = None;
        if let Some(words) = trimmed.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        let (key, rest) = trimmed.split_once(':').with_context(|| format!("no key in {line:?}"))?;
        parents.retain(|(of, _)| *of < indent);
        let path: Vec<String> =
            parents.iter().map(|(_, parent)| *parent).chain([key]).map(str::to_owned).collect();
        let (description, schema) = split_comment(&comment).with_context(|| path.join("."))?;
        comment.clear();
        if let Some(description) = description {
            let pointer = format!("/{}", path.join("/"));
            let default = defaults.pointer(&pointer).cloned().unwrap_or_default();
            described.push(Described { path, default, description, schema });
            inside = Some(indent);
        } else {
            ensure!(rest.trim().is_empty(), "{} has no description", path.join("."));
            parents.push((indent, key));
        }
    }
    Ok(described)
}

/// The description and the `@schema` of a comment.
fn split_comment(lines: &[&str]) -> anyhow::Result<(Option<String>, Map<String, Value>)> {
    let mut schema = Map::new();
    let mut words = Vec::new();
    for line in lines {
        match line.strip_prefix("@schema ") {
            Some(json) => schema = serde_json::from_str(json).context("its @schema is no JSON object")?,
            None => words.push(*line),
        }
    }
    let Some(start) = words.iter().position(|line| line.starts_with("-- ")) else {
        ensure!(schema.is_empty(), "a schema without a description");
        return Ok((None, schema));
    };
    let description = words[start..].join(" ");
    Ok((description.strip_prefix("-- ").map(str::to_owned), schema))
}

/// A JSON schema that knows every value and no other.
fn schema(values: &[Described]) -> Value {
    let mut root = object();
    for value in values {
        let mut place = &mut root;
        for key in &value.path[..value.path.len() - 1] {
            let properties = &mut place["properties"];
            if properties[key].is_null() {
                properties[key] = object();
            }
            place = &mut properties[key];
        }
        let Some(name) = value.path.last() else { continue };
        let mut leaf = json!({"description": value.description, "default": value.default});
        if let Some(kind) = kind(&value.default) {
            leaf["type"] = kind.into();
        }
        for (key, said) in &value.schema {
            leaf[key] = said.clone();
        }
        place["properties"][name] = leaf;
    }
    // Charts that this one is a part of have global values of their own.
    root["properties"]["global"]["additionalProperties"] = true.into();
    root["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    root["title"] = "Values of the chart rolecall".into();
    root
}

fn object() -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": {}})
}

/// The type of a default; `None` for null, whose type the comment has to say.
fn kind(default: &Value) -> Option<&'static str> {
    Some(match default {
        Value::Null => return None,
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    })
}

/// The values as a table in Markdown.
fn table(values: &[Described]) -> String {
    let mut table = "| value | default | |\n|---|---|---|\n".to_owned();
    for Described { path, default, description, .. } in values {
        let default = match default {
            Value::Null => String::new(),
            default => format!("`{default}`"),
        };
        let cells = [default, description.clone()].map(|cell| cell.replace('|', "\\|"));
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{}` | {} | {} |", path.join("."), cells[0], cells[1]);
    }
    table
}

/// The README with this table between its marks.
fn with_table(readme: &str, table: &str) -> anyhow::Result<String> {
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        bail!("README.md of the chart lacks the marks of the table of values");
    };
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &str = "# No description.\n\n# -- How many.\n# @schema {\"minimum\": 1}\ncount: 2\n# A group.\ngroup:\n  # -- What | it is\n  # called.\n  name: \"\"\n  # -- Many.\n  list:\n  - a: 1\n    b: 2\nlast:\n  # -- None.\n  # @schema {\"type\": \"string\"}\n  none: null\n";

    #[test]
    fn values_are_described_by_their_comments() {
        let values = describe(VALUES).unwrap();
        let paths: Vec<String> = values.iter().map(|value| value.path.join(".")).collect();
        assert_eq!(paths, ["count", "group.name", "group.list", "last.none"]);
        assert_eq!(values[1].description, "What | it is called.");
        assert_eq!(values[2].default, json!([{"a": 1, "b": 2}]));
        let table = table(&values);
        assert!(table.contains("| `group.name` | `\"\"` | What \\| it is called. |\n"), "{table}");
        assert!(table.contains("| `last.none` |  | None. |\n"), "{table}");
    }

    #[test]
    fn the_schema_knows_every_value_and_no_other() {
        let schema = schema(&describe(VALUES).unwrap());
        let count = json!({"type": "integer", "minimum": 1, "default": 2, "description": "How many."});
        assert_eq!(schema["properties"]["count"], count);
        let group = &schema["properties"]["group"];
        assert_eq!(group["additionalProperties"], false);
        assert_eq!(group["properties"]["list"]["type"], "array");
        assert_eq!(schema["properties"]["last"]["properties"]["none"]["type"], "string");
    }

    #[test]
    fn a_value_without_a_description_is_a_mistake() {
        let error = describe("group:\n  name: x\n").unwrap_err();
        assert_eq!(error.to_string(), "group.name has no description");
        assert!(describe("# @schema {\"minimum\": 1}\ncount: 2\n").is_err());
    }

    #[test]
    fn the_table_stands_between_its_marks() {
        let readme = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(with_table(&readme, "new\n").unwrap(), format!("a\n{BEGIN}new\n{END}b\n"));
        assert!(with_table("a\n", "new\n").is_err());
    }
}
