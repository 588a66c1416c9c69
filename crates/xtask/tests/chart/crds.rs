//! The kinds, as templates, so that an upgrade brings them along.

use std::fs;

use rolecall_xtask::root;
use serde_json::{Value, json};

use crate::render::{render, same};

#[test]
fn the_kinds_are_the_generated_ones_and_are_kept() {
    let rendered = render(&json!({"crds": {"annotations": {"owner": "platform"}}}));
    let crds = rendered.of("CustomResourceDefinition");
    assert_eq!(crds.len(), 6);
    for crd in crds {
        let name = crd["metadata"]["name"].as_str().expect("a name");
        let text = fs::read_to_string(root().join(format!("deploy/crds/{name}.yaml"))).expect("a definition");
        let generated: Value = serde_saphyr::from_str(&text).expect("YAML");
        assert!(same(&crd["spec"], &generated["spec"]), "{name} is another one");
        let annotations = json!({"helm.sh/resource-policy": "keep", "owner": "platform"});
        assert_eq!(crd["metadata"]["annotations"], annotations, "{name}");
    }
}

#[test]
fn the_kinds_can_be_deleted_with_the_release_or_left_to_somebody_else() {
    let rendered = render(&json!({"crds": {"keep": false}}));
    assert!(
        rendered.of("CustomResourceDefinition").iter().all(|crd| crd["metadata"]["annotations"].is_null())
    );
    assert!(render(&json!({"crds": {"enabled": false}})).of("CustomResourceDefinition").is_empty());
}
