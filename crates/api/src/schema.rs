//! Pieces of schema that several fields share.
//!
//! Everything is bounded, and a rule is written at the smallest value that it concerns: the API server
//! multiplies a rule's cost by how often its value can occur, and refuses a definition that could cost too
//! much.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::rules::{self, Rule};

/// Longest text where nothing smaller fits.
const MAX_TEXT: usize = 256;
/// Most entries of a list.
const MAX_LIST: usize = 256;
/// Most keys of a map, and most values of a selector's key.
const MAX_KEYS: usize = 64;
/// Longest name of something in a database, in characters.
const MAX_NAME: usize = 63;
/// Longest name of a role: that of Redshift.
const MAX_ROLE: usize = 127;
/// Most labels that a mapping adds, and the longest value: their rule counts for each label of each mapping.
const MAX_OBJECT_LABELS: usize = 32;
const MAX_OBJECT_LABEL: usize = 100;
/// Most roles that one decision is about: an admission policy checks a right on each.
pub(crate) const MAX_DECIDED: usize = 16;

/// The key under which the API server expects rules.
const RULES: &str = "x-kubernetes-validations";

/// A type's own schema, for an `Option` of it: the derive would put the type's description over the field's.
pub(crate) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// A duration that must be longer than nothing.
pub(crate) fn positive_duration(_: &mut SchemaGenerator) -> Schema {
    duration(rules::POSITIVE)
}

/// A duration that may be `0s`.
pub(crate) fn non_negative_duration(_: &mut SchemaGenerator) -> Schema {
    duration(rules::NOT_NEGATIVE)
}

fn duration(rule: Rule) -> Schema {
    json_schema!({"type": "string", "maxLength": 32, RULES: list_of(&[rule])})
}

/// The name of something in a database: a user, a logical database.
pub(crate) fn database_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME,
        RULES: list_of(&[rules::SHORT_NAME, rules::NO_CONTROL_CHARACTERS]),
    })
}

/// The name of a role of a server.
pub(crate) fn role_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_ROLE,
        RULES: list_of(&[rules::NO_CONTROL_CHARACTERS]),
    })
}

/// A label selector without templates: key to patterns.
pub(crate) fn selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_KEYS,
        "additionalProperties": {"type": "array", "maxItems": MAX_KEYS, "items": text(&[])},
        RULES: list_of(&[rules::WILDCARD_KEY]),
    })
}

/// A label selector whose keys and patterns may contain trait templates.
pub(crate) fn templated_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_KEYS,
        "additionalProperties": {"type": "array", "maxItems": MAX_KEYS, "items": text(&[rules::ONE_TEMPLATE])},
        RULES: list_of(&[rules::WILDCARD_KEY, rules::KEYS_ONE_TEMPLATE]),
    })
}

/// Traits: name to values.
pub(crate) fn traits(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_KEYS,
        "additionalProperties": {"type": "array", "maxItems": MAX_LIST, "items": text(&[])},
    })
}

/// Plain labels: key to value.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": MAX_KEYS, "additionalProperties": text(&[])})
}

/// Labels that objects get: key to value, which may contain a template.
pub(crate) fn object_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_OBJECT_LABELS,
        "additionalProperties": {
            "type": "string",
            "maxLength": MAX_OBJECT_LABEL,
            RULES: list_of(&[rules::ONE_OBJECT_TEMPLATE]),
        },
        RULES: list_of(&[rules::NO_BLANK_KEY]),
    })
}

/// A list of names or patterns.
pub(crate) fn texts(_: &mut SchemaGenerator) -> Schema {
    list(non_empty_text(&[]))
}

/// A list of names or patterns that may contain trait templates.
pub(crate) fn templates(_: &mut SchemaGenerator) -> Schema {
    list(non_empty_text(&[rules::ONE_TEMPLATE]))
}

/// The names of some ProvisioningRoles, each once.
pub(crate) fn role_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_DECIDED,
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": 253},
    })
}

/// The names of some groups.
pub(crate) fn group_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_KEYS,
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
    })
}

/// The hash of a request.
pub(crate) fn request_hash(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 71, "pattern": "^sha256:[0-9a-f]{64}$"})
}

/// A list of privileges.
pub(crate) fn privileges(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_LIST,
        "items": {"type": "string", "maxLength": MAX_NAME, RULES: list_of(&[rules::KNOWN_PRIVILEGE])},
        RULES: list_of(&[rules::SOME_PRIVILEGE]),
    })
}

/// Adds a rule to the part of a schema at this JSON pointer, which has rules already.
pub(crate) fn add_rule(schema: &mut Schema, part: &str, rule: Rule) {
    if let Some(Value::Array(present)) = schema.pointer_mut(&format!("{part}/{RULES}")) {
        present.extend(list_of(&[rule]));
    }
}

/// Whether a map is empty, for `skip_serializing_if` on any value type.
pub(crate) fn is_empty<V>(map: &BTreeMap<String, V>) -> bool {
    map.is_empty()
}

/// Whether a value is its type's default, for `skip_serializing_if`.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn list(items: Value) -> Schema {
    json_schema!({"type": "array", "maxItems": MAX_LIST, "items": items})
}

fn text(rules: &[Rule]) -> Value {
    let mut schema = json!({"type": "string", "maxLength": MAX_TEXT});
    if !rules.is_empty() {
        schema[RULES] = list_of(rules).into();
    }
    schema
}

fn non_empty_text(rules: &[Rule]) -> Value {
    let mut schema = text(rules);
    schema["minLength"] = 1.into();
    schema
}

fn list_of(rules: &[Rule]) -> Vec<Value> {
    rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect()
}
