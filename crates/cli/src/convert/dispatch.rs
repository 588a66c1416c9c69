//! From a document to the resources in it, and from a resource to objects, whatever its kind.

use anyhow::bail;

use super::names::Names;
use super::resource::{Kind, Resource, labels};
use super::{Fields, Object, Report, Reporter, agent, custom, database, import_rule, role, user};
use crate::input::{Document, Location};

/// The message for an object that is not one of Teleport's.
const NOT_TELEPORT: &str = "it is not Teleport's and is left out; what is Kubernetes' needs no conversion";

/// The resources in a document: one, or those of an agent's configuration. None: they are reported.
///
/// # Errors
///
/// What is not a resource, or one of an unknown version.
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

/// Converts a resource.
///
/// # Errors
///
/// A field with an unexpected value.
pub(super) fn convert(
    mut resource: Resource<'_>,
    names: &mut Names,
    report: &mut Report,
) -> anyhow::Result<Vec<Object>> {
    let shown = format!("{} {}", resource.kind.name(), resource.name);
    let mut reporter = Reporter { place: resource.place, resource: shown, report };
    for remark in std::mem::take(&mut resource.remarks) {
        reporter.note("", remark);
    }
    if resource.metadata.take("expires").is_some() {
        reporter.lost("metadata.expires", "objects do not expire; delete it in time");
    }
    let metadata = resource.object_metadata(names, &mut reporter);
    match resource.kind {
        Kind::Database => database::convert(resource, metadata, &mut reporter),
        Kind::Role => role::convert(resource, metadata, &mut reporter),
        Kind::ImportRule => import_rule::convert(resource, metadata, &mut reporter),
        Kind::User => user::convert(resource, metadata, names, &mut reporter),
    }
}

/// A name for what has none: that of its file.
fn invented_name(place: &Location) -> String {
    let file = std::path::Path::new(&place.file);
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("unnamed").replace(' ', "-");
    if place.document > 1 { format!("{stem}-{}", place.document) } else { stem }
}
