//! The values: each is used, and each that is used exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use crate::render::chart;

fn templates(dir: &Path, text: &mut String) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        if entry.path().is_dir() {
            templates(&entry.path(), text);
        } else {
            text.push_str(&fs::read_to_string(entry.path()).expect("a template"));
        }
    }
}

/// The paths of the values that the schema describes.
fn described(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().expect("properties") {
        let path = format!("{path}.{name}");
        if property["properties"].is_object() {
            described(property, &path, found);
        } else {
            found.insert(path);
        }
    }
}

#[test]
fn every_value_is_used_and_every_used_one_exists() {
    let mut text = String::new();
    templates(&chart().join("templates"), &mut text);
    let schema = fs::read_to_string(chart().join("values.schema.json")).expect("a schema");
    let mut known = BTreeSet::new();
    described(&serde_json::from_str(&schema).expect("JSON"), "", &mut known);

    let used = Regex::new(r"\.Values((?:\.[A-Za-z]+)+)").expect("an expression");
    let used: BTreeSet<&str> =
        used.captures_iter(&text).filter_map(|found| Some(found.get(1)?.as_str())).collect();
    let below = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    for path in &used {
        // A template may take a whole group, or a part of a value that is free in form.
        assert!(
            known.iter().any(|value| below(path, value) || below(value, path)),
            ".Values{path} does not exist"
        );
    }
    for value in &known {
        let name = value.rsplit('.').next().unwrap_or(value);
        let whole = used.contains(value.as_str());
        let by_group = used.iter().any(|path| below(path, value) && *path != value);
        let by_name = Regex::new(&format!(r"(\s|\()(\.|\$values\.|\$policy\.[a-zA-Z]*\.?){name}\b"))
            .expect("an expression");
        assert!(whole || (by_group && by_name.is_match(&text)), "{value} is used nowhere");
    }
}
