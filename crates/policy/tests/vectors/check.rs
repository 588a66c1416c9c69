//! Comparing what came out with what is expected.

use std::collections::BTreeMap;

use rolecall_policy::ObjectKind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// What came out of a case: every field that an expectation may have.
#[derive(Default)]
pub(crate) struct Actual {
    fields: BTreeMap<&'static str, Value>,
    sets: Vec<&'static str>,
    multisets: Vec<&'static str>,
    ignored: Vec<&'static str>,
}

impl Actual {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The input is refused.
    pub(crate) fn invalid() -> Self {
        Self::new().field("invalid", true)
    }

    /// A field that is compared as it is.
    pub(crate) fn field(mut self, name: &'static str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or_else(|error| panic!("{name}: {error}"));
        self.fields.insert(name, value);
        self
    }

    /// A field whose lists, at whatever depth, are compared without order and duplicates.
    pub(crate) fn set(mut self, name: &'static str, value: impl Serialize) -> Self {
        self.sets.push(name);
        self.field(name, value)
    }

    /// A field whose list is compared without order, but with duplicates.
    pub(crate) fn multiset(mut self, name: &'static str, value: impl Serialize) -> Self {
        self.multisets.push(name);
        self.field(name, value)
    }

    /// A field that is for readers.
    pub(crate) fn ignored(mut self, name: &'static str) -> Self {
        self.ignored.push(name);
        self
    }
}

/// A kind of object as written in a case; `None`: one that policy knows nothing of, so that nothing ever
/// matches it or applies to it.
pub(crate) fn known_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ObjectKind>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(ObjectKind::ALL.into_iter().find(|kind| kind.as_str() == text))
}

/// Reads a part of a case's input strictly.
pub(crate) fn read<T: DeserializeOwned>(input: Value) -> Result<T, String> {
    serde_json::from_value(input).map_err(|error| format!("cannot read the input: {error}"))
}

/// Whether every expected field came out as expected.
pub(crate) fn compare(
    expected: &BTreeMap<String, Value>,
    actual: Result<Actual, String>,
) -> Result<(), String> {
    let actual = actual?;
    if expected.is_empty() {
        return Err("nothing is expected".to_owned());
    }
    let mut differences = Vec::new();
    for (name, expected) in expected {
        if actual.ignored.contains(&name.as_str()) {
            continue;
        }
        let normal = |value: &Value| {
            if actual.sets.contains(&name.as_str()) {
                as_set(value)
            } else if actual.multisets.contains(&name.as_str()) {
                as_multiset(value)
            } else {
                value.clone()
            }
        };
        match actual.fields.get(name.as_str()) {
            Some(value) if normal(value) == normal(expected) => {}
            Some(value) => differences.push(format!("expected {name} {expected}, got {value}")),
            None => {
                let fields: Vec<String> = actual.fields.iter().map(|(k, v)| format!("{k} {v}")).collect();
                differences.push(format!("expected {name} {expected}, got {}", fields.join(", ")));
            }
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
}

fn as_set(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(as_set).collect();
            items.sort_by_key(ToString::to_string);
            items.dedup();
            Value::Array(items)
        }
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), as_set(value))).collect(),
        value => value.clone(),
    }
}

fn as_multiset(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Array(items) = &mut value {
        items.sort_by_key(ToString::to_string);
    }
    value
}
