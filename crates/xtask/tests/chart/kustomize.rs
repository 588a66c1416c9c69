//! The overlays of kustomize are what the chart renders.

use std::process::Command;

use rolecall_testbed::KubernetesVersion;
use rolecall_testbed::components::Kubernetes;
use rolecall_xtask::root;
use serde_json::{Value, json};

use crate::render::{documents, render, same};

/// What kustomize makes of an overlay, but the namespace, which Helm makes itself.
fn build(overlay: &str) -> Vec<Value> {
    let kubectl = Kubernetes::prepare(KubernetesVersion::NEWEST).expect("kubectl").kubectl();
    let path = root().join("kustomize/overlays").join(overlay);
    let output = Command::new(kubectl).arg("kustomize").arg(path).output().expect("kubectl runs");
    assert!(output.status.success(), "{overlay}: {}", String::from_utf8_lossy(&output.stderr));
    let mut objects = documents(&String::from_utf8_lossy(&output.stdout));
    objects.retain(|object| object["kind"] != "Namespace");
    objects
}

/// An object without what says that Helm made it, and with its labels as far as both have them.
fn plain(object: &Value) -> Value {
    let mut object = object.clone();
    for (group, names) in [
        ("labels", vec!["helm.sh/chart", "app.kubernetes.io/managed-by"]),
        ("annotations", vec!["helm.sh/resource-policy"]),
    ] {
        let Some(map) = object["metadata"].get_mut(group).and_then(Value::as_object_mut) else { continue };
        for name in names {
            map.remove(name);
        }
        if map.is_empty() {
            object["metadata"].as_object_mut().expect("metadata").remove(group);
        }
    }
    object
}

fn assert_equal(overlay: &str, labelled: bool, mut values: Value) {
    // What only Helm can run.
    values["tests"] = json!({"enabled": false});
    values["uninstall"] = json!({"enabled": false});
    // What the oldest API server has not. The overlays are for every version.
    values["admission"] = json!({"mutating": "Never"});
    let rendered = render(&values);
    let objects = build(overlay);
    let names = |objects: &[Value]| -> Vec<String> {
        let name = |object: &Value| {
            format!("{} {} {}", object["kind"], object["metadata"]["namespace"], object["metadata"]["name"])
        };
        objects.iter().map(name).collect()
    };
    assert_eq!(names(&objects), names(rendered.all()), "{overlay}");
    for (object, expected) in objects.iter().zip(rendered.all()) {
        let (mut object, mut expected) = (plain(object), plain(expected));
        if !labelled && object["metadata"]["labels"]["app.kubernetes.io/part-of"].is_null() {
            // What an overlay adds to its base has the labels that it needs and no others.
            for object in [&mut object, &mut expected] {
                object["metadata"]["labels"] = Value::Null;
            }
        }
        assert!(same(&object, &expected), "{overlay}: the chart has {expected:#}\nkustomize has {object:#}");
    }
}

#[test]
fn the_overlay_for_all_namespaces() {
    assert_equal("cluster-wide", true, json!({"rbac": {"secrets": {"clusterWide": true}}}));
}

#[test]
fn the_overlay_for_one_namespace() {
    assert_equal("namespaced", false, json!({"watchNamespaces": ["shop"]}));
}

#[test]
fn the_overlay_with_monitoring() {
    let on = json!({"enabled": true});
    let values = json!({
        "rbac": {"secrets": {"clusterWide": true}},
        "monitoring": {"serviceMonitor": on, "prometheusRule": on, "dashboard": on},
    });
    assert_equal("monitoring", false, values);
}
