//! What all of Teleport's resources have in common.

use std::collections::BTreeMap;

use anyhow::bail;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{
    Fields, Names, Object, Report, Reporter, agent, custom, database, import_rule, names, role, user,
};
use crate::input::{Document, Place};

/// Where Kubernetes' tools look for what an object is for.
const DESCRIPTION: &str = "kubernetes.io/description";

/// Said of an object that is none of Teleport's.
pub(super) const NOT_TELEPORT: &str =
    "it is not Teleport's and is left out; what is Kubernetes' needs no conversion";

/// The kinds that have an equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Database,
    Role,
    ImportRule,
    User,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Database, Self::Role, Self::ImportRule, Self::User];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Database => "db",
            Self::Role => "role",
            Self::ImportRule => "db_object_import_rule",
            Self::User => "user",
        }
    }

    fn versions(self) -> &'static [&'static str] {
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
    pub(super) place: &'a Place,
    labels: BTreeMap<String, String>,
    description: Option<String>,
    metadata: Fields<'a>,
    pub(super) spec: Fields<'a>,
    /// What was found when it was read.
    remarks: Vec<String>,
}

/// The resources that a document holds: one, or those of an agent's configuration. None: they are reported.
///
/// # Errors
///
/// What is no resource, or one of a version that is not known.
pub(super) fn read<'a>(document: &'a Document, report: &mut Report) -> anyhow::Result<Vec<Resource<'a>>> {
    let place = &document.place;
    let mut fields = Fields::of(&document.value, place)?;
    let kind = fields.text("kind")?;
    if kind.is_none() && document.value.get("db_service").is_some() {
        return agent::read(fields, place, report);
    }
    let mut remarks = Vec::new();
    let api_version = fields.text("apiVersion")?;
    let custom = custom::read(api_version.as_deref(), kind.as_deref());
    let kind = match kind {
        Some(kind) => custom.as_ref().map_or(kind, |custom| custom.kind.to_owned()),
        None if ["allow", "deny", "options"]
            .iter()
            .any(|side| document.value.pointer(&format!("/spec/{side}")).is_some()) =>
        {
            remarks.push("no kind is written; it is read as a role".to_owned());
            "role".to_owned()
        }
        None => bail!("{place}: no kind is written; Teleport's are db, role, db_object_import_rule and user"),
    };
    let Some(kind) = Kind::ALL.into_iter().find(|known| known.name() == kind) else {
        let mut reporter = Reporter { place, resource: kind.clone(), report };
        if api_version.as_deref().is_some_and(|version| !custom::is_group(version)) {
            reporter.note("", NOT_TELEPORT);
            return Ok(Vec::new());
        }
        reporter.lost("", "only db, role, db_object_import_rule and user have an equal");
        return Ok(Vec::new());
    };
    let version = match &custom {
        Some(custom) => Some(custom.version.clone()),
        None => fields.text("version")?,
    };
    if let Some(version) = version.as_deref().filter(|version| !kind.versions().contains(version)) {
        let known = kind.versions().join(", ");
        bail!("{place}: version: {version} of kind {} is not known; there are {known}", kind.name());
    }
    let mut metadata = fields.fields("metadata")?;
    let name = match metadata.text("name")? {
        Some(name) => name,
        None => {
            let name = invented_name(place);
            remarks.push(format!("no metadata.name is written; it is called {name}"));
            name
        }
    };
    let labels = labels(&mut metadata, "labels")?;
    let description = match custom {
        Some(_) => metadata.fields("annotations")?.text("description")?,
        None => metadata.text("description")?,
    };
    let spec = fields.fields("spec")?;
    Ok(vec![Resource { kind, name, version, place, labels, description, metadata, spec, remarks }])
}

impl<'a> Resource<'a> {
    /// A database of an agent's configuration.
    pub(super) fn of_agent(
        place: &'a Place,
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

    /// Converts it.
    ///
    /// # Errors
    ///
    /// A field that does not hold what it should.
    pub(super) fn convert(mut self, names: &mut Names, report: &mut Report) -> anyhow::Result<Vec<Object>> {
        let resource = format!("{} {}", self.kind.name(), self.name);
        let mut reporter = Reporter { place: self.place, resource, report };
        for remark in std::mem::take(&mut self.remarks) {
            reporter.note("", remark);
        }
        if self.metadata.take("expires").is_some() {
            reporter.lost("metadata.expires", "objects do not expire; delete it in time");
        }
        let metadata = self.metadata(names, &mut reporter);
        match self.kind {
            Kind::Database => database::convert(self, metadata, &mut reporter),
            Kind::Role => role::convert(self, metadata, &mut reporter),
            Kind::ImportRule => import_rule::convert(self, metadata, &mut reporter),
            Kind::User => user::convert(self, metadata, names, &mut reporter),
        }
    }

    /// Labels that are not bound by Kubernetes' limits, for the kind that has such.
    pub(super) fn take_labels(&mut self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.labels)
    }

    fn metadata(&mut self, names: &mut Names, reporter: &mut Reporter<'_>) -> ObjectMeta {
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

/// A name for what has none: that of its file.
fn invented_name(place: &Place) -> String {
    let file = std::path::Path::new(&place.file);
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("unnamed").replace(' ', "-");
    if place.document > 1 { format!("{stem}-{}", place.document) } else { stem }
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
