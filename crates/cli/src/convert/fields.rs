//! Fields of a document whose author had more than one way to write them.

use std::collections::BTreeMap;

use anyhow::bail;
use serde_json::Value;

use crate::input::Location;

/// The fields of a mapping. Each is taken once; what is left at the end was not known.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    place: &'a Location,
    path: String,
    entries: BTreeMap<&'a str, &'a Value>,
}

/// A field that is there and not null.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    place: &'a Location,
    /// Its path from the document's root.
    pub(super) path: String,
    /// Its value.
    pub(super) value: &'a Value,
}

impl<'a> Fields<'a> {
    /// The document's own fields.
    pub(super) fn of(value: &'a Value, place: &'a Location) -> anyhow::Result<Self> {
        Field { place, path: String::new(), value }.fields()
    }

    /// No fields.
    pub(super) fn none(place: &'a Location) -> Self {
        Self { place, path: String::new(), entries: BTreeMap::new() }
    }

    /// A field; `None` where it is missing or null, which mean the same.
    pub(super) fn take(&mut self, key: &str) -> Option<Field<'a>> {
        let value = self.entries.remove(key).filter(|value| !value.is_null())?;
        Some(Field { place: self.place, path: join(&self.path, key), value })
    }

    /// A field that is itself a mapping; without fields where it is missing.
    pub(super) fn fields(&mut self, key: &str) -> anyhow::Result<Self> {
        self.take(key).map_or_else(|| Ok(Self::none(self.place)), Field::fields)
    }

    /// A text; empty counts as missing.
    pub(super) fn text(&mut self, key: &str) -> anyhow::Result<Option<String>> {
        let text = self.take(key).map(|field| field.text()).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// A list of texts, or a single one; empty where it is missing.
    pub(super) fn texts(&mut self, key: &str) -> anyhow::Result<Vec<String>> {
        self.take(key).map_or_else(|| Ok(Vec::new()), |field| field.texts())
    }

    /// A truth value.
    pub(super) fn truth(&mut self, key: &str) -> anyhow::Result<Option<bool>> {
        self.take(key).map(|field| field.truth()).transpose()
    }

    /// What was not taken and is neither null nor empty.
    pub(super) fn rest(self) -> Vec<Field<'a>> {
        let says_nothing = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        let entries = self.entries.into_iter().filter(|(_, value)| !says_nothing(value));
        entries.map(|(key, value)| Field { place: self.place, path: join(&self.path, key), value }).collect()
    }
}

impl<'a> Field<'a> {
    /// As a mapping.
    pub(super) fn fields(self) -> anyhow::Result<Fields<'a>> {
        let Value::Object(entries) = self.value else { return self.refuse("a mapping") };
        let entries = entries.iter().map(|(key, value)| (key.as_str(), value)).collect();
        Ok(Fields { place: self.place, path: self.path, entries })
    }

    /// As a list; a single value is a list of itself.
    pub(super) fn items(self) -> Vec<Self> {
        let Field { place, path, value } = self;
        match value {
            Value::Array(items) => {
                let item = |(index, value)| Field { place, path: format!("{path}[{index}]"), value };
                items.iter().enumerate().map(item).collect()
            }
            _ => vec![Field { place, path, value }],
        }
    }

    /// As a text.
    pub(super) fn text(&self) -> anyhow::Result<String> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            _ => self.refuse("a text"),
        }
    }

    /// As a list of texts, or a single one.
    pub(super) fn texts(self) -> anyhow::Result<Vec<String>> {
        self.items().iter().map(Field::text).collect()
    }

    /// As a truth value, in one of the ways that Teleport reads.
    pub(super) fn truth(&self) -> anyhow::Result<bool> {
        match self.value {
            Value::Bool(truth) => Ok(*truth),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "y" | "1" => Ok(true),
                "false" | "no" | "off" | "n" | "0" | "" => Ok(false),
                _ => self.refuse("true or false"),
            },
            _ => self.refuse("true or false"),
        }
    }

    /// As labels to patterns, each a text or a list of texts.
    pub(super) fn selector(self) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
        let Fields { place, path, entries } = self.fields()?;
        let entry = |(key, value): (&str, &Value)| {
            let field = Field { place, path: format!("{path}[{key:?}]"), value };
            let values = if value.is_null() { Vec::new() } else { field.texts()? };
            Ok((key.to_owned(), values))
        };
        entries.into_iter().map(entry).collect()
    }

    /// Fails with what is expected here.
    pub(super) fn refuse<T>(&self, expected: &str) -> anyhow::Result<T> {
        let found = match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false (YAML reads unquoted on, off, yes and no as such)",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "a mapping",
        };
        let field = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        bail!("{}: {field}expected {expected}, found {found}", self.place)
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
