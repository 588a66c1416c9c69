//! What cannot work is refused before anything reaches a cluster, with what to do.

use serde_json::{Value, json};

use crate::render::refusal;

fn assert_refused(values: &Value, words: &str) {
    let refusal = refusal(values);
    assert_eq!(refusal.matches(words).count(), 2, "{values}: {refusal}");
}

#[test]
fn combinations_that_cannot_work() {
    let alone = json!({"leaderElection": {"enabled": false}});
    assert_refused(&alone, "Set replicaCount to 1, or leave leader election on");
    let both = json!({"watchNamespaces": ["shop"], "rbac": {"secrets": {"clusterWide": true}}});
    assert_refused(&both, "Leave rbac.secrets out");
    let both = json!({"rbac": {"secrets": {"clusterWide": true, "namespaces": ["shop"]}}});
    assert_refused(&both, "are both set: leave one out");
    assert_refused(&json!({"audit": {"log": "/audit/log"}}), "no access would be given. Set audit.volume");
    let unused = json!({"audit": {"volume": {"emptyDir": {}}}});
    assert_refused(&unused, "or leave audit.volume out");
    let twice = json!({"monitoring": {"serviceMonitor": {"enabled": true}, "podMonitor": {"enabled": true}}});
    assert_refused(&twice, "Enable one");
    let disabled = json!({"monitoring": {"prometheusRule": {"enabled": true, "disabled": ["RolecallNo"]}}});
    assert_refused(&disabled, "names RolecallNo, which is no alert of this chart");
    assert_refused(
        &json!({"namespaceOverride": "kube-system"}),
        "install Rolecall into a namespace of its own",
    );
}

#[test]
fn values_that_the_schema_does_not_know() {
    for (values, place) in [
        (json!({"replicas": 2}), "replicas"),
        (json!({"image": {"tga": "1"}}), "tga"),
        (json!({"replicaCount": "2"}), "replicaCount"),
        (json!({"image": {"digest": "sha256:1"}}), "digest"),
        (json!({"image": {"pullPolicy": "always"}}), "pullPolicy"),
        (json!({"watchNamespaces": ["Shop"]}), "watchNamespaces"),
        (json!({"operator": {"resyncInterval": "soon"}}), "resyncInterval"),
        (json!({"operator": {"maxConnectionsPerServer": 0}}), "maxConnectionsPerServer"),
        (json!({"podAnnotations": {"a": true}}), "podAnnotations"),
    ] {
        let refusal = refusal(&values);
        assert!(refusal.matches(place).count() >= 2, "{values}: {refusal}");
        assert!(refusal.contains("schema"), "{values}: {refusal}");
    }
}
