//! What the operator may do.

use std::collections::BTreeSet;
use std::fs;

use rolecall_xtask::root;
use serde_json::{Value, json};

use crate::render::{NAMESPACE, Rendered, render};

/// The rules that follow from the code.
fn generated(file: &str) -> Value {
    let text = fs::read_to_string(root().join("deploy/rbac").join(file)).expect("rules");
    serde_saphyr::from_str::<Value>(&text).expect("YAML")["rules"].clone()
}

fn rules<'a>(rendered: &'a Rendered, kind: &str, name: &str) -> &'a Value {
    let found = rendered.of(kind).into_iter().find(|role| role["metadata"]["name"] == name);
    &found.unwrap_or_else(|| panic!("no {kind} {name}"))["rules"]
}

fn mentions_secrets(rules: &Value) -> bool {
    rules.to_string().contains("\"secrets\"")
}

/// Every binding is to a role that is there, for the account that the Pods run as.
fn assert_bound(rendered: &Rendered) {
    let account = json!([{
        "kind": "ServiceAccount",
        "name": rendered.pod()["spec"]["serviceAccountName"],
        "namespace": rendered.only("Deployment")["metadata"]["namespace"],
    }]);
    for binding in [rendered.of("RoleBinding"), rendered.of("ClusterRoleBinding")].concat() {
        assert_eq!(binding["subjects"], account);
        let kind = binding["roleRef"]["kind"].as_str().expect("a kind");
        let role = rendered.of(kind).into_iter().find(|role| {
            role["metadata"]["name"] == binding["roleRef"]["name"]
                && (kind == "ClusterRole"
                    || role["metadata"]["namespace"] == binding["metadata"]["namespace"])
        });
        assert!(role.is_some(), "{binding}");
    }
}

#[test]
fn by_default_no_secret_may_be_used_anywhere() {
    let rendered = render(&json!({}));
    assert_eq!(rendered.names("ClusterRoleBinding"), ["rolecall-operator", "rolecall-operator-uninstall"]);
    assert!(!mentions_secrets(rules(&rendered, "ClusterRole", "rolecall-operator")));
    assert_eq!(rendered.names("RoleBinding"), [format!("{NAMESPACE}/rolecall-leader-election")]);
    assert_bound(&rendered);
}

#[test]
fn secrets_of_single_namespaces_may_be_used() {
    let rendered = render(&json!({"rbac": {"secrets": {"namespaces": ["shop", "hr"]}}}));
    let expected = [
        "hr/rolecall-operator-secrets",
        "rolecall-system/rolecall-leader-election",
        "shop/rolecall-operator-secrets",
    ];
    assert_eq!(rendered.names("RoleBinding"), expected);
    assert_eq!(rendered.names("ClusterRoleBinding"), ["rolecall-operator", "rolecall-operator-uninstall"]);
    let both = [
        rules(&rendered, "ClusterRole", "rolecall-operator"),
        rules(&rendered, "ClusterRole", "rolecall-operator-secrets"),
    ];
    let set = |rules: &Value| -> BTreeSet<String> {
        rules.as_array().expect("rules").iter().map(Value::to_string).collect()
    };
    let together: BTreeSet<String> = both.into_iter().flat_map(set).collect();
    assert_eq!(together, set(&generated("operator_cluster_role.yaml")), "nothing is lost, nothing is new");
    assert_bound(&rendered);
}

#[test]
fn secrets_are_never_listed_or_watched() {
    let all = generated("operator_cluster_role.yaml");
    let rule = all.as_array().expect("rules").iter().find(|rule| mentions_secrets(rule)).expect("a rule");
    assert_eq!(rule["verbs"], json!(["get", "create", "update", "delete"]));
    assert_eq!(rule["resources"], json!(["secrets"]));
}

