//! The definitions: what `kubectl explain` and `kubectl get` show.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use rolecall_api::{crds, reasons};

#[test]
fn names_and_columns_are_those_of_the_contract() {
    let found: Vec<(String, String, String)> = crds()
        .into_iter()
        .map(|crd| {
            let columns = crd.spec.versions[0].additional_printer_columns.iter().flatten();
            let columns: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
            assert_eq!(crd.spec.names.categories, Some(vec!["rolecall".to_owned()]));
            assert_eq!(crd.spec.scope, "Namespaced");
            (crd.spec.names.kind, crd.spec.names.short_names.unwrap_or_default().join(","), columns.join(" "))
        })
        .collect();
    let expected = [
        ("DatabaseAdmin", "dba", "PROTOCOL URI READY USERS VERSION REASON AGE"),
        ("ProvisioningRole", "prole", "READY DATABASES USERS REASON AGE"),
        ("DbObjectImportRule", "doir", "PRIORITY READY DATABASES OBJECTS REASON AGE"),
        ("DatabaseUser", "dbu", "USERNAME READY REASON AGE"),
        ("DatabaseSession", "dbs", "USER DATABASE DBNAME PHASE EXPIRES REASON AGE"),
        ("DatabaseSessionDecision", "dbsd", "SESSION DECISION BY AGE"),
    ];
    assert_eq!(found, expected.map(|(kind, short, columns)| (kind.into(), short.into(), columns.into())));
}

#[test]
fn every_field_is_described_and_bounded() {
    for crd in crds() {
        let schema =
            crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let mut faults = Vec::new();
        check(&crd.spec.names.kind, schema.expect("each version has a schema"), &mut faults);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

/// Collects fields without a description, and parts of a spec without a bound.
fn check(path: &str, schema: &JSONSchemaProps, faults: &mut Vec<String>) {
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        let described =
            field.description.as_ref().is_some_and(|text| !text.trim().is_empty() && !text.contains(" \n"));
        if !described {
            faults.push(format!("{path} is not described"));
        }
        check(&path, field, faults);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(entry)) = &schema.items {
        check(&format!("{path}[]"), entry, faults);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        check(&format!("{path}[]"), value, faults);
    }
    let bounded = match schema.type_.as_deref() {
        Some("string") => schema.max_length.is_some() || schema.enum_.is_some(),
        Some("array") => schema.max_items.is_some(),
        Some("object") => schema.max_properties.is_some() || schema.additional_properties.is_none(),
        _ => true,
    };
    // Nobody but the operator writes a status, and no rule reads it.
    if !bounded && path.contains(".spec") {
        faults.push(format!("{path} has no bound"));
    }
}

#[test]
fn reasons_are_constants_and_unique_in_the_table() {
    let names: BTreeSet<&str> = reasons::ALL.iter().map(|reason| reason.name).collect();
    assert_eq!(names.len(), reasons::ALL.len());
    for reason in reasons::ALL {
        let pascal_case = reason.name.starts_with(|c: char| c.is_ascii_uppercase())
            && reason.name.chars().all(|c| c.is_ascii_alphanumeric());
        assert!(pascal_case, "{}", reason.name);
        assert!(reason.meaning.ends_with('.') && reason.remedy.ends_with('.'), "{}", reason.name);
    }
    for named_in_the_contract in [
        reasons::PENDING,
        reasons::MISSING_ADMIN_USER,
        reasons::ABANDONED,
        reasons::PUBLIC_CONNECT,
        reasons::IMPORT_RULE_INVALID,
    ] {
        assert!(names.contains(named_in_the_contract), "{named_in_the_contract}");
    }
}
