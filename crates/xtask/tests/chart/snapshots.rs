//! What each feature of the chart changes, as recorded. Changed on purpose: `INSTA_UPDATE=always cargo test --workspace
//! --test chart snapshots`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use similar::TextDiff;

use crate::render::render;

/// The rendered objects but the kinds, which are generated and checked elsewhere: each by kind, namespace and name.
fn objects(values: &Value) -> BTreeMap<String, String> {
    let rendered = render(values);
    let kinds = |object: &&Value| object["kind"] != "CustomResourceDefinition";
    let named = |object: &Value| {
        let metadata = &object["metadata"];
        let parts = [&object["kind"], &metadata["namespace"], &metadata["name"]];
        let parts: Vec<&str> = parts.iter().filter_map(|part| part.as_str()).collect();
        (parts.join(" "), format!("{object:#}\n"))
    };
    rendered.all().iter().filter(kinds).map(named).collect()
}

/// How these values change what the default renders.
fn changes(values: &Value) -> String {
    let (default, objects) = (objects(&json!({})), objects(values));
    let names: BTreeSet<&String> = default.keys().chain(objects.keys()).collect();
    let mut changes = String::new();
    for name in names {
        let text = |objects: &BTreeMap<String, String>| objects.get(name).cloned().unwrap_or_default();
        let (before, after) = (text(&default), text(&objects));
        if before != after && after.is_empty() {
            changes.push_str(&format!("== without {name}\n"));
        } else if before != after {
            let diff = TextDiff::from_lines(&before, &after);
            changes.push_str(&format!("== {name}\n{}", diff.unified_diff().context_radius(2)));
        }
    }
    changes
}

#[test]
fn the_default() {
    let objects: Vec<String> = objects(&json!({})).into_values().collect();
    insta::assert_snapshot!("default", objects.concat());
}

#[test]
fn each_feature() {
    let (on, off) = (json!({"enabled": true}), json!({"enabled": false}));
    let shop = json!([{"ipBlock": {"cidr": "10.1.0.0/16"}}]);
    for (feature, values) in [
        ("single-namespaces", json!({"watchNamespaces": ["shop", "hr"]})),
        ("secrets-of-namespaces", json!({"rbac": {"secrets": {"namespaces": ["shop"]}}})),
        ("secrets-of-the-cluster", json!({"rbac": {"secrets": {"clusterWide": true}}})),
        ("one-replica", json!({"replicaCount": 1, "leaderElection": off})),
        ("service-monitor", json!({"monitoring": {"serviceMonitor": on}})),
        ("pod-monitor", json!({"monitoring": {"podMonitor": on}, "service": off})),
        (
            "network-policy",
            json!({"networkPolicy": {"enabled": true, "aws": true, "databases": {"to": shop}}}),
        ),
        (
            "aws",
            json!({"aws": {"region": "eu-west-1"}, "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/rolecall"}}}),
        ),
        ("uninstall", json!({"uninstall": {"timeoutSeconds": 30, "force": true}, "crds": {"keep": false}})),
        ("without-uninstall-and-test", json!({"uninstall": off, "tests": off, "podLabels": {"a": "b"}})),
        (
            "scheduling",
            json!({"priorityClassName": "high", "runtimeClassName": "gvisor", "hostUsers": false, "nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}]}),
        ),
        (
            "extras",
            json!({
                "extraArgs": ["--more=1"],
                "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
                "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
                "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
                "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-ca"}}],
            }),
        ),
        (
            "image",
            json!({"image": {"registry": "registry.example.com", "tag": "1.2.3", "pullSecrets": [{"name": "pull"}]}}),
        ),
    ] {
        let changes = changes(&values);
        assert!(!changes.is_empty(), "{feature} changes nothing");
        insta::assert_snapshot!(feature, changes);
    }
}
