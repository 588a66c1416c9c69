//! Teleport's YAML to Rolecall's kinds.
//!
//! What cannot be carried over is listed with the reason. A label expression that cannot be carried over selects no
//! database in allow and every database in deny, so that a conversion never grants more.

mod admission;
mod agent;
mod custom;
mod database;
mod dispatch;
mod expression;
mod fields;
mod import_rule;
mod names;
mod report;
mod resource;
mod role;
mod user;

use anyhow::{Context, bail};
use rolecall_api::{DatabaseAdmin, DatabaseUser, DbObjectImportRule, ProvisioningRole};
use serde::Serialize;
use serde_json::Value;

pub use report::{Finding, Report};

use crate::Exit;
use crate::args::{ConvertArgs, Global};
use crate::input::{Document, documents, kustomizations};
use crate::output::{self, Output, colour};
use crate::table::Table;
use admission::Definitions;
use fields::Fields;
use names::Names;
use report::Reporter;
use resource::Resource;

/// An object of ours.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Object {
    /// A database server.
    Database(Box<DatabaseAdmin>),
    /// A role.
    Role(Box<ProvisioningRole>),
    /// An import rule.
    ImportRule(Box<DbObjectImportRule>),
    /// A user.
    User(Box<DatabaseUser>),
    /// What a database needs beside it: a Secret with the authorities that its certificate is checked against.
    Secret(Box<k8s_openapi::api::core::v1::Secret>),
}

/// The command.
///
/// # Errors
///
/// A file that cannot be read, a resource that Teleport would not take either.
pub fn run(global: &Global, args: &ConvertArgs) -> anyhow::Result<Exit> {
    for left_out in kustomizations(&args.files) {
        output::say(format_args!("note: {left_out}"));
    }
    let (mut objects, report) = convert(&documents(&args.files)?)?;
    if let Some(namespace) = &global.namespace {
        objects.iter_mut().for_each(|object| object.set_namespace(namespace));
    }
    output::print(&render(&objects, global.output.unwrap_or(Output::Yaml), colour())?)?;
    for note in &report.notes {
        output::say(format_args!("note: {note}"));
    }
    for lost in &report.lost {
        output::say(format_args!("not carried over: {lost}"));
    }
    let severity = if args.strict { "error" } else { "warning" };
    for refused in &report.refused {
        output::say(format_args!("{severity}: the cluster would refuse {refused}"));
    }
    let complete = report.lost.is_empty() && report.refused.is_empty();
    Ok(if args.strict && !complete { Exit::Refused } else { Exit::Done })
}

/// Converts documents, in their order.
///
/// # Errors
///
/// What Teleport would not accept either, and files that contain nothing of Teleport's.
pub fn convert(documents: &[Document]) -> anyhow::Result<(Vec<Object>, Report)> {
    let mut report = Report::default();
    let mut names = Names::default();
    let mut resources = Vec::new();
    let documents = custom::unfold(documents);
    for document in documents.iter().filter(|document| !document.value.is_null()) {
        resources.extend(dispatch::read(document, &mut report)?);
    }
    if resources.is_empty() && report.lost.is_empty() {
        match report.notes.first() {
            // Nothing but objects of others.
            Some(note) => bail!("there is nothing to convert: {note}"),
            None => bail!("there is nothing to convert: the files contain no documents"),
        }
    }
    // All names first, since users name roles that come later; and before all, those that can stay.
    for stays in [true, false] {
        for resource in resources.iter().filter(|resource| names::is_name(&resource.name) == stays) {
            names.name(resource.kind.name(), &resource.name);
        }
    }
    let mut definitions = Definitions::new()?;
    let mut objects = Vec::new();
    for resource in resources {
        let (place, source) = (resource.place, format!("{} {}", resource.kind.name(), resource.name));
        let converted = dispatch::convert(resource, &mut names, &mut report)?;
        let mut reporter = Reporter { place, resource: source, report: &mut report };
        for object in &converted {
            // With all fields, as the cluster reads it once it has filled in what is not written.
            let value = serde_json::to_value(object).context("writing an object")?;
            for refusal in definitions.refusals(&value) {
                reporter.refused(refusal.field, refusal.why);
            }
        }
        objects.extend(converted);
    }
    Ok((objects, report))
}

/// The objects as YAML documents, as a JSON list, or as a table of their names.
///
/// # Errors
///
/// An object that cannot be written, which none is.
pub fn render(objects: &[Object], output: Output, colour: bool) -> anyhow::Result<String> {
    let values: Vec<Value> = objects.iter().map(Object::manifest).collect::<Result<_, _>>()?;
    match output {
        // The others are those of one command each.
        Output::Yaml | Output::Markdown | Output::Csv | Output::Html => {
            let mut text = String::new();
            for (index, value) in values.iter().enumerate() {
                text.push_str(if index > 0 { "---\n" } else { "" });
                text.push_str(&serde_saphyr::to_string(value).context("writing YAML")?);
            }
            Ok(text)
        }
        Output::Json => {
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": values});
            output::render(&list, Output::Json, String::new)
        }
        Output::Table | Output::Wide => {
            let mut table = Table::new(&["KIND", "NAME"]);
            for value in &values {
                let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                table.row([text("/kind").into(), text("/metadata/name").into()]);
            }
            Ok(table.render(colour))
        }
    }
}

impl Object {
    fn set_namespace(&mut self, namespace: &str) {
        let metadata = match self {
            Self::Database(object) => &mut object.metadata,
            Self::Role(object) => &mut object.metadata,
            Self::ImportRule(object) => &mut object.metadata,
            Self::User(object) => &mut object.metadata,
            Self::Secret(object) => &mut object.metadata,
        };
        metadata.namespace = Some(namespace.to_owned());
    }

    /// The object without the fields that say what is so anyway.
    fn manifest(&self) -> anyhow::Result<Value> {
        let mut value = serde_json::to_value(self).context("writing an object")?;
        let defaults = match self {
            Self::Database(_) => database::defaults()?,
            Self::User(_) => serde_json::json!({"suspend": false}),
            Self::ImportRule(_) => serde_json::json!({"priority": 0}),
            Self::Role(_) | Self::Secret(_) => Value::Null,
        };
        if let (Some(Value::Object(spec)), Value::Object(defaults)) = (value.get_mut("spec"), defaults) {
            spec.retain(|key, value| defaults.get(key) != Some(value));
        }
        Ok(value)
    }
}
