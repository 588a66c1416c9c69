//! What all of Teleport's resources have in common.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::names::{self, Names};
use super::{Fields, Reporter};
use crate::input::Location;

/// The annotation in which Kubernetes' tools find an object's description.
const DESCRIPTION: &str = "kubernetes.io/description";

/// The kinds that have an equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Database,
    Role,
    ImportRule,
    User,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Database, Self::Role, Self::ImportRule, Self::User];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Database => "db",
            Self::Role => "role",
            Self::ImportRule => "db_object_import_rule",
            Self::User => "user",
        }
    }

    pub(super) fn versions(self) -> &'static [&'static str] {
        match self {
            Self::Database => &["v3"],
            Self::Role => &["v3", "v4", "v5", "v6", "v7", "v8", "v9"],
            Self::ImportRule => &["v1"],
            Self::User => &["v1", "v2"],
        }
    }
}

/// A resource whose kind is known; its spec is not read yet.
#[derive(Debug)]
pub(super) struct Resource<'a> {
    pub(super) kind: Kind,
    /// Teleport's name for it.
    pub(super) name: String,
    pub(super) version: Option<String>,
    pub(super) place: &'a Location,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) description: Option<String>,
    pub(super) metadata: Fields<'a>,
    pub(super) spec: Fields<'a>,
    /// What was found when it was read.
    pub(super) remarks: Vec<String>,
}

impl<'a> Resource<'a> {
    /// A database of an agent's configuration.
    pub(super) fn of_agent(
        place: &'a Location,
        name: String,
        labels: BTreeMap<String, String>,
        description: Option<String>,
        spec: Fields<'a>,
    ) -> Self {
        let metadata = Fields::none(place);
        let remarks = Vec::new();
        Self {
            kind: Kind::Database,
            name,
            version: None,
            place,
            labels,
            description,
            metadata,
            spec,
            remarks,
        }
    }

    /// Labels that are not bound by Kubernetes' limits, for the kind that has such.
    pub(super) fn take_labels(&mut self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.labels)
    }

    /// The object's name, labels and annotations.
    pub(super) fn object_metadata(&mut self, names: &mut Names, reporter: &mut Reporter<'_>) -> ObjectMeta {
        let name = names.name(self.kind.name(), &self.name);
        if name != self.name {
            let text = format!("Kubernetes does not take {:?} as a name; it is called {name}", self.name);
            match self.kind {
                // The name is what import rules write into labels.
                Kind::Database => reporter.lost(
                    "metadata.name",
                    format!("{text}, and so does {{{{obj.database_service_name}}}} read"),
                ),
                _ => reporter.note("metadata.name", text),
            }
        }
        let mut labels = BTreeMap::new();
        if self.kind != Kind::Database {
            for (key, value) in std::mem::take(&mut self.labels) {
                if names::is_label(&key, &value) {
                    labels.insert(key, value);
                } else {
                    reporter.lost(
                        "metadata.labels",
                        format!("Kubernetes does not take {key}={value} as a label"),
                    );
                }
            }
        }
        let annotations =
            self.description.take().map(|text| BTreeMap::from([(DESCRIPTION.to_owned(), text)]));
        ObjectMeta {
            name: Some(name),
            labels: Some(labels).filter(|labels| !labels.is_empty()),
            annotations,
            ..ObjectMeta::default()
        }
    }
}

/// Plain labels in a field: one text each.
pub(super) fn labels(fields: &mut Fields<'_>, key: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let Some(field) = fields.take(key) else { return Ok(BTreeMap::new()) };
    let path = field.path.clone();
    let place_of = field.clone();
    let mut labels = BTreeMap::new();
    for (key, mut values) in field.selector()? {
        match (values.len(), values.pop()) {
            (1, Some(value)) => labels.insert(key, value),
            (0, None) => labels.insert(key, String::new()),
            _ => return place_of.refuse(&format!("one text per label ({path}[{key:?}])")),
        };
    }
    Ok(labels)
}

/// Whether a guard is written in a way that leaves it off.
pub(super) fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => {
            matches!(
                text.to_ascii_lowercase().as_str(),
                "" | "off" | "no" | "false" | "optional" | "0" | "0s" | "never"
            )
        }
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}
