//! The files under `deploy/` that are written by hand.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseSessionStatus, DatabaseUser, DbObjectImportRule, EndReason,
    ProvisioningRole, SessionPhase,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

#[test]
fn kustomize_installs_every_definition_access_rule_and_policy() -> Result {
    let own = BTreeSet::from(["kustomization.yaml".to_owned()]);
    let mut all: BTreeSet<String> = ["admission", "namespace.yaml", "rbac"].map(str::to_owned).into();
    all.extend(files("crds", "crds/")?);
    assert_eq!(listed("")?, all);
    for part in ["admission", "mutating", "rbac"] {
        assert_eq!(listed(part)?, &files(part, "")? - &own, "{part}");
    }
    Ok(())
}

/// The resources of a kustomization.
fn listed(directory: &str) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(deploy().join(directory).join("kustomization.yaml"))?;
    let kustomization: Value = serde_saphyr::from_str(&text)?;
    Ok(serde_json::from_value(kustomization["resources"].clone())?)
}

/// The files of a directory, each behind a prefix.
fn files(directory: &str, prefix: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for file in fs::read_dir(deploy().join(directory))? {
        names.insert(format!("{prefix}{}", file?.file_name().display()));
    }
    Ok(names)
}

#[test]
fn samples_have_no_unknown_fields() -> Result {
    for directory in ["", "mongodb/"] {
        same_after_reading::<DatabaseAdmin>(&format!("{directory}database_admin"))?;
        same_after_reading::<ProvisioningRole>(&format!("{directory}provisioning_role"))?;
        same_after_reading::<DbObjectImportRule>(&format!("{directory}db_object_import_rule"))?;
        same_after_reading::<DatabaseUser>(&format!("{directory}database_user"))?;
        same_after_reading::<DatabaseSession>(&format!("{directory}database_session"))?;
    }
    Ok(())
}

/// Reads a sample and finds every field of it again. Fields with a default may come on top.
fn same_after_reading<K: Serialize + DeserializeOwned>(sample: &str) -> Result {
    let text = fs::read_to_string(deploy().join("samples").join(sample).with_extension("yaml"))?;
    let written: Value = serde_saphyr::from_str(&text)?;
    let object: K = serde_json::from_value(written.clone())?;
    let read = serde_json::to_value(&object)?;
    assert!(contains(&read, &written), "{sample}: {written}\nbecomes {read}");
    Ok(())
}

fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|found| contains(found, value)))
        }
        _ => whole == part,
    }
}

#[test]
fn what_is_absent_stays_absent() {
    let written = json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": "DatabaseSession",
        "metadata": {"name": "alice-orders"},
        "spec": {"user": "alice", "database": "orders", "retainAfterEnd": "1h"},
    });
    let session: DatabaseSession = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(&session).unwrap(), written);
    assert_eq!(serde_json::to_value(DatabaseSessionStatus::default()).unwrap(), json!({}));
}

#[test]
fn a_status_that_a_newer_version_wrote_can_be_read() {
    let status: DatabaseSessionStatus =
        serde_json::from_value(json!({"phase": "Hibernating", "endReason": "Bored", "moon": "full"}))
            .unwrap();
    assert_eq!((status.phase, status.end_reason), (Some(SessionPhase::Unknown), Some(EndReason::Unknown)));
}
