//! Pieces of schema that several fields share.

use std::collections::BTreeMap;

use schemars::{Schema, SchemaGenerator, json_schema};

/// Longest text where nothing smaller fits: what keeps CEL rules within the API server's budget.
const MAX_TEXT: usize = 256;
/// Most entries of a list.
const MAX_LIST: usize = 256;
/// Most keys of a map, and most values of a selector's key.
const MAX_KEYS: usize = 64;

/// A duration that must be longer than nothing.
pub(crate) fn positive_duration(_: &mut SchemaGenerator) -> Schema {
    duration("> duration('0s')", "must be longer than 0s, for example 1h30m")
}

/// A duration that may be `0s`.
pub(crate) fn non_negative_duration(_: &mut SchemaGenerator) -> Schema {
    duration(">= duration('0s')", "must be 0s or longer, for example 5m")
}

fn duration(comparison: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 64,
        "pattern": r"^([0-9]+(\.[0-9]+)?(h|m|s|ms|us|ns))+$",
        "x-kubernetes-validations": [{"rule": format!("duration(self) {comparison}"), "message": message}],
    })
}

/// A label selector: key to patterns.
pub(crate) fn selector(_: &mut SchemaGenerator) -> Schema {
    map_of_lists(MAX_KEYS)
}

/// Traits: name to values.
pub(crate) fn traits(_: &mut SchemaGenerator) -> Schema {
    map_of_lists(MAX_LIST)
}

fn map_of_lists(max_values: usize) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_KEYS,
        "additionalProperties": {
            "type": "array",
            "maxItems": max_values,
            "items": {"type": "string", "maxLength": MAX_TEXT},
        },
    })
}

/// Plain labels: key to value.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_KEYS,
        "additionalProperties": {"type": "string", "maxLength": MAX_TEXT},
    })
}

/// A list of non-empty texts.
pub(crate) fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_LIST,
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
    })
}

/// Whether a map is empty, for `skip_serializing_if` on any value type.
pub(crate) fn is_empty<V>(map: &BTreeMap<String, V>) -> bool {
    map.is_empty()
}
