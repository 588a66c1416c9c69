//! Pieces of schema that several fields share, with their admission rules.
//!
//! Rules stand on the smallest value that they speak about: the API server multiplies a rule's cost by how often its
//! value can occur, and refuses a CRD that costs too much.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::RoleRules;

/// Longest text where nothing smaller fits.
const MAX_TEXT: usize = 256;
/// Most entries of a list.
const MAX_LIST: usize = 256;
/// Most keys of a map, and most values of a selector's key.
const MAX_KEYS: usize = 64;
/// Longest name of something in a database, in bytes.
const MAX_NAME: usize = 63;
/// Most labels that a mapping adds, and the longest value: their rule is checked for each label of each mapping.
const MAX_OBJECT_LABELS: usize = 32;
const MAX_OBJECT_LABEL: usize = 100;

/// Text with at most one template, which is all that the syntax allows.
const ONE_TEMPLATE: (&str, &str) = (
    r"!(self.contains('{{') || self.contains('}}')) || self.matches('^[^{}]*[{]{2}[^{}]*[^{}\\s][^{}]*[}]{2}[^{}]*$')",
    "a template is one {{...}} in a text without other braces, for example team-{{external.team}}",
);

/// As [`ONE_TEMPLATE`], with the variables that objects have.
const ONE_OBJECT_TEMPLATE: (&str, &str) = (
    r"self.matches('^[^{}]*({{\\s*obj[.](protocol|database(_service_name)?|object_kind|schema|name)\\s*}}[^{}]*)?$')",
    "a value has no braces but those of one template {{obj.VARIABLE}}, where VARIABLE is protocol, \
     database_service_name, object_kind, database, schema or name",
);

const WILDCARD_KEY: (&str, &str) = (
    r"!('*' in self) || self['*'] == ['*']",
    r#"the key * selects everything and has only the value *: write {"*": ["*"]}, or the label's key in place of *"#,
);

const KNOWN_PRIVILEGE: (&str, &str) = (
    "self.trim().upperAscii() in ['*', \
     'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN', 'USAGE', 'EXECUTE', \
     'CREATE', \
     'FIND', 'REMOVE', 'BYPASSDOCUMENTVALIDATION', 'CHANGESTREAM', 'COLLMOD', 'COLLSTATS', 'COMPACT', \
     'CONVERTTOCAPPED', 'CREATECOLLECTION', 'CREATEINDEX', 'DROPCOLLECTION', 'DROPINDEX', 'INDEXSTATS', 'KILLCURSORS', \
     'LISTINDEXES', 'PLANCACHEINDEXFILTER', 'PLANCACHEREAD', 'PLANCACHEWRITE', 'REINDEX', \
     'RENAMECOLLECTIONSAMEDB', 'STORAGEDETAILS', 'VALIDATE']",
    "no object has this privilege; write one per entry: SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER, \
     MAINTAIN, USAGE, EXECUTE or CREATE, or for MongoDB an action on collections such as find",
);

/// A type's own schema, for an `Option` of it: the derive would put the type's description over the field's.
pub(crate) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// A duration that must be longer than nothing.
pub(crate) fn positive_duration(_: &mut SchemaGenerator) -> Schema {
    duration("duration(self) > duration('0s')", "must be longer than 0s, for example 1h30m")
}

/// A duration that may be `0s`.
pub(crate) fn non_negative_duration(_: &mut SchemaGenerator) -> Schema {
    duration("duration(self) >= duration('0s')", "must be 0s or longer, for example 5m")
}

fn duration(rule: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        // A sign passes here, so that the rule can answer in words.
        "pattern": r"^-?([0-9]+(\.[0-9]+)?(h|m|s|ms|us|ns))+$",
        "x-kubernetes-validations": rules(&[(rule, message)]),
    })
}

/// The name of something in a database: a user, a logical database.
pub(crate) fn database_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME,
        "x-kubernetes-validations": rules(&[
            (
                "size(bytes(self)) <= 63",
                "must not be longer than 63 bytes, the limit of database servers; letters beyond ASCII take several",
            ),
            (r"!self.matches('\\p{Cc}')", "must not hold control characters"),
        ]),
    })
}

/// A label selector without templates: key to patterns.
pub(crate) fn selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_KEYS,
        "additionalProperties": {"type": "array", "maxItems": MAX_KEYS, "items": text(&[])},
        "x-kubernetes-validations": rules(&[WILDCARD_KEY]),
    })
}

/// A label selector whose patterns may hold trait templates.
pub(crate) fn templated_selector(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = selector(generator);
    if let Some(values) = schema.pointer_mut("/additionalProperties/items") {
        *values = text(&[ONE_TEMPLATE]);
    }
    schema
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

/// Labels that objects get: key to value, which may hold a template.
pub(crate) fn object_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_OBJECT_LABELS,
        "additionalProperties": {
            "type": "string",
            "maxLength": MAX_OBJECT_LABEL,
            "x-kubernetes-validations": rules(&[ONE_OBJECT_TEMPLATE]),
        },
        "x-kubernetes-validations": rules(&[(
            r"self.all(key, key.matches('\\S'))",
            "a label's key must not be blank",
        )]),
    })
}

/// A list of names or patterns.
pub(crate) fn texts(_: &mut SchemaGenerator) -> Schema {
    list(non_empty_text(&[]))
}

/// A list of names or patterns that may hold trait templates.
pub(crate) fn templates(_: &mut SchemaGenerator) -> Schema {
    list(non_empty_text(&[ONE_TEMPLATE]))
}

/// A list of privileges, one at least.
pub(crate) fn privileges(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_LIST,
        "items": {
            "type": "string",
            "maxLength": MAX_NAME,
            "x-kubernetes-validations": rules(&[KNOWN_PRIVILEGE]),
        },
        "x-kubernetes-validations": rules(&[(
            "size(self) > 0",
            "name one privilege at least, for example SELECT, or take the whole entry away",
        )]),
    })
}

/// What a role allows: as what it denies, without the wildcards that only deny has.
pub(crate) fn allow_rules(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = RoleRules::json_schema(generator);
    for (place, rule) in [
        (
            "/properties/dbRoles/items",
            ("self != '*'", "name the database roles; * stands in deny only, where it takes every role away"),
        ),
        (
            "/properties/dbPermissions/items/properties/permissions/items",
            (
                "self.trim() != '*'",
                "name the privileges; * stands in deny only, where it takes every privilege away",
            ),
        ),
    ] {
        if let Some(Value::Array(present)) =
            schema.pointer_mut(place).map(|value| &mut value["x-kubernetes-validations"])
        {
            present.extend(rules(&[rule]));
        }
    }
    schema
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

fn text(rules_of_text: &[(&str, &str)]) -> Value {
    let mut schema = json!({"type": "string", "maxLength": MAX_TEXT});
    if !rules_of_text.is_empty() {
        schema["x-kubernetes-validations"] = rules(rules_of_text).into();
    }
    schema
}

fn non_empty_text(rules_of_text: &[(&str, &str)]) -> Value {
    let mut schema = text(rules_of_text);
    schema["minLength"] = 1.into();
    schema
}

fn rules(rules: &[(&str, &str)]) -> Vec<Value> {
    rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect()
}
