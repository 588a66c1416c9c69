//! The CustomResourceDefinitions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::{
    DatabaseAdmin, DatabaseSession, DatabaseSessionDecision, DatabaseUser, DbObjectImportRule,
    ProvisioningRole, conditions, reasons,
};

/// The definitions of all kinds, as they are installed.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    [
        DatabaseAdmin::crd(),
        ProvisioningRole::crd(),
        DbObjectImportRule::crd(),
        DatabaseUser::crd(),
        DatabaseSession::crd(),
        DatabaseSessionDecision::crd(),
    ]
    .map(finish)
    .into()
}

/// Turns what the derives give into what the API server should get.
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let schemas = crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    for schema in schemas {
        if let Some(status) = schema.properties.as_mut().and_then(|fields| fields.get_mut("status")) {
            status.description = Some("What the operator found out. Nobody else writes it.".to_owned());
            status.default = Some(pending());
        }
        tidy(schema);
    }
    crd
}

/// Status of an object that no operator has seen yet: never current for a client that waits for Ready.
fn pending() -> JSON {
    JSON(json!({
        "conditions": [{
            "type": conditions::READY,
            "status": conditions::UNKNOWN,
            "reason": reasons::PENDING,
            "message": "Waiting for the operator",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }],
    }))
}

/// Takes away what only Rust means: `null` for absent, the width of an integer, the line breaks of its
/// comments.
///
/// Without `nullable` the API server drops a `null`, so that no rule has to expect one; of integer formats it
/// knows int32 and int64 and warns about others.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(text) = &mut schema.description {
        *text =
            text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    schema.format.take_if(|format| format.starts_with("uint"));
    for field in schema.properties.iter_mut().flat_map(|fields| fields.values_mut()) {
        tidy(field);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}
