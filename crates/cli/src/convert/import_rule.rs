//! Import rules.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rolecall_api::{
    DbObjectImportRule, DbObjectImportRuleSpec, ImportMapping, ObjectMatch, ObjectScope, Selector,
};
use rolecall_policy::ImportRule;
use rolecall_resolve::rule_spec;
use serde_json::Value;

use super::fields::Field;
use super::{Object, Reporter, Resource};

/// Converts an import rule.
///
/// # Errors
///
/// A field with an unexpected value.
pub(super) fn convert(
    mut resource: Resource<'_>,
    metadata: ObjectMeta,
    reporter: &mut Reporter<'_>,
) -> anyhow::Result<Vec<Object>> {
    let priority = match resource.spec.take("priority") {
        None => 0,
        Some(field) => match field.value.as_i64() {
            Some(priority) => priority,
            None => return field.refuse("a whole number"),
        },
    };
    let database_labels = database_labels(resource.spec.take("database_labels"), reporter)?;
    let mut mappings = Vec::new();
    for field in resource.spec.take("mappings").into_iter().flat_map(Field::items) {
        mappings.push(mapping(field, reporter)?);
    }
    for field in resource.spec.rest() {
        reporter.lost(field.path, "there is no such field in an import rule");
    }
    let spec = DbObjectImportRuleSpec { priority, database_labels, mappings };
    let name = metadata.name.clone().unwrap_or_default();
    if let Err(faults) = ImportRule::compile(&name, &rule_spec(&spec)) {
        for fault in faults {
            reporter.lost("", format!("the DbObjectImportRule is not valid until this is fixed: {fault}"));
        }
    }
    Ok(vec![Object::ImportRule(Box::new(DbObjectImportRule { metadata, spec, status: None }))])
}

/// A list of `{name, values}` as a selector. All of them must match, and one without a name never does.
fn database_labels(field: Option<Field<'_>>, reporter: &mut Reporter<'_>) -> anyhow::Result<Selector> {
    let mut selector = Selector::new();
    let mut none = false;
    let Some(field) = field else {
        reporter
            .lost("spec.database_labels", "Teleport refuses a rule without it; this one selects no database");
        return Ok(selector);
    };
    for field in field.items() {
        let path = field.path.clone();
        let mut label = field.fields()?;
        let name = label.text("name")?;
        let values = label.texts("values")?;
        for field in label.rest() {
            reporter.lost(field.path, "a label has a name and values");
        }
        let Some(name) = name else {
            none = true;
            continue;
        };
        if selector.insert(name.clone(), values).is_some() {
            reporter.lost(path, format!("the label {name} is there twice; the later values are used"));
        }
    }
    Ok(if none { Selector::new() } else { selector })
}

fn mapping(field: Field<'_>, reporter: &mut Reporter<'_>) -> anyhow::Result<ImportMapping> {
    let mut fields = field.fields()?;
    let mut matching = fields.fields("match")?;
    let mut scope = fields.fields("scope")?;
    let mapping = ImportMapping {
        matching: ObjectMatch {
            table_names: matching.texts("table_names")?,
            view_names: matching.texts("view_names")?,
            procedure_names: matching.texts("procedure_names")?,
            ..ObjectMatch::default()
        },
        scope: ObjectScope {
            database_names: scope.texts("database_names")?,
            schema_names: scope.texts("schema_names")?,
        },
        add_labels: add_labels(fields.take("add_labels"))?,
    };
    for fields in [matching, scope, fields] {
        for field in fields.rest() {
            reporter.lost(field.path, "there is no such field in a mapping");
        }
    }
    Ok(mapping)
}

fn add_labels(field: Option<Field<'_>>) -> anyhow::Result<BTreeMap<String, String>> {
    let Some(field) = field else { return Ok(BTreeMap::new()) };
    let Value::Object(entries) = field.value else { return field.refuse("a mapping") };
    let mut labels = BTreeMap::new();
    for (key, value) in entries {
        let Value::String(text) = value else {
            return field.refuse(&format!("one text per label ({key:?})"));
        };
        labels.insert(key.clone(), text.clone());
    }
    Ok(labels)
}