#[test]
fn an_operator_of_single_namespaces_has_no_right_of_the_cluster() {
    let rendered = render(&json!({"watchNamespaces": ["shop", "hr"]}));
    assert!(rendered.of("ClusterRoleBinding").is_empty());
    assert_eq!(
        rendered.names("ClusterRole"),
        ["rolecall-approve", "rolecall-edit", "rolecall-view"],
        "for people"
    );
    let expected =
        ["hr/rolecall-operator", "rolecall-system/rolecall-leader-election", "shop/rolecall-operator"];
    assert_eq!(rendered.names("Role"), expected);
    assert_eq!(rendered.names("RoleBinding"), expected);
    assert_eq!(*rules(&rendered, "Role", "rolecall-operator"), generated("operator_cluster_role.yaml"));
    assert_bound(&rendered);
    let arguments = rendered.container()["args"].to_string();
    assert!(arguments.contains("--watch-namespace=shop") && arguments.contains("--watch-namespace=hr"));
}

#[test]
fn every_secret_of_the_cluster_may_be_used_where_that_is_asked_for() {
    let rendered = render(&json!({"rbac": {"secrets": {"clusterWide": true}}}));
    assert_eq!(
        *rules(&rendered, "ClusterRole", "rolecall-operator"),
        generated("operator_cluster_role.yaml")
    );
    assert_bound(&rendered);
}

#[test]
fn the_lease_is_in_the_operators_namespace_and_the_only_one_that_may_be_changed() {
    let rendered = render(&json!({"namespaceOverride": "access"}));
    assert_eq!(rendered.names("Role"), ["access/rolecall-leader-election"]);
    assert_eq!(*rules(&rendered, "Role", "rolecall-leader-election"), generated("leader_election_role.yaml"));
    assert!(rendered.container()["args"].to_string().contains("--leader-election-namespace=access"));
    let mut alone = json!({"replicaCount": 1, "leaderElection": {"enabled": false}});
    assert_eq!(render(&alone).names("Role").len(), 1, "it is told of an uninstall there");
    alone["uninstall"] = json!({"enabled": false});
    let alone = render(&alone);
    assert!(alone.of("Role").is_empty());
    assert!(alone.container()["args"].to_string().contains("--leader-elect=false"));
}

#[test]
fn people_get_the_kinds_with_the_built_in_roles() {
    let rendered = render(&json!({}));
    for (name, aggregated) in [("view", vec!["view"]), ("edit", vec!["admin", "edit"])] {
        assert_eq!(
            *rules(&rendered, "ClusterRole", &format!("rolecall-{name}")),
            generated(&format!("{name}_cluster_role.yaml"))
        );
        let roles = rendered.of("ClusterRole");
        let role = roles.iter().find(|role| role["metadata"]["name"] == format!("rolecall-{name}"));
        let labels = role.expect("a role")["metadata"]["labels"].as_object().expect("labels");
        let to: Vec<&str> = labels
            .keys()
            .filter_map(|label| label.strip_prefix("rbac.authorization.k8s.io/aggregate-to-"))
            .collect();
        assert_eq!(to, aggregated);
    }
    let without = render(&json!({"rbac": {"aggregateRoles": false}}));
    let own = ["rolecall-operator", "rolecall-operator-secrets", "rolecall-operator-uninstall"];
    assert_eq!(without.names("ClusterRole"), own);
}

#[test]
fn somebody_else_may_make_the_roles_and_the_account() {
    let rendered = render(&json!({
        "rbac": {"create": false, "aggregateRoles": false},
        "serviceAccount": {"create": false, "name": "mine"},
    }));
    for kind in ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"] {
        assert!(rendered.of(kind).is_empty(), "{kind}");
    }
    assert_eq!(rendered.pod()["spec"]["serviceAccountName"], "mine");
}

#[test]
fn the_account_carries_an_identity_of_aws() {
    let role = "arn:aws:iam::111122223333:role/rolecall";
    let rendered = render(&json!({
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": role}},
        "aws": {"region": "eu-west-1"},
    }));
    let account = rendered.only("ServiceAccount");
    assert_eq!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"], role);
    let environment = json!([
        {"name": "AWS_REGION", "value": "eu-west-1"},
        {"name": "AWS_EC2_METADATA_DISABLED", "value": "true"},
    ]);
    assert_eq!(rendered.container()["env"], environment, "not the identity of the node");
}
