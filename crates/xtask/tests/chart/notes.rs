//! What Helm says after an installation.

use std::fs;
use std::process::Command;

use rolecall_testbed::components::charts;
use rolecall_testbed::{Cluster, environment};
use serde_json::{Value, json};

use crate::render::{NAMESPACE, chart};

/// The notes of a release with these values, which both Helms write. They ask the cluster for its version.
fn notes(cluster: &Cluster, values: &Value) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("values.json");
    fs::write(&file, values.to_string()).expect("a file");
    let [four, three] = [charts::helm_4(), charts::helm_3()].map(|program| {
        let output = Command::new(program.expect("helm"))
            .args(["install", "rolecall", "--dry-run=client", "--namespace", NAMESPACE, "--values"])
            .args([&file, &chart()])
            .env_clear()
            .envs(environment(dir.path()))
            .env("KUBECONFIG", cluster.kubeconfig())
            .output()
            .expect("helm runs");
        assert!(output.status.success(), "{values}: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.split_once("NOTES:\n").expect("notes").1.trim().to_owned()
    });
    assert_eq!(four, three, "Helm 4 and Helm 3 differ");
    four
}

#[tokio::test]
async fn they_say_where_the_operator_may_work_and_what_goes_wrong_later() {
    let cluster = Cluster::builder().controllers(&[]).start().await.expect("a cluster");
    let notes = |values: &Value| notes(&cluster, values);
    let secrets = "kubectl create rolebinding rolecall-operator-secrets --namespace NAMESPACE";
    let default = notes(&json!({}));
    for words in [
        "kubectl rollout status deployment/rolecall-operator --namespace rolecall-system",
        "helm test rolecall --namespace rolecall-system",
        "no session can start",
        secrets,
        "docs/first-session.md",
        "kubectl logs job/rolecall-operator-uninstall --namespace rolecall-system",
    ] {
        assert!(default.contains(words), "{words}: {default}");
    }
    for (values, words) in [
        (json!({"watchNamespaces": ["shop", "hr"]}), "It works in shop, hr, and has no rights elsewhere."),
        (
            json!({"rbac": {"secrets": {"clusterWide": true}}}),
            "may read and write every Secret of the cluster",
        ),
        (
            json!({"rbac": {"secrets": {"namespaces": ["shop"]}}}),
            "works in those whose Secrets it may use: shop.",
        ),
    ] {
        let notes = notes(&values);
        assert!(notes.contains(words) && !notes.contains(secrets), "{notes}");
    }
    for (values, words) in [
        (json!({"crds": {"keep": false}}), "WARNING: crds.keep is false"),
        (json!({"crds": {"enabled": false}}), "The six kinds are not part of this release"),
        (json!({"replicaCount": 1}), "One replica"),
        (json!({"uninstall": {"enabled": false}}), "Before you uninstall: end all sessions"),
    ] {
        assert!(notes(&values).contains(words), "{values}");
        assert!(!default.contains(words), "{default}");
    }
    assert!(!notes(&json!({"tests": {"enabled": false}})).contains("helm test"));
}
