//! `DbObjectImportRule`: which objects exist for permissions, and their labels.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{Selector, rules, schema};

/// Which objects are imported, and with which labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "rolecall.dev",
    version = "v1alpha1",
    kind = "DbObjectImportRule",
    plural = "dbobjectimportrules",
    shortname = "doir",
    category = "rolecall",
    namespaced,
    status = "DbObjectImportRuleStatus",
    derive = "PartialEq",
    doc = "A DbObjectImportRule says which objects of a database (tables, views, schemas ...) exist for \
           object permissions, and gives them labels. Where a namespace has no rule, every object is imported with \
           the labels protocol, database_service_name, object_kind, database, schema and name.",
    printcolumn(name = "PRIORITY", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "DATABASES", type_ = "integer", json_path = ".status.databases"),
    printcolumn(name = "OBJECTS", type_ = "integer", json_path = ".status.objects"),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = rules::at(".mappings", rules::SOME_MAPPING))]
#[serde(rename_all = "camelCase")]
pub struct DbObjectImportRuleSpec {
    /// Order of the rules, ascending: a later rule overwrites the label values of an earlier one. Rules of
    /// equal priority go by name. Default: 0.
    #[serde(default)]
    pub priority: i64,

    /// Databases that this rule is for, by the labels of their DatabaseAdmins: key to patterns, for example
    /// `{env: [staging, dev]}`. `{"*": ["*"]}` is every database; `{}` is none, which is how to import
    /// nothing.
    #[schemars(schema_with = "schema::selector")]
    pub database_labels: Selector,

    /// What is imported, and how it is labelled. Every mapping that matches an object adds its labels. One at least,
    /// unless `databaseLabels` is `{}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub mappings: Vec<ImportMapping>,
}

/// Objects and the labels that they get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportMapping {
    /// Objects by kind and name: only the list of an object's own kind counts, and an empty list matches
    /// nothing.
    #[serde(default, rename = "match", skip_serializing_if = "schema::is_default")]
    pub matching: ObjectMatch,

    /// Where these objects must be.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub scope: ObjectScope,

    /// Labels that the objects get, for example `{project: horizon, schema: "{{obj.schema}}"}`. A value may
    /// hold one of `{{obj.protocol}}`, `{{obj.database_service_name}}`, `{{obj.object_kind}}`,
    /// `{{obj.database}}`, `{{obj.schema}}` and `{{obj.name}}`.
    #[serde(default, skip_serializing_if = "schema::is_empty")]
    #[schemars(schema_with = "schema::object_labels")]
    pub add_labels: BTreeMap<String, String>,
}

/// Objects by kind and name: patterns, where `*` stands for any run of characters and `^...$` is a regular
/// expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMatch {
    /// Patterns for the names of tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub table_names: Vec<String>,

    /// Patterns for the names of views.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub view_names: Vec<String>,

    /// Patterns for the names of materialized views.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub materialized_view_names: Vec<String>,

    /// Patterns for the names of foreign tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub foreign_table_names: Vec<String>,

    /// Patterns for the names of sequences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub sequence_names: Vec<String>,

    /// Patterns for the names of functions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub function_names: Vec<String>,

    /// Patterns for the names of procedures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub procedure_names: Vec<String>,

    /// Patterns for the names of schemas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub schema_names: Vec<String>,

    /// Patterns for the names of collections (MongoDB).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub collection_names: Vec<String>,
}

/// Where objects must be: patterns; an empty list is no limit, and both lists must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectScope {
    /// Patterns for the names of logical databases. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub database_names: Vec<String>,

    /// Patterns for the names of schemas. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub schema_names: Vec<String>,
}

/// What Rolecall found out about a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DbObjectImportRuleStatus {
    /// The `metadata.generation` that this status was computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`; `Valid`, False with one message per bad template or pattern. While a rule is not valid, the
    /// databases that it may be for have no object permissions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// DatabaseAdmins that `databaseLabels` select.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databases: Option<u32>,

    /// Objects that this rule labels now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<u32>,
}
