//! Kinds that check import rules.

use std::sync::Arc;

use rolecall_policy::spec::{ImportRuleSpec, Labels, MappingSpec, MatchSpec, ScopeSpec, SelectorSpec};
use rolecall_policy::{Database, DbObject, ImportRule, ImportRules, ObjectKind, Protocol, label_objects};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::check::{Actual, known_kind, read};

/// An import rule with its name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NamedRule {
    name: String,
    #[serde(default)]
    priority: i64,
    database_labels: Option<SelectorSpec>,
    #[serde(default)]
    mappings: Vec<MappingSpec>,
}

/// The rules as stored, valid or not.
pub(crate) fn compile(rules: Vec<NamedRule>) -> Vec<Arc<ImportRule>> {
    let read = |rule: NamedRule| {
        let spec = ImportRuleSpec {
            priority: rule.priority,
            database_labels: rule.database_labels,
            mappings: rule.mappings,
        };
        Arc::new(ImportRule::read(&rule.name, &spec))
    };
    rules.into_iter().map(read).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelsOnly {
    labels: Labels,
}

fn database(labels: Labels) -> Database {
    Database { name: String::new(), protocol: Protocol::Postgres, labels }
}

/// Whether a rule with this mapping alone imports the object.
fn imports(mapping: MappingSpec, object: DbObject) -> bool {
    let everything = [("*".to_owned(), vec!["*".to_owned()])].into();
    let spec = ImportRuleSpec { database_labels: Some(everything), mappings: vec![mapping], priority: 0 };
    let rules = ImportRules::new([Arc::new(ImportRule::read("rule", &spec))]);
    label_objects(&rules, &database(Labels::new()), vec![object].into()).imported() == 1
}

pub(crate) fn object_match(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        #[serde(rename = "match")]
        matching: MatchSpec,
        object: Object,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Object {
        #[serde(deserialize_with = "known_kind")]
        kind: Option<ObjectKind>,
        name: String,
    }
    let input: Input = read(input)?;
    let mapping = MappingSpec { matching: input.matching, ..MappingSpec::default() };
    let object = input.object.kind.map(|kind| DbObject::new(kind, "app", "public", input.object.name));
    Ok(Actual::new().field("match", object.is_some_and(|object| imports(mapping, object))))
}

pub(crate) fn scope_match(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        scope: ScopeSpec,
        object: Object,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Object {
        #[serde(default)]
        database: String,
        #[serde(default)]
        schema: String,
    }
    let input: Input = read(input)?;
    let matching = MatchSpec { table_names: vec!["*".to_owned()], ..MatchSpec::default() };
    let mapping = MappingSpec { matching, scope: input.scope, ..MappingSpec::default() };
    let object = DbObject::new(ObjectKind::Table, input.object.database, input.object.schema, "t");
    Ok(Actual::new().field("match", imports(mapping, object)))
}

pub(crate) fn filter(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        rules: Vec<NamedRule>,
        database: LabelsOnly,
    }
    let input: Input = read(input)?;
    let rules = ImportRules::new(compile(input.rules));
    let applicable = rules.applicable(&database(input.database.labels));
    let names: Vec<&str> = applicable.iter().map(|rule| rule.name()).collect();
    Ok(Actual::new().field("applicable", names))
}

pub(crate) fn dbname_filter(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Input {
        rules: Vec<NamedRule>,
        database: LabelsOnly,
        database_name: String,
    }
    let input: Input = read(input)?;
    let rules = ImportRules::new(compile(input.rules));
    let accept = rules.accepts_database_name(&database(input.database.labels), &input.database_name);
    Ok(Actual::new().field("accept", accept))
}

pub(crate) fn labelling(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        rules: Vec<NamedRule>,
        database: LabelsOnly,
        objects: Vec<Object>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Object {
        #[serde(deserialize_with = "known_kind")]
        kind: Option<ObjectKind>,
        name: String,
        #[serde(default)]
        schema: String,
        protocol: Protocol,
        #[serde(default)]
        database_service_name: String,
        #[serde(default)]
        database: String,
    }
    let input: Input = read(input)?;
    let rules = ImportRules::new(compile(input.rules));
    let mut imported = Vec::new();
    for object in input.objects {
        let Some(kind) = object.kind else { continue };
        let database = Database {
            name: object.database_service_name,
            protocol: object.protocol,
            labels: input.database.labels.clone(),
        };
        let (schema, name) = (object.schema.clone(), object.name.clone());
        let object = DbObject::new(kind, object.database, object.schema, object.name);
        if let Some(labels) = label_objects(&rules, &database, vec![object].into()).labels(0) {
            imported.push(json!({"schema": schema, "name": name, "labels": labels}));
        }
    }
    Ok(Actual::new().set("objects", imported))
}
