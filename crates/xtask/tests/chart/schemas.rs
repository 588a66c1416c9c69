//! kubeconform, with the schemas that an API server publishes.

use std::fs;
use std::path::Path;
use std::process::Command;

use rolecall_testbed::Cluster;
use rolecall_testbed::components::charts;
use serde_json::{Value, json};

/// Checks files of manifests; what kubeconform says where one does not conform.
pub(crate) async fn conform(cluster: &Cluster, manifests: &[&Value]) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("a directory");
    let published = cluster.kubectl(&["get", "--raw", "/openapi/v2"]).await.expect("schemas");
    write(&serde_json::from_str(&published).expect("JSON"), dir.path());
    let file = dir.path().join("manifests.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
    fs::write(&file, list.to_string()).expect("a file");
    let schemas = format!(
        "{}/{{{{.Group}}}}_{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json",
        dir.path().display()
    );
    let output = Command::new(charts::kubeconform().expect("kubeconform"))
        .args(["-strict", "-summary", "-schema-location", &schemas])
        .arg(&file)
        .output()
        .expect("kubeconform runs");
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// One file for each kind, which refers to one with all definitions.
fn write(published: &Value, dir: &Path) {
    let mut definitions = published["definitions"].clone();
    let file = dir.join("definitions.json");
    let map = definitions.as_object_mut().expect("definitions");
    for (name, definition) in map.iter_mut() {
        // Schemas in definitions of kinds have a schema of their own.
        if definition["properties"].is_object() && !name.ends_with("JSONSchemaProps") {
            definition["additionalProperties"] = false.into();
        }
        // A number or a text, whatever is published.
        if name.ends_with("IntOrString") || name.ends_with("resource.Quantity") {
            *definition = json!({"type": ["integer", "number", "string"]});
        }
        if name.ends_with("JSONSchemaProps") {
            *definition = json!({"type": "object"});
        }
        let kinds = definition["x-kubernetes-group-version-kind"].as_array().cloned().unwrap_or_default();
        let [kind] = kinds.as_slice() else { continue };
        let text = |field: &str| kind[field].as_str().unwrap_or_default().to_owned();
        // kubeconform calls the group of `v1` that, too.
        let group = if text("group").is_empty() { text("version") } else { text("group") };
        let path = dir.join(format!("{group}_{}_{}.json", text("kind").to_lowercase(), text("version")));
        let schema = json!({"$ref": format!("file://{}#/definitions/{name}", file.display())});
        fs::write(path, schema.to_string()).expect("a file");
    }
    fs::write(&file, json!({"definitions": definitions}).to_string()).expect("a file");
}
